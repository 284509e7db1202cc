package tender_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/confine"
	"albatross/runtime/fifo"
	"albatross/runtime/proc"
	"albatross/runtime/tender"
	"albatross/runtime/tender/launcher"
	"albatross/test/netns"
)

// The test binary runs itself again: as the launcher, as a tender that tells
// what it was given, and as a daemon that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "launch":
			// Not by os.Exit: under coverage that writes to standard error.
			unix.Exit(launcher.Main(os.Args[2:], func(argv []string, _ *confine.Order) func() int {
				return func() int { return itself(argv) }
			}))
		case "daemon":
			daemon(os.Args[2])
		}
	}
	netns.Enter()
	// Who is killed here leaves children, and this process is to inherit them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// itself is how the test binary goes on as a tender: it prints its arguments, and waits until
// a signal ends it.
func itself(argv []string) int {
	fmt.Println(strings.Join(argv[1:], " "))
	for {
		_ = unix.Pause()
	}
}

func self() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// shell is a command that runs a script in place of a tender.
func shell(output *os.File, script string) tender.Command {
	return tender.Command{
		Launcher: []string{self(), "launch"},
		Program:  "/bin/sh",
		Args:     []string{"-c", script},
		Output:   output,
	}
}

// A console is a FIFO as tenders write to.
type console struct {
	t              *testing.T
	reader, writer *os.File
}

func newConsole(t *testing.T) console {
	t.Helper()
	path := filepath.Join(t.TempDir(), ":c")
	require.NoError(t, fifo.Create(path))
	r, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	w, err := fifo.OpenWriter(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return console{t, r, w}
}

func (c console) contents() string {
	c.t.Helper()
	conn, err := c.reader.SyscallConn()
	require.NoError(c.t, err)
	var b []byte
	require.NoError(c.t, conn.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		require.NoError(c.t, err)
		b = make([]byte, n)
	}))
	_, err = io.ReadFull(c.reader, b)
	require.NoError(c.t, err)
	return string(b)
}

// run starts a command and returns its output and how it ended.
func run(t *testing.T, change func(*tender.Command), script string) (string, messages.Exit) {
	t.Helper()
	c := newConsole(t)
	command := shell(c.writer, script)
	change(&command)
	g, err := tender.Launch(t.Context(), command)
	require.NoError(t, err)
	require.NoError(t, g.Release(t.Context()))
	defer func() { _ = g.Handle().Close() }()
	exit := ended(t, g.Handle())
	return c.contents(), exit
}

func unchanged(*tender.Command) {}

func ended(t *testing.T, h *proc.Handle) messages.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	end, err := h.Wait(ctx)
	require.NoError(t, err)
	return end.Exit
}

// noChildren makes sure that nothing was left unreaped.
func noChildren(t *testing.T) {
	t.Helper()
	_, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
	require.Equal(t, unix.ECHILD, err)
}

func TestTenderRunsAndItsExitIsLearned(t *testing.T) {
	output, exit := run(t, unchanged, "echo out; echo err >&2; exit 64")
	require.Equal(t, "out\nerr\n", output)
	require.Equal(t, messages.Exit{Known: true, Code: 64}, exit)
	noChildren(t)
}

func TestArgumentsArriveAsTheyAre(t *testing.T) {
	output, _ := run(t, func(c *tender.Command) {
		c.Args = append(c.Args, "zero", "", "--", "a b", "\xff")
	}, `printf '<%s>' "$@"`)
	require.Equal(t, "<><--><a b><\xff>", output)
}

