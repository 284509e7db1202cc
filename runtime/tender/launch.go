package tender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/confine"
	"albatross/runtime/cpulist"
	"albatross/runtime/failpoint"
	"albatross/runtime/keeper"
	"albatross/runtime/proc"
	"albatross/runtime/tender/launcher"
)

const (
	// releaseTimeout bounds the exec of the tender, which takes a millisecond unless the
	// disk of the program has gone.
	releaseTimeout = 10 * time.Second
	// killTimeout bounds the end of a process after SIGKILL; a longer one hangs in the
	// kernel, and waiting does not help.
	killTimeout = 5 * time.Second
	// statusMax bounds a launcher's report.
	statusMax = 4 << 10
)

// A Command says what to start, and how.
type Command struct {
	// Launcher is a program that calls launcher.Main, and the arguments before its own:
	// "/…/albatross-tender", "launch".
	Launcher []string
	Tasks    []string       // files of the cgroups (version 1) to join
	Cgroup   string         // directory of the cgroup (version 2) to start in; empty: ours
	CPUs     []int          // to run on; none: any
	Confine  *confine.Order // what the tender gives up, except for Void; nil: nothing
	Void     *confine.Void  // for which it gives up mounts and network; nil: there is none; stays the caller's
	Program  string         // path of the tender
	Args     []string       // without the program
	Output   *os.File       // standard output and error; stays the caller's
	Files    []*os.File     // what else it gets, from descriptor launcher.Passed on; stay the caller's

	// Keeper becomes the parent of the process, and keeps its console; nil: this program is
	// the parent.
	Keeper  *keeper.Client
	Name    messages.Name // of the unikernel, for the keeper
	Dirs    []string      // of its cgroup, and then their parents, for the keeper
	Console *os.File      // the end of Output to read, for the keeper; stays the caller's
}

// A Gated is a process that waits to become a tender. The caller must call Release or
// Abort, once.
type Gated struct {
	handle  *proc.Handle
	gate    *os.File
	status  *os.File
	program string
	missing []string
}

// Launch starts a process that does nothing yet. It has its own session, no environment,
// "/" as its directory, /dev/null as its standard input, and will run on the given CPUs.
// Until it is released, it ends when this program does.
func Launch(ctx context.Context, c Command) (*Gated, error) {
	err := ctx.Err()
	if err == nil {
		var g *Gated
		if c.Keeper == nil {
			g, err = start(c)
		} else {
			g, err = startKept(ctx, c)
		}
		if err == nil {
			return g, nil
		}
	}
	return nil, fmt.Errorf("cannot start %s: %w", c.Program, err)
}

// start makes what the process inherits and what the daemon keeps.
func start(c Command) (*Gated, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	gateEnd, gate, err := pipe(0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = gateEnd.Close() }()
	status, statusEnd, err := pipe(unix.O_NONBLOCK)
	if err != nil {
		_ = gate.Close()
		return nil, err
	}
	defer func() { _ = statusEnd.Close() }()

	// The places of these are launcher.Gate, launcher.Status and launcher.Passed.
	files := append([]*os.File{null, c.Output, c.Output, gateEnd, statusEnd}, c.passed()...)
	handle, err := fork(c, files)
	if err != nil {
		_ = gate.Close()
		_ = status.Close()
		return nil, err
	}
	return &Gated{handle: handle, gate: gate, status: status, program: c.Program}, nil
}

// startKept has the keeper start the process. The gate is ours all the same.
func startKept(ctx context.Context, c Command) (*Gated, error) {
	s, err := c.Keeper.Start(ctx, keeper.Order{
		Name: c.Name, Argv: c.argv(), Cgroup: c.Cgroup, Dirs: c.Dirs, Output: c.Output, Console: c.Console, Files: c.passed(),
	})
	if err != nil {
		return nil, err
	}
	handle, err := proc.FromPidfd(s.Pidfd, s.Process)
	if err != nil {
		s.Pidfd = -1 // closed
		s.Close()
		return nil, err
	}
	return &Gated{handle: handle, gate: s.Gate, status: s.Status, program: c.Program}, nil
}

// pipe is like os.Pipe, but blocking unless flags say otherwise, as the launcher expects
// of its gate.
func pipe(flags int) (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|flags); err != nil {
		return nil, nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "|0"), os.NewFile(uintptr(fds[1]), "|1"), nil
}

