package proc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
	"albatross/test/netns"
)

// The test binary runs itself again as the processes it watches: the first
// argument says as which.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "worker":
			worker()
		case "daemon":
			daemon()
		case "reaper":
			reaper()
		}
	}
	netns.Enter()
	goleak.VerifyTestMain(m)
}

// environment makes the processes end at once, and not after the second that the race detector
// waits.
var environment = []string{"GORACE=atexit_sleep_ms=0"}

// worker ends as its standard input says: "exit N" or "signal N". Without input it runs as long as
// its input is open.
func worker() {
	var how string
	var n int
	if _, err := fmt.Scan(&how, &n); err != nil {
		os.Exit(99)
	}
	if how == "signal" {
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		select {}
	}
	os.Exit(n)
}

// daemon starts a worker, prints its pid, and ends.
func daemon() {
	cmd := exec.Command(os.Args[0], "worker")
	cmd.Stdin, cmd.Env = os.Stdin, environment
	must(cmd.Start())
	fmt.Println(cmd.Process.Pid)
	os.Exit(0)
}

// reaper stands for the init that inherits a worker from a daemon that died: it prints the pid of
// the worker, which is no child of the test, and reaps it once descriptor 3 can be read.
func reaper() {
	must(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	cmd := exec.Command(os.Args[0], "daemon")
	cmd.Stdin, cmd.Env = os.Stdin, environment
	pid, err := cmd.Output()
	must(err)
	fmt.Print(string(pid))
	_, _ = os.NewFile(3, "gate").Read(make([]byte, 1))
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	os.Exit(0)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(98)
	}
}

// A subject is a worker under observation.
type subject struct {
	messages.Process
	end  func(how string, n int) // ends it
	reap func()                  // makes its real parent reap it
}

// child starts a worker as a child of the test that nobody else waits for.
func child(t *testing.T) subject {
	t.Helper()
	in, out, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = out.Close() })
	pid, err := syscall.ForkExec(os.Args[0], []string{os.Args[0], "worker"}, &syscall.ProcAttr{
		Env: environment, Files: []uintptr{in.Fd(), 1, 2},
	})
	require.NoError(t, in.Close())
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = out.Close()
		if t.Failed() {
			_ = syscall.Kill(pid, unix.SIGKILL) // it may be the process that never ended
		}
		_, _ = syscall.Wait4(pid, nil, 0, nil) // if the test did not reap it
	})
	return subject{Process: identify(t, pid), end: ender(t, out), reap: func() {}}
}

// adopted starts a worker whose parent is a process other than the test.
func adopted(t *testing.T) subject {
	t.Helper()
	gateIn, gate, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0], "reaper")
	cmd.ExtraFiles, cmd.Env = []*os.File{gateIn}, environment
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, gateIn.Close())
	open := sync.OnceFunc(func() { _ = gate.Close() })
	t.Cleanup(func() {
		open()
		_ = in.Close()
		require.NoError(t, cmd.Wait())
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	return subject{Process: identify(t, pid), end: ender(t, in), reap: open}
}

func identify(t *testing.T, pid int) messages.Process {
	t.Helper()
	p, err := proc.Identify(pid)
	require.NoError(t, err)
	return p
}

func ender(t *testing.T, w io.Writer) func(string, int) {
	return func(how string, n int) {
		t.Helper()
		_, err := fmt.Fprintln(w, how, n)
		require.NoError(t, err)
	}
}

func open(t *testing.T, p messages.Process) *proc.Handle {
	t.Helper()
	h, err := proc.Open(p)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	require.Equal(t, p, h.Process())
	return h
}

func wait(t *testing.T, h *proc.Handle) messages.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	end, err := h.Wait(ctx)
	require.NoError(t, err)
	return end.Exit
}

// both runs a test with a child and with a process adopted.
func both(t *testing.T, test func(t *testing.T, start func(*testing.T) subject)) {
	t.Run("child", func(t *testing.T) { test(t, child) })
	t.Run("adopted", func(t *testing.T) {
		if !kernelTellsExits(t) {
			t.Skip("this kernel does not reveal the exit of another process's child")
		}
		test(t, adopted)
	})
}

// kernelTellsExits reports whether this is Linux 6.15 or later.
func kernelTellsExits(t *testing.T) bool {
	t.Helper()
	var uts unix.Utsname
	require.NoError(t, unix.Uname(&uts))
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(uts.Release[:]), "%d.%d", &major, &minor)
	require.NoError(t, err)
	return major > 6 || major == 6 && minor >= 15
}