func TestTenderInheritsNothing(t *testing.T) {
	t.Setenv("SECRET", "leaked")
	leak, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // without O_CLOEXEC
	require.NoError(t, err)
	defer func() { _ = unix.Close(leak) }()
	output, _ := run(t, func(c *tender.Command) {
		c.Program, c.Args = "/usr/bin/env", []string{"ls", "-l", "/proc/self/fd"}
	}, "")
	require.Contains(t, output, "0 -> /dev/null\n")
	require.NotContains(t, output, strconv.Itoa(leak)+" -> /dev/null")
	// ls itself has the directory open as the first free descriptor.
	require.Contains(t, output, "3 -> /proc/")
	require.NotContains(t, output, " 4 -> ")

	output, _ = run(t, func(c *tender.Command) { c.Program, c.Args = "/usr/bin/env", nil }, "")
	require.Empty(t, output, "environment")
	output, _ = run(t, unchanged, "pwd")
	require.Equal(t, "/\n", output)
}

// TestTenderGetsWhatIsPassedOn, in order, and nothing else.
func TestTenderGetsWhatIsPassedOn(t *testing.T) {
	one, err := tender.NewPair()
	require.NoError(t, err)
	defer func() { _ = one.Close() }()
	two, err := tender.NewPair()
	require.NoError(t, err)
	defer func() { _ = two.Close() }()
	files := tender.Guest{Networks: []tender.Network{{Pair: &one}, {Tap: "t"}, {Pair: &two}}}.Files()
	require.Equal(t, []*os.File{one.Device, one.Network, two.Device, two.Network}, files)
	output, exit := run(t, func(c *tender.Command) { c.Files = files }, `cd /proc/$$/fd; for fd in *; do echo $fd $(readlink $fd); done`)
	require.Equal(t, messages.Exit{Known: true}, exit)
	var got []string
	for line := range strings.Lines(output) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], "socket:") {
			got = append(got, fields...)
		}
	}
	var want []string
	for i, f := range files {
		is, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		require.NoError(t, err)
		want = append(want, strconv.Itoa(launcher.Passed+i), is)
	}
	require.Equal(t, want, got)
}

func TestTenderHasItsOwnSession(t *testing.T) {
	output, _ := run(t, unchanged, "read -r stat < /proc/$$/stat; echo $$ $stat")
	fields := strings.Fields(output) // pid, then: pid (sh) state parent group session
	require.Equal(t, fields[0], fields[5], "process group")
	require.Equal(t, fields[0], fields[6], "session")
}

func TestTenderHasTheCPUsAskedFor(t *testing.T) {
	var all unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &all))
	last := 0
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			last = cpu
		}
	}
	const script = "grep Cpus_allowed_list /proc/self/status"
	for _, cpus := range [][]int{{last}, {0}} {
		output, _ := run(t, func(c *tender.Command) { c.CPUs = cpus }, script)
		require.Equal(t, fmt.Sprintf("Cpus_allowed_list:\t%d\n", cpus[0]), output)
	}
	output, _ := run(t, func(c *tender.Command) { c.CPUs = []int{0, last} }, script)
	require.Contains(t, output, strconv.Itoa(last))
}

func TestTenderHasDefaultSignals(t *testing.T) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTSTP, syscall.SIGUSR1)
	defer signal.Reset(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTSTP, syscall.SIGUSR1)
	runtime.LockOSThread() // Launch forks this thread, with its mask
	defer runtime.UnlockOSThread()
	var old unix.Sigset_t
	blocked := unix.Sigset_t{Val: [16]uint64{1<<(unix.SIGTERM-1) | 1<<(unix.SIGUSR2-1)}}
	require.NoError(t, unix.PthreadSigmask(unix.SIG_BLOCK, &blocked, &old))
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }()

	output, _ := run(t, func(c *tender.Command) {
		c.Program, c.Args = "/usr/bin/env", []string{"cat", "/proc/self/status"}
	}, "")
	none := strings.Repeat("0", 16)
	require.Contains(t, output, "SigBlk:\t"+none+"\nSigIgn:\t"+none+"\nSigCgt:\t"+none+"\n")
}