// fork starts the launcher. Its pid identifies it, since only we can reap it.
func fork(c Command, files []*os.File) (*proc.Handle, error) {
	pidfd := -1
	attr := &syscall.ProcAttr{
		Dir: "/", Env: []string{},
		Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	}
	if c.Cgroup != "" {
		dir, err := unix.Open(c.Cgroup, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("cannot open cgroup %s: %w", c.Cgroup, err)
		}
		defer func() { _ = unix.Close(dir) }()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, dir
	}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	argv := c.argv()
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err != nil {
		return nil, fmt.Errorf("cannot execute %s: %w", argv[0], err)
	}
	failpoint.Here("tender/forked")
	handle, err := hold(pid, pidfd)
	if err != nil {
		discard(pid)
	}
	return handle, err
}

// void reports whether the tender gets one.
func (c Command) void() bool { return c.Confine != nil && c.Void != nil }

// passed returns the descriptors that the process gets from launcher.Passed on.
func (c Command) passed() []*os.File {
	if !c.void() {
		return c.Files
	}
	return slices.Concat(c.Files, c.Void.Files())
}

// argv returns the command line of the launcher.
func (c Command) argv() []string {
	argv := append([]string{}, c.Launcher...)
	for _, file := range c.Tasks {
		argv = append(argv, "--join="+file)
	}
	if len(c.Files) > 0 {
		argv = append(argv, fmt.Sprintf("--pass=%d", len(c.Files)))
	}
	if c.Confine != nil {
		option := "--confine"
		if c.Confine.User {
			option += "=user"
		}
		argv = append(argv, option)
		if c.Confine.Root != "" {
			argv = append(argv, "--root="+c.Confine.Root)
		}
		if c.void() {
			argv = append(argv, fmt.Sprintf("--void=%d", launcher.Passed+len(c.Files)))
		}
	}
	argv = append(argv, "--cpus="+cpulist.Format(c.CPUs), "--", c.Program)
	return append(argv, c.Args...)
}

func hold(pid, pidfd int) (*proc.Handle, error) {
	process, err := proc.Identify(pid)
	if err != nil {
		_ = unix.Close(pidfd)
		return nil, err
	}
	return proc.FromPidfd(pidfd, process)
}

// discard ends and reaps a child without a handle.
func discard(pid int) {
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

// Process returns the process that will be the tender.
func (g *Gated) Process() messages.Process { return g.handle.Process() }

// Handle returns the handle of the process. It belongs to the caller after Release has
// succeeded, and is closed otherwise.
func (g *Gated) Handle() *proc.Handle { return g.handle }

// Missing returns which layers of its confinement a released process does without, and why.
func (g *Gated) Missing() []string { return g.missing }

// Release lets the process become the tender and returns when it has. After an error the
// process is gone.
func (g *Gated) Release(ctx context.Context) error {
	err := g.open(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot start %s: %w", g.program, err), g.Abort())
	}
	failpoint.Here("tender/began")
	g.closePipes()
	return nil
}

// Abort ends the process instead. The error says that it still runs.
func (g *Gated) Abort() error {
	defer func() { _ = g.handle.Close() }()
	g.closePipes()
	if err := g.handle.Signal(unix.SIGKILL); err != nil && !errors.Is(err, proc.ErrGone) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	if _, err := g.handle.Wait(ctx); err != nil {
		return fmt.Errorf("cannot end process %d: %w", g.Process().PID, err)
	}
	return nil
}

func (g *Gated) closePipes() {
	_ = g.gate.Close()
	_ = g.status.Close()
}

// open opens the gate and reads the launcher's report.
func (g *Gated) open(ctx context.Context) error {
	// A launcher that has ended already has reported why.
	if _, err := g.gate.Write([]byte{1}); err != nil && !errors.Is(err, unix.EPIPE) {
		return fmt.Errorf("cannot open the gate: %w", err)
	}
	failpoint.Here("tender/gate-opened")
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = g.status.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	report, err := io.ReadAll(io.LimitReader(g.status, statusMax))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ctx.Err()
	case err != nil:
		return err
	}
	g.missing, err = understand(string(report))
	return err
}

// understand parses a launcher's report.
func understand(report string) (missing []string, err error) {
	for strings.HasPrefix(report, launcher.Missing) {
		line, rest, _ := strings.Cut(report, "\n")
		missing, report = append(missing, strings.TrimPrefix(line, launcher.Missing)), rest
	}
	reason, began := strings.CutPrefix(report, launcher.Began)
	switch {
	case reason != "":
		return missing, errors.New(reason)
	case !began:
		return missing, errors.New("the process ended before it could begin")
	}
	return missing, nil
}
