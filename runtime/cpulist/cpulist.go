// Package cpulist reads and writes lists of CPUs in the kernel's form: "0-3,5".
package cpulist

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Max is the largest number of a CPU, far more than a kernel can be built for (8192). It
// bounds a list.
const Max = 1<<16 - 1

// Parse parses a list. An empty one has no CPUs.
func Parse(list string) (cpus []int, err error) {
	if list == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, to := parseNumber(first), parseNumber(last)
		if from < 0 || to < from {
			return nil, fmt.Errorf("%q is no CPU", part)
		}
		for cpu := from; cpu <= to; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// parseNumber returns the number of a CPU; negative: it is none.
func parseNumber(s string) int {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > Max {
		return -1
	}
	return int(n)
}

// Missing returns those of the wanted CPUs that do not exist.
func Missing(wanted, there []int) (missing []int) {
	for _, cpu := range wanted {
		if !slices.Contains(there, cpu) {
			missing = append(missing, cpu)
		}
	}
	return missing
}

// Format writes a list, without ranges: "0,1,5".
func Format(cpus []int) string {
	texts := make([]string, len(cpus))
	for i, cpu := range cpus {
		texts[i] = strconv.Itoa(cpu)
	}
	return strings.Join(texts, ",")
}