func TestNothingRunsBeforeRelease(t *testing.T) {
	c := newConsole(t)
	mark := filepath.Join(t.TempDir(), "ran")
	g, err := tender.Launch(t.Context(), shell(c.writer, "echo > "+mark))
	require.NoError(t, err)
	p := g.Process()
	same, err := proc.Open(p)
	require.NoError(t, err)
	require.NoError(t, same.Close())
	require.NoError(t, g.Abort())
	require.NoFileExists(t, mark)
	require.Empty(t, c.contents())
	_, err = proc.Open(p)
	require.ErrorIs(t, err, proc.ErrGone)
	noChildren(t)
}

func TestProcessIsTheSameAfterRelease(t *testing.T) {
	c := newConsole(t)
	g, err := tender.Launch(t.Context(), shell(c.writer, "exec sleep 1h"))
	require.NoError(t, err)
	before := g.Process()
	require.NoError(t, g.Release(t.Context()))
	after, err := proc.Identify(before.PID)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.NoError(t, g.Handle().Signal(unix.SIGTERM))
	require.Equal(t, messages.Exit{Known: true, Signal: int(unix.SIGTERM)}, ended(t, g.Handle()))
	require.NoError(t, g.Handle().Close())
}

func TestReleaseTellsWhyItFailed(t *testing.T) {
	notProgram := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(notProgram, []byte("x"), 0o700))
	tests := map[string]struct {
		change func(*tender.Command)
		want   string
	}{
		"no program": {
			func(c *tender.Command) { c.Program = "/nowhere/solo5-spt" },
			"cannot start /nowhere/solo5-spt: cannot execute /nowhere/solo5-spt: no such file or directory",
		},
		"not executable": {
			func(c *tender.Command) { c.Program = notProgram },
			"cannot start " + notProgram + ": cannot execute " + notProgram + ": exec format error",
		},
		"no such CPU": {
			func(c *tender.Command) { c.CPUs = []int{8191} },
			"cannot start /bin/sh: cannot run on CPUs [8191]: invalid argument",
		},
		"no such cgroup": {
			func(c *tender.Command) { c.Tasks = []string{"/nowhere/tasks"} },
			"cannot start /bin/sh: cannot join cgroup: /nowhere/tasks: no such file or directory",
		},
		"negative CPU": {
			func(c *tender.Command) { c.CPUs = []int{-1} },
			`cannot start /bin/sh: cannot launch: "-1" is no CPU`,
		},
		"launcher that is none": {
			func(c *tender.Command) { c.Launcher = []string{"/bin/true"} },
			"cannot start /bin/sh: the process ended before it could begin",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			command := shell(c.writer, "echo ran")
			test.change(&command)
			g, err := tender.Launch(t.Context(), command)
			require.NoError(t, err)
			require.EqualError(t, g.Release(t.Context()), test.want)
			_, err = proc.Open(g.Process())
			require.ErrorIs(t, err, proc.ErrGone)
			require.Empty(t, c.contents())
			noChildren(t)
		})
	}
}

func TestLaunchTellsWhyItFailed(t *testing.T) {
	c := newConsole(t)
	command := shell(c.writer, "")
	command.Launcher = []string{"/nowhere/albatross-tender", "launch"}
	_, err := tender.Launch(t.Context(), command)
	require.EqualError(t, err, "cannot start /bin/sh: cannot execute /nowhere/albatross-tender: no such file or directory")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = tender.Launch(ctx, shell(c.writer, ""))
	require.ErrorIs(t, err, context.Canceled)
	noChildren(t)
}

// A launcher that hangs is not waited for longer than the caller wants.
func TestReleaseThatTakesTooLongEndsTheProcess(t *testing.T) {
	c := newConsole(t)
	command := shell(c.writer, "")
	command.Launcher = []string{"/bin/sh", "-c", "exec sleep 1h"}
	g, err := tender.Launch(t.Context(), command)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, g.Release(ctx), context.DeadlineExceeded)
	_, err = proc.Open(g.Process())
	require.ErrorIs(t, err, proc.ErrGone)
	noChildren(t)
}

