// Package inject is for tests that make system calls of a program fail, or take long, as they do on
// a machine whose disk is full, broken or slow. The program is not changed: the kernel asks the test
// about each call, by a filter that the program inherits, and so do all that it starts.
//
// It owns the filter and the goroutines that answer the kernel. A process that has outlived them
// cannot make such calls any more.
package inject

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Call is a kind of system call.
type Call string

// The calls that can be made to fail.
const (
	Create  Call = "create"  // of a file
	Write   Call = "write"   // at an offset of a file
	Sync    Call = "sync"    // of a file or directory
	Rename  Call = "rename"  //
	Resize  Call = "resize"  // of a file, also in advance
	Mkdir   Call = "mkdir"   // also of a cgroup
	Accept  Call = "accept"  // of a connection
	Socket  Call = "socket"  //
	Netlink Call = "netlink" // a request to the kernel's network
	Exec    Call = "exec"    // of a program
)

// A Fault is what goes wrong with calls of a kind, and how often.
type Fault struct {
	Call        Call
	Program     string // whose calls: its first 15 bytes, as the kernel has them; empty: any
	Path        string // a part of the path that a file or directory is made at; empty: any
	Errno       unix.Errno
	Delay       time.Duration // instead of an error, if that is 0
	Probability float64
}

func (f Fault) String() string {
	if f.Errno == 0 {
		return fmt.Sprintf("%s takes %v", f.Call, f.Delay)
	}
	return fmt.Sprintf("%s fails with %s", f.Call, unix.ErrnoName(f.Errno))
}

// Faults are injected into some programs, and those that they start.
type Faults struct {
	answering sync.WaitGroup

	mu       sync.Mutex
	random   *rand.Rand
	rules    []Fault
	injected map[string]int
	failures []error
}

// New returns faults without rules, drawn by a seed.
func New(seed uint64) *Faults {
	return &Faults{random: rand.New(rand.NewPCG(seed, 0)), injected: map[string]int{}}
}

// Set replaces all rules.
func (f *Faults) Set(rules ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
}

// Injected returns how many faults were injected, by what they are.
func (f *Faults) Injected() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := map[string]int{}
	for what, n := range f.injected {
		counts[what] = n
	}
	return counts
}

// draw returns the fault that a call meets, if any.
func (f *Faults) draw(n notification) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.Call != asked[n.number] || f.random.Float64() >= r.Probability || !r.isAbout(n) {
			continue
		}
		f.injected[r.String()]++
		return r, true
	}
	return Fault{}, false
}

// isAbout reports whether a call is one of the program and the path in question. To find that out
// takes a while, so that it comes last.
func (f Fault) isAbout(n notification) bool {
	return (f.Program == "" || f.Program == programOf(n.pid)) && (f.Path == "" || strings.Contains(pathOf(n), f.Path))
}

// Wait waits until all programs have ended that Start has started, and all that these have started.
// It returns what has gone wrong with answers to the kernel.
func (f *Faults) Wait() []error {
	f.answering.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failures
}

// asProgram is the argument with which a test binary becomes another program.
const asProgram = "--with-faults"

// Into has faults injected into a command, which must not be started yet. The TestMain of this test
// binary must begin with MayBecomeProgram. After the start, whether it succeeds or not, started must
// be called.
func (f *Faults) Into(c *exec.Cmd) (started func() error, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "ours"), os.NewFile(uintptr(ends[1]), "theirs")
	const first = 3 // of ExtraFiles
	c.Args = append([]string{c.Args[0], asProgram, fmt.Sprint(first + len(c.ExtraFiles)), c.Path}, c.Args...)
	c.Path = "/proc/self/exe"
	c.ExtraFiles = append(c.ExtraFiles, theirs)
	return func() error {
		defer ours.Close()
		if err := theirs.Close(); err != nil {
			return err
		}
		listener, err := receive(int(ours.Fd()))
		if err != nil {
			return fmt.Errorf("cannot get the filter of %s: %w", strings.Join(c.Args, " "), err)
		}
		f.answering.Go(func() { f.answer(listener) })
		return nil
	}, nil
}

// receive receives a descriptor.
func receive(socket int) (int, error) {
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, os.NewSyscallError("recvmsg", err)
	}
	parts, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(parts) != 1 {
		return 0, fmt.Errorf("it has ended: %d parts, %v", len(parts), err)
	}
	fds, err := unix.ParseUnixRights(&parts[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("%d descriptors, %v", len(fds), err)
	}
	return fds[0], nil
}
