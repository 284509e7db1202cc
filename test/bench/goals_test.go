package bench

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"albatross/test/netns"
)

// A figure is what was measured, beside its goal.
type figure struct {
	what   string
	unit   string  // of the value; "×" is a ratio to a yardstick of the same run
	value  float64 // the median
	spread float64 // half of the range in which the middle half of the measurements is
	goal   float64
	least  bool // the goal is the least that is good; otherwise it is the most
}

// missed reports whether a goal is missed by more than the spread.
func (f figure) missed() bool {
	if f.least {
		return f.value+f.spread < f.goal
	}
	return f.value-f.spread > f.goal
}

func (f figure) row() string {
	sign, verdict := "≤", "reached"
	if f.least {
		sign = "≥"
	}
	switch {
	case f.missed():
		verdict = "**missed**"
	case f.least == (f.value < f.goal):
		verdict = "within the spread"
	}
	return fmt.Sprintf("| %s | %s ± %s %s | %s %g %s | %s |", f.what, digits(f.value), digits(f.spread), f.unit, sign, f.goal, f.unit, verdict)
}

// digits has three significant ones, and no exponent.
func digits(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// figures are those of this run, by what they are about: a benchmark may run more than once.
var figures = map[string]figure{}

// atMost notes a figure that should not be larger than its goal, and atLeast one that should not be
// smaller.
func atMost(what, unit string, goal float64, measured []float64) {
	note(figure{what: what, unit: unit, goal: goal}, measured)
}

func atLeast(what, unit string, goal float64, measured []float64) {
	note(figure{what: what, unit: unit, goal: goal, least: true}, measured)
}

func note(f figure, measured []float64) {
	f.value, f.spread = middle(measured)
	figures[f.what] = f
}

// middle returns the median, and half of the range of the middle half.
func middle(measured []float64) (median, spread float64) {
	s := slices.Sorted(slices.Values(measured))
	return s[len(s)/2], (s[len(s)*3/4] - s[len(s)/4]) / 2
}

// ratios divides what was measured in turn with a yardstick by that: the machine may be busy at
// times.
func ratios(ours, yardstick []time.Duration) (list []float64) {
	for i := range ours {
		list = append(list, float64(ours[i])/float64(yardstick[i]))
	}
	return list
}

func medianOf(list []float64) float64 {
	m, _ := middle(list)
	return m
}

func inMilliseconds(durations []time.Duration) (list []float64) {
	for _, d := range durations {
		list = append(list, milliseconds(d))
	}
	return list
}

// TestMain prints the figures that have goals, and fails if one is missed. All run in a network
// namespace of their own, where that is possible.
func TestMain(m *testing.M) {
	netns.Enter()
	code := m.Run()
	table, missed := tabulate()
	if table == "" {
		os.Exit(code)
	}
	fmt.Print(table)
	if path := os.Getenv("ALBATROSS_FIGURES"); path != "" {
		if err := os.WriteFile(path, []byte(table), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if missed > 0 {
		fmt.Fprintf(os.Stderr, "%d goals are missed by more than the spread\n", missed)
		code = 1
	}
	os.Exit(code)
}

// tabulate returns a table in Markdown, or nothing if there are no figures.
func tabulate() (table string, missed int) {
	var rows []string
	for _, f := range figures {
		rows = append(rows, f.row())
		if f.missed() {
			missed++
		}
	}
	if rows == nil {
		return "", 0
	}
	slices.Sort(rows)
	return "| what | measured | goal | |\n|---|---|---|---|\n" + strings.Join(rows, "\n") + "\n", missed
}

func TestGoals(t *testing.T) {
	for _, tc := range []struct {
		f      figure
		missed bool
		row    string
	}{
		{figure{what: "a", unit: "×", value: 1.1, spread: 0.05, goal: 1.2}, false, "| a | 1.1 ± 0.05 × | ≤ 1.2 × | reached |"},
		{figure{what: "a", unit: "×", value: 1.24, spread: 0.05, goal: 1.2}, false, "| a | 1.24 ± 0.05 × | ≤ 1.2 × | within the spread |"},
		{figure{what: "a", unit: "×", value: 1.26, spread: 0.05, goal: 1.2}, true, "| a | 1.26 ± 0.05 × | ≤ 1.2 × | **missed** |"},
		{figure{what: "b", unit: "/s", value: 410_000, spread: 2000, goal: 400_000, least: true}, false, "| b | 410000 ± 2000 /s | ≥ 400000 /s | reached |"},
		{figure{what: "b", unit: "/s", value: 399_000, spread: 2000, goal: 400_000, least: true}, false, "| b | 399000 ± 2000 /s | ≥ 400000 /s | within the spread |"},
		{figure{what: "b", unit: "/s", value: 390_000, spread: 2000, goal: 400_000, least: true}, true, "| b | 390000 ± 2000 /s | ≥ 400000 /s | **missed** |"},
	} {
		if got := tc.f.row(); got != tc.row || tc.f.missed() != tc.missed {
			t.Errorf("got %s, want %s", got, tc.row)
		}
	}
	if median, spread := middle([]float64{5, 1, 3, 2, 4, 100}); median != 4 || spread != 1.5 {
		t.Errorf("median %v, spread %v", median, spread)
	}
}
