package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/fifo"
	"albatross/runtime/history"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/proc"
	"albatross/runtime/seqpacket"
)

const (
	// maxKept bounds the processes that run, or whose ends no daemon has acknowledged.
	maxKept = 32 << 10
	// reapGrace is how long the parent of a process that is not our child has to reap it,
	// before its exit is called unknown; see proc.
	reapGrace = 2 * time.Second
	// childCost is the work of a start or an end, in the unit of effort.
	childCost = 4 << 10
)

// A child is a process that is kept: a child of this process, or a tender that a former
// keeper or a daemon has started. A descriptor that is not open is -1.
type child struct {
	name     string // of the unikernel
	process  messages.Process
	pidfd    int
	console  int
	memory   int      // the file of its cgroup that counts kills for lack of memory
	dirs     []string // its cgroups, which are removed if no daemon does that
	ours     bool     // a child of this process, which reaps it
	read     bool     // the daemon reads the console
	reported bool     // the connected daemon knows its end
	awaited  bool     // it has ended with an exit that may become known
	log      *history.Log
	end      *wire.End // nil: it runs
}

func (c *child) entry() entry {
	return entry{Name: c.name, Process: c.process, End: c.end, Dirs: c.dirs}
}

// An order is a process to start.
type order struct {
	name                                        string
	dirs                                        []string
	line, gate, status, output, console, cgroup int
	passed                                      []int // from launcher.Passed on
}

// files returns the descriptors that only the new process needs.
func (o order) files() []int {
	return append(present(o.line, o.gate, o.status, o.output, o.cgroup), o.passed...)
}

func present(files ...int) []int {
	return slices.DeleteFunc(files, func(fd int) bool { return fd < 0 })
}

// A birth is a started process.
type birth struct {
	process messages.Process
	pidfd   int
}

// launch starts the process of an order.
func (o order) launch(null int, oom string) (b birth, err error) {
	argv, err := readOrder(o.line)
	if err != nil {
		return b, err
	}
	attr := &syscall.ProcAttr{
		Dir: "/", Env: []string{},
		Files: []uintptr{uintptr(null), uintptr(o.output), uintptr(o.output), uintptr(o.gate), uintptr(o.status)},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &b.pidfd},
	}
	for _, fd := range o.passed {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	if o.cgroup >= 0 {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, o.cgroup
	}
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err != nil {
		return b, fmt.Errorf("cannot execute %s: %w", argv[0], err)
	}
	failpoint.Here("keeper/forked")
	// Only we reap it, so its pid belongs to it.
	if oom != "" {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, oomFile), []byte(oom), 0) // it may have ended
	}
	if b.process, err = proc.Identify(pid); err != nil {
		discard(pid)
		_ = unix.Close(b.pidfd)
	}
	return b, err
}

// discard kills and reaps a child that is not kept.
func discard(pid int) {
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

var errOrder = errors.New("the command line is malformed")

// readOrder reads a command line: a program and its arguments, each terminated by a zero
// byte.
func readOrder(fd int) (argv []string, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || stat.Size > wire.MaxOrder {
		return nil, errOrder
	}
	line := make([]byte, stat.Size)
	n, err := unix.Pread(fd, line, 0)
	if err != nil {
		return nil, os.NewSyscallError("pread", err)
	}
	text, ended := strings.CutSuffix(string(line[:n]), "\x00")
	if argv = strings.Split(text, "\x00"); !ended || !strings.HasPrefix(argv[0], "/") {
		return nil, errOrder
	}
	return argv, nil
}

// keep adds a process.
func (k *keeper) keep(c *child) error {
	if err := k.watch(c.pidfd, unix.EPOLLIN|unix.EPOLLET, source{child: c}); err != nil {
		return err
	}
	if c.console >= 0 {
		_ = unix.SetNonblock(c.console, true) // which does not fail for a pipe
	}
	k.children[c.process] = c
	k.names[c.name] = c
	k.spend(childCost)
	k.keepConsole(c)
	return nil
}

// takeOver keeps what a former keeper has kept.
func (k *keeper) takeOver(e entry) {
	if e.End == nil && e.Process.BootID != k.boot {
		return // it ended with the machine; the daemon knows that by itself
	}
	c := &child{name: e.Name, process: e.Process, pidfd: -1, console: -1, memory: -1, dirs: e.Dirs, end: e.End}
	if e.End == nil {
		if err := k.hold(c); err != nil {
			c.end = &wire.End{FoundMillis: time.Now().UnixMilli()}
			if !errors.Is(err, proc.ErrGone) {
				k.trouble.note("Cannot take over process %d of %s: %v", e.Process.PID, e.Name, err)
				return
			}
		}
	}
	if c.end != nil {
		k.children[c.process] = c
		k.unreported = append(k.unreported, c)
	}
}

// hold adds a process that is not our child. If that fails, its descriptors are closed.
func (k *keeper) hold(c *child) (err error) {
	if c.pidfd, err = proc.OpenPidfd(c.process); err == nil {
		if c.console < 0 {
			c.console = k.openConsole(c)
		}
		c.memory = openKills(c.name, c.dirs)
		err = k.keep(c)
	}
	if err != nil {
		seqpacket.CloseAll(present(c.pidfd, c.console, c.memory))
	}
	return err
}

// openConsole opens the console of a process, which is its standard output.
func (k *keeper) openConsole(c *child) int {
	f, err := fifo.OpenOutput(c.process)
	if err != nil {
		if !errors.Is(err, proc.ErrGone) {
			k.trouble.note("Cannot keep the console of %s: %v", c.name, err)
		}
		return -1
	}
	defer func() { _ = f.Close() }()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		k.trouble.note("Cannot keep the console of %s: %v", c.name, err)
		return -1
	}
	return fd
}