func TestWaitTellsExitCode(t *testing.T) {
	both(t, func(t *testing.T, start func(*testing.T) subject) {
		for _, code := range []int{0, 1, 2, 60, 64, 127, 128, 137, 255} {
			s := start(t)
			h := open(t, s.Process)
			s.end("exit", code)
			s.reap()
			require.Equal(t, messages.Exit{Known: true, Code: code}, wait(t, h))
			require.Equal(t, messages.Exit{Known: true, Code: code}, wait(t, h), "asked again")
		}
	})
}

// SIGHUP and SIGINT are left out: if the tests run in the background, their processes inherit that
// these are ignored.
func TestWaitTellsSignal(t *testing.T) {
	both(t, func(t *testing.T, start func(*testing.T) subject) {
		for _, sig := range []syscall.Signal{unix.SIGKILL, unix.SIGTERM} {
			s := start(t)
			h := open(t, s.Process)
			s.end("signal", int(sig))
			s.reap()
			require.Equal(t, messages.Exit{Known: true, Signal: int(sig)}, wait(t, h))
		}
	})
}

// TestTheParentKnowsWhatWasUsed, and nobody else.
func TestTheParentKnowsWhatWasUsed(t *testing.T) {
	both(t, func(t *testing.T, start func(*testing.T) subject) {
		s := start(t)
		h := open(t, s.Process)
		s.end("exit", 0)
		s.reap()
		wait(t, h)
		end, err := h.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, t.Name() == "TestTheParentKnowsWhatWasUsed/child", end.Usage.OK)
		if end.Usage.OK {
			require.Positive(t, end.Usage.Value.UserMicros+end.Usage.Value.SystemMicros)
		}
	})
}

// TestMemoryOfTheParentIsNotThatOfTheChild: the kernel counts it as that.
func TestMemoryOfTheParentIsNotThatOfTheChild(t *testing.T) {
	var own unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &own))
	child := unix.Rusage{Utime: unix.Timeval{Sec: 1, Usec: 2}, Stime: unix.Timeval{Usec: 3}, Maxrss: own.Maxrss / 2}
	require.Equal(t, messages.Usage{UserMicros: 1_000_002, SystemMicros: 3}, proc.UsageOf(child))
	child.Maxrss = 1 << 40
	require.Equal(t, messages.Usage{UserMicros: 1_000_002, SystemMicros: 3, MaxMemory: 1 << 40}, proc.UsageOf(child))
}

func TestSignalEndsProcess(t *testing.T) {
	both(t, func(t *testing.T, start func(*testing.T) subject) {
		s := start(t)
		h := open(t, s.Process)
		require.NoError(t, h.Signal(unix.SIGKILL))
		s.reap()
		require.Equal(t, messages.Exit{Known: true, Signal: int(unix.SIGKILL)}, wait(t, h))
		require.Eventually(t, func() bool { // its exit may be known before its parent has reaped it
			return errors.Is(h.Signal(unix.SIGKILL), proc.ErrGone)
		}, time.Minute, time.Millisecond)
	})
}

func TestZombieIsStillThere(t *testing.T) {
	both(t, func(t *testing.T, start func(*testing.T) subject) {
		s := start(t)
		alive := open(t, s.Process)
		require.False(t, alive.Ended())
		s.end("exit", 3)
		awaitZombie(t, s.PID)
		h := open(t, s.Process)
		require.True(t, h.Ended())
		require.True(t, alive.Ended())
		require.NoError(t, h.Signal(unix.SIGTERM))
		s.reap()
		require.True(t, h.Ended())
		require.Equal(t, messages.Exit{Known: true, Code: 3}, wait(t, h))
	})
}

// awaitZombie returns when a process has ended and is not reaped yet.
func awaitZombie(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(fd) }()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	require.Eventually(t, func() bool {
		n, _ := unix.Poll(fds, 100)
		return n == 1
	}, time.Minute, time.Millisecond)
}

func TestExitThatNobodyAsksForIsSeen(t *testing.T) {
	for title, tc := range map[string]struct {
		how  string
		n    int
		exit messages.Exit
	}{
		"exit":   {"exit", 3, messages.Exit{Known: true, Code: 3}},
		"exit 0": {"exit", 0, messages.Exit{Known: true}},
		"signal": {"signal", 9, messages.Exit{Known: true, Signal: 9}},
	} {
		t.Run(title, func(t *testing.T) {
			s := adopted(t)
			h := open(t, s.Process)
			s.end(tc.how, tc.n)
			require.Equal(t, tc.exit, wait(t, h)) // s.reap has not been called
		})
	}
}

