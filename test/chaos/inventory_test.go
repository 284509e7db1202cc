package chaos

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/proc"
	"albatross/runtime/store"
)

// The kinds of what is on a host.
const (
	processes = "process"
	taps      = "tap"
	images    = "image"
	fifos     = "FIFO"
	cgroups   = "cgroup"
	files     = "file of a block device"
	listed    = "unikernel in the list"
)

// inventory is what there is on the host, by kind.
func (h *host) inventory() map[string][]string {
	there := map[string][]string{
		listed:    nil,
		processes: nil,
		taps:      h.taps(),
		images:    h.files("db", "images"),
		fifos:     h.files("fifo"),
		files:     h.files("db", "block"),
	}
	for _, i := range (&caller{h: h}).infos() {
		there[listed] = append(there[listed], i.Name.String())
	}
	for _, found := range h.processes() {
		for _, p := range found {
			there[processes] = append(there[processes], fmt.Sprint(p))
		}
	}
	for _, parent := range h.cgroupParents() {
		there[cgroups+" in "+filepath.Dir(parent)] = h.directories(parent)
	}
	h.networksThere(there)
	return there
}

// recorded is what there must be.
func (h *host) recorded(s messages.State) map[string][]string {
	must, running := map[string][]string{}, []string(nil)
	for _, r := range s.Unikernels {
		must[images] = append(must[images], r.Spec.Digest.String())
		past := r.Spec.Past
		if r.Spec.Former != nil {
			must[images] = append(must[images], r.Spec.Former.Spec.Digest.String())
			past = slices.Concat(past, r.Spec.Former.Spec.Past)
		}
		for _, p := range past {
			must[images] = append(must[images], p.Spec.Digest.String())
		}
		if !r.Spec.IsStopped() {
			must[listed] = append(must[listed], r.Name.String())
		}
		if !r.Runtime.OK {
			continue
		}
		must[processes] = append(must[processes], fmt.Sprint(r.Runtime.Value.Process))
		running = append(running, r.Name.String())
		for _, tap := range r.Runtime.Value.Taps {
			if tap == (messages.Link{}) { // of a network without taps
				continue
			}
			must[taps] = append(must[taps], tap.Name)
		}
	}
	for _, parent := range h.cgroupParents() {
		must[cgroups+" in "+filepath.Dir(parent)] = running
	}
	for _, d := range (&caller{h: h}).devices() {
		must[files] = append(must[files], d.Name.String())
	}
	h.networksRecorded(s, must)
	return must
}

// stored is what is on disk.
type stored struct {
	state  messages.State
	events []messages.NumberedEvent
}

// stored reads the database from a copy, for the daemon has the lock of its own.
// A copy that is made while something is being written may be damaged.
func (h *host) stored() (s stored, err error) {
	data, err := os.ReadFile(h.path("db", store.DBFile))
	require.NoError(h.t, err)
	require.NoError(h.t, os.MkdirAll(h.path("copy"), 0o700))
	require.NoError(h.t, os.WriteFile(h.path("copy", store.DBFile), data, 0o600))
	db, err := store.Open(h.path("copy"))
	if err != nil {
		return s, err
	}
	defer db.Close()
	if s.state, err = db.Load(); err != nil {
		return s, err
	}
	s.events, err = readEvents(db)
	return s, err
}

// allReleased tells whether it is on disk of all unikernels that they run, or are stopped.
func (h *host) allReleased() bool {
	s, err := h.stored()
	return err == nil && !slices.ContainsFunc(s.state.Unikernels, func(r messages.Record) bool {
		return !r.Runtime.Value.Released && !r.Spec.IsStopped()
	})
}

// processes are those of the unikernels of this host, by the names that these
// are told: tenders have the image, which is below dir, in their command line.
func (h *host) processes() map[messages.Label][]messages.Process {
	found := map[messages.Label][]messages.Process{}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(h.t, err)
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(line, []byte(h.dir+"/")) || bytes.Contains(line, []byte("--dbdir")) || bytes.Contains(line, []byte("--spool")) || h.isNetworkProcess(line) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		require.NoError(h.t, err)
		process, err := proc.Identify(pid)
		if err != nil {
			continue // it has ended meanwhile
		}
		label := labelOf(string(line))
		found[label] = append(found[label], process)
	}
	return found
}

// labelOf is the name that a tender tells its unikernel.
func labelOf(line string) messages.Label {
	for arg := range strings.SplitSeq(line, "\x00") {
		if label, ok := strings.CutPrefix(arg, "--name="); ok {
			return messages.Label(label)
		}
	}
	return ""
}

// taps are those of the daemon.
func (h *host) taps() (names []string) {
	for _, link := range h.space.Links() {
		if name := link.Attrs().Name; strings.HasPrefix(name, "vmmtap") {
			names = append(names, name)
		}
	}
	return names
}

// files are the names of those in a directory.
func (h *host) files(dir ...string) (names []string) {
	entries, err := os.ReadDir(h.path(dir...))
	require.NoError(h.t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// directories are the names of those in a directory, if it is there.
func (h *host) directories(dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	if !os.IsNotExist(err) {
		require.NoError(h.t, err)
	}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// cgroupParents are the directories of the cgroup of this host, one in each
// hierarchy that has it: those of version 1 are mounted beside each other, or
// beside that of version 2.
func (h *host) cgroupParents() (dirs []string) {
	for _, hierarchy := range []string{"", "*"} {
		found, err := filepath.Glob(filepath.Join("/sys/fs/cgroup", hierarchy, h.cgroup()))
		require.NoError(h.t, err)
		dirs = append(dirs, found...)
	}
	slices.Sort(dirs)
	return dirs
}