func TestLauncherCalledByHandRefuses(t *testing.T) {
	output, err := exec.Command(self(), "launch", "--cpus=", "--", "/bin/true").CombinedOutput()
	require.Error(t, err)
	require.Equal(t, "cannot launch: only albatrossd can call this\n", string(output))
}

func TestNothingStaysOpen(t *testing.T) {
	cycle := func() {
		_, _ = run(t, unchanged, "exit 0")
		c := newConsole(t)
		for _, program := range []string{"/bin/sh", "/nowhere"} {
			command := shell(c.writer, "")
			command.Program = program
			g, err := tender.Launch(t.Context(), command)
			require.NoError(t, err)
			if program == "/nowhere" {
				require.Error(t, g.Release(t.Context()))
			} else {
				require.NoError(t, g.Abort())
			}
		}
		command := shell(c.writer, "")
		command.Launcher = []string{"/nowhere"}
		_, err := tender.Launch(t.Context(), command)
		require.Error(t, err)
	}
	cycle()
	before := openFiles(t)
	cycle()
	require.Equal(t, before+4, openFiles(t), "two consoles stay open")
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(files)
}

// daemon launches a sleep with the console at a path, tells who it is, releases
// it when it reads a line, tells that, and waits to be killed.
func daemon(console string) {
	w, err := fifo.OpenWriter(console)
	must(err)
	g, err := tender.Launch(context.Background(), shell(w, "echo started; exec sleep 1h"))
	must(err)
	p := g.Process()
	fmt.Println(p.PID, p.StartTime, p.BootID)
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err == nil {
		must(g.Release(context.Background()))
		fmt.Println("released")
	}
	_, _ = io.Copy(io.Discard, in)
	os.Exit(0)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(98)
	}
}

// A victim is a daemon that is going to be killed.
type victim struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func startDaemon(t *testing.T, console string) (victim, messages.Process) {
	t.Helper()
	v := victim{cmd: exec.Command(self(), "daemon", console)}
	v.cmd.Stderr = os.Stderr
	in, err := v.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := v.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, v.cmd.Start())
	v.in, v.out = in, bufio.NewReader(out)
	var p messages.Process
	_, err = fmt.Fscanln(v.out, &p.PID, &p.StartTime, &p.BootID)
	require.NoError(t, err)
	return v, p
}

func (v victim) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, v.cmd.Process.Kill())
	require.Error(t, v.cmd.Wait())
}

func TestDaemonThatDiesBeforeReleaseLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), ":c")
	require.NoError(t, fifo.Create(path))
	reader, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	defer func() { _ = reader.Close() }()
	v, p := startDaemon(t, path)
	h, err := proc.Open(p)
	require.NoError(t, err)
	defer func() { _ = h.Close() }()
	v.kill(t)
	require.Equal(t, messages.Exit{Known: true}, ended(t, h), "the launcher went by itself")
	require.Empty(t, console{t: t, reader: reader}.contents())
	noChildren(t)
}

func TestDaemonThatDiesAfterReleaseLeavesTheTender(t *testing.T) {
	path := filepath.Join(t.TempDir(), ":c")
	require.NoError(t, fifo.Create(path))
	reader, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	defer func() { _ = reader.Close() }()
	v, p := startDaemon(t, path)
	_, err = fmt.Fprintln(v.in)
	require.NoError(t, err)
	said, err := v.out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "released\n", said)
	v.kill(t)

	line, err := bufio.NewReader(reader).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "started\n", line)
	h, err := proc.Open(p)
	require.NoError(t, err)
	defer func() { _ = h.Close() }()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = h.Wait(short)
	require.ErrorIs(t, err, context.DeadlineExceeded, "it lives")
	require.NoError(t, h.Signal(unix.SIGTERM))
	require.Equal(t, messages.Exit{Known: true, Signal: int(unix.SIGTERM)}, ended(t, h))
	noChildren(t)
}