func TestProcessThatWasReapedIsGone(t *testing.T) {
	s := child(t)
	h := open(t, s.Process)
	s.end("exit", 0)
	wait(t, h)
	_, err := proc.Open(s.Process)
	require.ErrorIs(t, err, proc.ErrGone)
}

func TestReusedPidIsNotTakenForTheOldProcess(t *testing.T) {
	self := identify(t, os.Getpid())
	stale := map[string]messages.Process{
		"started earlier": {PID: self.PID, StartTime: self.StartTime - 1, BootID: self.BootID},
		"another boot":    {PID: self.PID, StartTime: self.StartTime, BootID: "another"},
		"nobody":          {PID: 1 << 30, StartTime: 1, BootID: self.BootID},
		"never recorded":  {},
		"no pid":          {StartTime: self.StartTime, BootID: self.BootID},
		"negative pid":    {PID: -1, StartTime: self.StartTime, BootID: self.BootID},
	}
	for name, p := range stale {
		t.Run(name, func(t *testing.T) {
			_, err := proc.Open(p)
			require.ErrorIs(t, err, proc.ErrGone)
		})
	}
}

func TestPidOfAThreadIsGone(t *testing.T) {
	threads, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		require.NoError(t, err)
		if tid == os.Getpid() {
			continue
		}
		p := identify(t, os.Getpid())
		p.PID = tid
		_, err = proc.Open(p)
		require.ErrorIs(t, err, proc.ErrGone)
	}
}

func TestWaitCanBeCancelledAndRepeated(t *testing.T) {
	s := child(t)
	h := open(t, s.Process)
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { _, err := h.Wait(ctx); done <- err }()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := h.Wait(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	s.end("exit", 7)
	require.Equal(t, messages.Exit{Known: true, Code: 7}, wait(t, h))
}

func TestCloseEndsWait(t *testing.T) {
	s := child(t)
	h := open(t, s.Process)
	done := make(chan error)
	go func() { _, err := h.Wait(t.Context()); done <- err }()
	require.NoError(t, h.Close())
	require.ErrorIs(t, <-done, os.ErrClosed)
	_, err := h.Wait(t.Context())
	require.ErrorIs(t, err, os.ErrClosed)
	require.ErrorIs(t, h.Signal(unix.SIGKILL), os.ErrClosed)
	require.ErrorIs(t, h.Close(), os.ErrClosed)
}

func TestEveryWaitLearnsTheSameExit(t *testing.T) {
	s := child(t)
	h := open(t, s.Process)
	exits := make(chan messages.Exit, 10)
	for range cap(exits) {
		go func() {
			end, err := h.Wait(context.Background())
			if err != nil {
				end.Exit = messages.Exit{Code: -1}
			}
			exits <- end.Exit
		}()
	}
	s.end("exit", 9)
	for range cap(exits) {
		require.Equal(t, messages.Exit{Known: true, Code: 9}, <-exits)
	}
}

func TestTwoHandlesOfOneChildLearnTheSameExit(t *testing.T) {
	if !kernelTellsExits(t) {
		t.Skip("this kernel reveals an exit only once")
	}
	s := child(t)
	a, b := open(t, s.Process), open(t, s.Process)
	s.end("exit", 9)
	require.Equal(t, messages.Exit{Known: true, Code: 9}, wait(t, a))
	require.Equal(t, messages.Exit{Known: true, Code: 9}, wait(t, b))
}

func TestFromPidfdRefusesWhatIsNotOpen(t *testing.T) {
	_, err := proc.FromPidfd(-1, messages.Process{PID: 1})
	require.ErrorContains(t, err, "internal error")
}

func TestNothingStaysOpen(t *testing.T) {
	cycle := func() {
		s := child(t)
		h, err := proc.Open(s.Process)
		require.NoError(t, err)
		s.end("exit", 0)
		wait(t, h)
		require.NoError(t, h.Close())
		stale := s.Process
		stale.PID, stale.StartTime = os.Getpid(), 1
		_, err = proc.Open(stale)
		require.ErrorIs(t, err, proc.ErrGone)
	}
	t.Run("first", func(*testing.T) { cycle() }) // opens the descriptors that the Go runtime keeps
	before := openFiles(t)
	for range 20 {
		cycle()
	}
	// The pipes of the workers stay open until the test ends, one each.
	require.Equal(t, before+20, openFiles(t))
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(files)
}