// reap checks whether a process has ended, and how.
func (k *keeper) reap(c *child) {
	end, ended := c.look()
	switch {
	case !ended:
	case end == nil: // its parent has not reaped it
		k.reapLater(c)
	default:
		k.ended(c, *end)
	}
}

// look reports whether a process has ended. The end is nil if more may become known.
func (c *child) look() (end *wire.End, ended bool) {
	now := time.Now().UnixMilli()
	if !c.ours {
		exit, ended, known := proc.LookForeign(c.pidfd, c.process)
		if !known {
			return nil, ended
		}
		return &wire.End{Exit: exit, AtMillis: now}, true
	}
	var status unix.WaitStatus
	var usage unix.Rusage
	pid, err := unix.Wait4(c.process.PID, &status, unix.WNOHANG, &usage)
	if err == unix.ECHILD { // it is not ours any more
		return &wire.End{AtMillis: now}, true
	}
	if pid != c.process.PID {
		return nil, false
	}
	used := proc.UsageOf(usage)
	return &wire.End{
		Exit: proc.ExitOf(status), AtMillis: now,
		UserMicros: used.UserMicros, SystemMicros: used.SystemMicros, MaxMemory: used.MaxMemory,
	}, true
}

// reapLater takes the exit for unknown if it is not known after a while.
func (k *keeper) reapLater(c *child) {
	if c.awaited {
		return
	}
	c.awaited = true
	k.after(reapGrace, func() {
		if c.end != nil {
			return
		}
		end, _ := c.look()
		if end == nil {
			end = &wire.End{AtMillis: time.Now().UnixMilli()}
		}
		k.ended(c, *end)
	})
}

// ended records an end, until a daemon acknowledges it.
func (k *keeper) ended(c *child, end wire.End) {
	failpoint.Here("keeper/reaped")
	c.noteMemory(&end)
	c.end = &end
	k.unwatch(c.pidfd)
	seqpacket.CloseAll(present(c.pidfd, c.memory))
	c.pidfd, c.memory = -1, -1
	k.finishConsole(c)
	failpoint.Here("keeper/console-finished")
	k.record(c.entry())
	k.unreported = append(k.unreported, c)
	k.spend(childCost)
	k.removeDirs(c)
}

// noteMemory corrects an end if the cgroup shows that the kernel killed the process because
// memory ran out.
func (c *child) noteMemory(end *wire.End) {
	if c.memory < 0 || end.Exit.Known && end.Exit.Signal != int(unix.SIGKILL) {
		return
	}
	text := make([]byte, 4<<10)
	n, err := unix.Pread(c.memory, text, 0)
	if err == nil && killed(text[:n]) {
		end.Exit = messages.Exit{Known: true, Signal: int(unix.SIGKILL), OutOfMemory: true}
	}
}

// killed reads memory.events, or memory.oom_control of cgroups version 1.
func killed(text []byte) bool {
	for line := range bytes.Lines(text) {
		if count, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("oom_kill ")); ok {
			return string(count) != "0"
		}
	}
	return false
}

// forget removes a process whose end a daemon has acknowledged.
func (k *keeper) forget(c *child) {
	delete(k.children, c.process)
	if k.names[c.name] == c {
		delete(k.names, c.name)
	}
	k.closeConsole(c)
	if !c.reported {
		k.unreported = slices.DeleteFunc(k.unreported, func(other *child) bool { return other == c })
	}
	failpoint.Here("keeper/forgetting")
	k.record(entry{Process: c.process, Gone: true})
}
