package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A mount is a hierarchy whose root is mounted.
type mount struct {
	dir         string
	v2          bool
	controllers []string // all of it; in version 2, those that the root can delegate
}

// findMounts finds the hierarchies. One that is mounted twice appears twice.
func findMounts() ([]mount, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	mounts := parseMounts(string(info))
	for i, m := range mounts {
		if !m.v2 {
			continue
		}
		controllers, err := read(m.dir, "cgroup.controllers")
		if err != nil {
			return nil, err
		}
		mounts[i].controllers = strings.Fields(controllers)
	}
	return mounts, nil
}

// parseMounts parses /proc/PID/mountinfo: number, parent, device, root of the mount, its
// directory, options, any number of optional fields, "-", file system, source, options of
// the file system. The last contain the controllers of version 1; version 2 lists them
// elsewhere.
func parseMounts(info string) (mounts []mount) {
	for line := range strings.Lines(info) {
		before, after, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		place, system := strings.Split(before, " "), strings.Split(after, " ")
		if len(place) < 6 || len(system) != 3 || place[3] != "/" {
			continue
		}
		m := mount{dir: unescape.Replace(place[4])}
		switch system[0] {
		case "cgroup":
			m.controllers = strings.Split(system[2], ",")
		case "cgroup2":
			m.v2 = true
		default:
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// unescape decodes a field that contains separators.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// choose takes each controller that we use from the first mount that has it.
func choose(mounts []mount, parent string) (branches []branch) {
	wanted := []string{memory, cpuset}
	if !slices.ContainsFunc(mounts, func(m mount) bool { return slices.Contains(m.controllers, cpuset) }) {
		wanted = []string{memory, cpu}
	}
	taken := map[string]bool{}
	for _, m := range mounts {
		b := branch{root: m.dir, parent: filepath.Join(m.dir, parent), v2: m.v2}
		for _, controller := range wanted {
			if !taken[controller] && slices.Contains(m.controllers, controller) {
				taken[controller] = true
				b.controllers = append(b.controllers, controller)
			}
		}
		if b.controllers != nil {
			branches = append(branches, b)
		}
	}
	return branches
}
