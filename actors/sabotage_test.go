package actors_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"albatross/messages"
	"albatross/runtime/cgroup"
	"albatross/test/netns"
)

// A sabotage breaks the machine once, just before an actor handles a message of
// some type.
type sabotage struct {
	before any // a message of that type, or the name of the type

	mu     sync.Mutex
	breaks func() // nil: not armed
}

func (s *sabotage) at(_ string, message any) {
	if reflect.TypeOf(message) != reflect.TypeOf(s.before) && fmt.Sprintf("%T", message) != s.before {
		return
	}
	if open, ok := message.(messages.ConsoleOpen); ok && open.Tender.OK {
		return // not of a start: it follows one, whenever the console comes to it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.breaks != nil {
		s.breaks()
		s.breaks = nil
	}
}

// arm fails the test if no such message comes until its end.
func (s *sabotage) arm(t *testing.T, breaks func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breaks = breaks
	t.Cleanup(func() { require.False(t, s.armed(), "there was no %v", s.before) })
}

func (s *sabotage) armed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.breaks != nil
}

// hide makes a file vanish until repair.
func (w *world) hide(path string) {
	require.NoError(w.t, os.Rename(path, path+".hidden"))
	w.repairs = append(w.repairs, func() { require.NoError(w.t, os.Rename(path+".hidden", path)) })
}

// makeBridge makes a bridge that a test may delete.
func (w *world) makeBridge(name string) {
	netns.Need(w.t)
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	require.NoError(w.t, netlink.LinkAdd(bridge))
	w.t.Cleanup(func() { _ = netlink.LinkDel(bridge) })
}

func (w *world) deleteBridge(name string) {
	link, err := netlink.LinkByName(name)
	require.NoError(w.t, err)
	require.NoError(w.t, netlink.LinkDel(link))
	w.repairs = append(w.repairs, func() { w.makeBridge(name) })
}

// repair restores the machine.
func (w *world) repair() {
	for _, r := range w.repairs {
		r()
	}
}

// withOwnPrograms gives a world a tender and a launcher that a test can break.
func withOwnPrograms(w *world) {
	program, err := os.ReadFile(builtin)
	require.NoError(w.t, err)
	w.guests.Tenders.Builtin = filepath.Join(w.dir, "tender")
	w.guests.Launcher = []string{filepath.Join(w.dir, "launcher"), "launch"}
	for _, path := range []string{w.guests.Tenders.Builtin, w.guests.Launcher[0]} {
		require.NoError(w.t, os.WriteFile(path, program, 0o700))
	}
}

// withCgroups gives a world cgroups, where the machine has them.
func withCgroups(w *world) {
	w.cgroup = "albatross-test-" + rand.Text()
	tree, err := cgroup.Open(w.cgroup)
	if err != nil {
		w.t.Skipf("needs cgroups: %v", err)
	}
	w.guests.Cgroups = tree
	w.t.Cleanup(func() {
		for _, parent := range w.cgroupDirs() {
			require.NoError(w.t, os.Remove(parent))
		}
	})
}

// cgroupDirs returns the parents of the cgroups of a world.
func (w *world) cgroupDirs() []string {
	var dirs []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, err := filepath.Glob(pattern + w.cgroup)
		require.NoError(w.t, err)
		dirs = append(dirs, found...)
	}
	require.NotEmpty(w.t, dirs)
	return dirs
}

// cgroups returns the names of the unikernels that have a cgroup.
func (w *world) cgroups() []string {
	names := map[string]bool{}
	for _, dir := range w.cgroupDirs() {
		found, err := filepath.Glob(dir + "/*:*")
		require.NoError(w.t, err)
		for _, path := range found {
			names[filepath.Base(path)] = true
		}
	}
	var list []string
	for n := range names {
		list = append(list, n)
	}
	return list
}

// breakCgroups makes each new cgroup fail, until repair.
func (w *world) breakCgroups() {
	for _, dir := range w.cgroupDirs() {
		require.NoError(w.t, os.Remove(dir))
	}
	w.repairs = append(w.repairs, func() {
		_, err := cgroup.Open(w.cgroup)
		require.NoError(w.t, err)
	})
}

// intrude puts a process that is not ours into the cgroup of a unikernel, until repair.
func (w *world) intrude(name string) {
	intruder := exec.Command("sleep", "1000")
	require.NoError(w.t, intruder.Start())
	w.repairs = append(w.repairs, func() {
		require.NoError(w.t, intruder.Process.Kill())
		_ = intruder.Wait()
	})
	for _, dir := range w.cgroupDirs() {
		pid := strconv.Itoa(intruder.Process.Pid)
		require.NoError(w.t, os.WriteFile(filepath.Join(dir, name, "cgroup.procs"), []byte(pid), 0))
	}
}
