package keeper

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/seqpacket"
)

// How the real keeper behaves is tested in cmd/albatross-keeper. Here is one that misbehaves.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const deadline = time.Minute

var process = messages.Process{PID: 7, StartTime: 8, BootID: "boot"}

// A fake is a keeper that answers as the test says.
type fake struct {
	t        *testing.T
	dbdir    string
	listener int

	mu       sync.Mutex
	ended    []Ended
	troubles []string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, dbdir: t.TempDir()}
	require.NoError(t, os.Mkdir(filepath.Join(f.dbdir, wire.Dir), 0o700))
	var err error
	f.listener, err = unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(f.listener, &unix.SockaddrUnix{Name: filepath.Join(f.dbdir, wire.Dir, wire.Socket)}))
	require.NoError(t, unix.Listen(f.listener, 1))
	t.Cleanup(func() { seqpacket.CloseAll([]int{f.listener}) })
	return f
}

func (f *fake) config() Config {
	return Config{
		DBDir: f.dbdir, Program: "/nonexistent", Build: "mine",
		Ended:   func(e Ended) { f.mu.Lock(); defer f.mu.Unlock(); f.ended = append(f.ended, e) },
		Trouble: func(text string) { f.mu.Lock(); defer f.mu.Unlock(); f.troubles = append(f.troubles, text) },
	}
}

// run accepts a connection and serves it until serve returns false or the peer leaves.
func (f *fake) run(serve func(fd int, r wire.Request, files []int) bool) (stopped chan struct{}) {
	stopped = make(chan struct{})
	go func() {
		defer close(stopped)
		fd, _, err := unix.Accept4(f.listener, unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		defer seqpacket.CloseAll([]int{fd})
		buffer := make([]byte, wire.MaxFrame)
		for {
			frame, files, err := seqpacket.Receive(fd, buffer)
			if err != nil || len(frame) == 0 {
				return
			}
			var r wire.Request
			if err := wire.Decode(frame, &r); err != nil {
				f.t.Error(err)
				return
			}
			goOn := serve(fd, r, files)
			seqpacket.CloseAll(files)
			if !goOn {
				return
			}
		}
	}()
	return stopped
}

// say sends an answer from the fake.
func (f *fake) say(fd int, a wire.Answer, files ...int) {
	frame, err := wire.Encode(a)
	if err == nil {
		err = seqpacket.Send(fd, frame, files)
	}
	if err != nil {
		f.t.Error(err)
	}
}

// polite answers a hello, and passes on everything else.
func (f *fake) polite(serve func(fd int, r wire.Request, files []int) bool) func(fd int, r wire.Request, files []int) bool {
	return func(fd int, r wire.Request, files []int) bool {
		if r.Do == wire.Hello {
			f.say(fd, wire.Answer{ID: r.ID, Protocol: wire.Protocol, Build: "theirs"})
			return true
		}
		return serve(fd, r, files)
	}
}

func (f *fake) connect() *Client {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), deadline)
	defer cancel()
	c, err := Connect(ctx, f.config())
	require.NoError(f.t, err)
	require.Equal(f.t, "theirs", c.Build())
	require.Equal(f.t, os.Getpid(), c.PID())
	return c
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// order has standard input and output for a console, which a fake does not look at.
func order() Order {
	return Order{Name: messages.Name{Label: "a"}, Argv: []string{"/bin/true"}, Output: os.Stdout, Console: os.Stdin}
}

// TestWhatAKeeperGets: the descriptors of a start, and that none of them stays open here.
func TestWhatAKeeperGets(t *testing.T) {
	f := newFake(t)
	stopped := f.run(f.polite(func(fd int, r wire.Request, files []int) bool {
		if r.Do == wire.List {
			f.say(fd, wire.Answer{ID: r.ID})
			return true
		}
		if len(files) != len(r.Files) || len(files) != 5 || r.Name != ":a" {
			t.Errorf("%d descriptors with %v", len(files), r)
		}
		line := make([]byte, 100)
		n, err := unix.Pread(files[0], line, 0)
		if err != nil || string(line[:n]) != "/bin/true\x00" {
			t.Errorf("%q %v", line[:n], err)
		}
		f.say(fd, wire.Answer{ID: r.ID, Process: process, Files: []wire.File{wire.Pidfd}}, files[1])
		return true
	}))
	c := f.connect()
	before := descriptors(t)
	s, err := c.Start(t.Context(), order())
	require.NoError(t, err)
	require.Equal(t, process, s.Process)
	_, err = c.List(t.Context()) // the keeper has closed what it has got before
	require.NoError(t, err)
	require.Equal(t, before+3, descriptors(t), "pidfd, gate and status")
	s.Close()
	require.Equal(t, before, descriptors(t))
	c.Close()
	<-stopped
}

// TestAKeeperThatPassesNothingOn is of an older build, and is not asked to.
func TestAKeeperThatPassesNothingOn(t *testing.T) {
	f := newFake(t)
	stopped := f.run(f.polite(func(fd int, r wire.Request, files []int) bool {
		if r.Do != wire.Upgrade {
			t.Errorf("asked for %s", r.Do)
		}
		f.say(fd, wire.Answer{ID: r.ID, Protocol: wire.Protocol, Build: "another"})
		return true
	}))
	c := f.connect()
	o := order()
	o.Files = []*os.File{os.Stdin}
	_, err := c.Start(t.Context(), o)
	require.ErrorIs(t, err, ErrOlder)
	require.NoError(t, c.Upgrade(t.Context(), "/another"))
	_, err = c.Start(t.Context(), o)
	require.ErrorIs(t, err, ErrOlder)
	c.Close()
	<-stopped
}

// TestAKeeperThatMisbehaves costs an error, and no descriptor.
func TestAKeeperThatMisbehaves(t *testing.T) {
	for name, tc := range map[string]struct {
		serve func(f *fake, fd int, r wire.Request) bool
		want  string
	}{
		"hangs up": {func(*fake, int, wire.Request) bool { return false }, ErrLost.Error()},
		"garbage": {func(f *fake, fd int, _ wire.Request) bool {
			_ = seqpacket.Send(fd, []byte{0xff, 0xff}, nil)
			return true
		}, ErrLost.Error()},
		"a refusal": {func(f *fake, fd int, r wire.Request) bool {
			f.say(fd, wire.Answer{ID: r.ID, Err: "no"})
			return true
		}, "cannot start a process: no"},
		"a refusal with a descriptor": {func(f *fake, fd int, r wire.Request) bool {
			f.say(fd, wire.Answer{ID: r.ID, Err: "no", Files: []wire.File{wire.Pidfd}}, fd)
			return true
		}, "no"},
		"no descriptor": {func(f *fake, fd int, r wire.Request) bool {
			f.say(fd, wire.Answer{ID: r.ID, Process: process})
			return true
		}, "has not sent the process"},
		"fewer descriptors than it says": {func(f *fake, fd int, r wire.Request) bool {
			f.say(fd, wire.Answer{ID: r.ID, Files: []wire.File{wire.Pidfd}})
			return true
		}, seqpacket.ErrCut.Error()},
		"more descriptors": {func(f *fake, fd int, r wire.Request) bool {
			f.say(fd, wire.Answer{ID: r.ID, Files: []wire.File{wire.Pidfd, wire.Console}}, fd, fd)
			return true
		}, "has not sent the process"},
		"an answer to nothing first": {func(f *fake, fd int, r wire.Request) bool {
			f.say(fd, wire.Answer{ID: 99, Files: []wire.File{wire.Pidfd}}, fd)
			f.say(fd, wire.Answer{ID: r.ID, Err: "no"})
			return true
		}, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			stopped := f.run(f.polite(func(fd int, r wire.Request, _ []int) bool { return tc.serve(f, fd, r) }))
			c := f.connect()
			before := descriptors(t)
			_, err := c.Start(t.Context(), order())
			require.ErrorContains(t, err, tc.want)
			c.Close()
			<-stopped
			require.LessOrEqual(t, descriptors(t), before)
			_, err = c.Start(t.Context(), order())
			require.ErrorIs(t, err, ErrLost)
		})
	}
}

// TestALateAnswer is closed when it arrives: nobody waits for it.
func TestALateAnswer(t *testing.T) {
	f := newFake(t)
	answer := make(chan struct{})
	stopped := f.run(f.polite(func(fd int, r wire.Request, files []int) bool {
		if r.Do == wire.Start {
			<-answer
			f.say(fd, wire.Answer{ID: r.ID, Process: process, Files: []wire.File{wire.Pidfd}}, files[1])
		} else {
			f.say(fd, wire.Answer{ID: r.ID})
		}
		return true
	}))
	c := f.connect()
	before := descriptors(t)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { _, err := c.Start(ctx, order()); failed <- err }()
	cancel()
	require.ErrorContains(t, <-failed, "the keeper does not answer")
	close(answer)
	_, err := c.List(t.Context()) // comes behind that
	require.NoError(t, err)
	c.Close()
	<-stopped
	require.LessOrEqual(t, descriptors(t), before)
}

// TestNewsThatNobodyHasAskedFor reach the daemon, in order.
func TestNewsThatNobodyHasAskedFor(t *testing.T) {
	f := newFake(t)
	end := wire.End{Exit: messages.Exit{Known: true, Code: 3}, AtMillis: 5}
	stopped := f.run(f.polite(func(fd int, r wire.Request, _ []int) bool {
		f.say(fd, wire.Answer{Process: process, Name: ":a", End: &end})
		f.say(fd, wire.Answer{Err: "trouble"})
		f.say(fd, wire.Answer{ID: r.ID})
		return true
	}))
	c := f.connect()
	require.NoError(t, c.Forget(t.Context(), process))
	c.Close()
	<-stopped
	require.Equal(t, []Ended{{":a", process, end}}, f.ended)
	require.Equal(t, []string{"trouble"}, f.troubles)
}

// TestVersions: a newer keeper is refused with what to do, an older one upgraded.
func TestVersions(t *testing.T) {
	f := newFake(t)
	stopped := f.run(func(fd int, r wire.Request, _ []int) bool {
		f.say(fd, wire.Answer{ID: r.ID, Protocol: wire.Protocol + 1, Err: "this keeper speaks protocol 2"})
		return true
	})
	_, err := Connect(t.Context(), f.config())
	var newer *NewerError
	require.ErrorAs(t, err, &newer)
	require.EqualError(t, err, "cannot use the keeper: this keeper speaks protocol 2; start the newer daemon")
	<-stopped

	var asked []string
	stopped = f.run(func(fd int, r wire.Request, _ []int) bool {
		asked = append(asked, fmt.Sprint(r.Do, r.Program))
		a := wire.Answer{ID: r.ID, Protocol: wire.Protocol, Build: "theirs"}
		if len(asked) == 1 {
			a.Protocol, a.Err = -1, "this keeper speaks an older protocol"
		}
		f.say(fd, a)
		return true
	})
	c := f.connect()
	c.Close()
	<-stopped
	require.Equal(t, []string{"hello", "upgrade/nonexistent", "hello"}, asked)
}

// TestOneClaim: a second daemon waits for the first, a while.
func TestOneClaim(t *testing.T) {
	dbdir := t.TempDir()
	first, err := NewClaim(t.Context(), dbdir)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = NewClaim(ctx, dbdir)
	require.EqualError(t, err, fmt.Sprintf("cannot claim the consoles: process %d, %s, has them", os.Getpid(), commOf(t, os.Getpid())))
	first.Release()
	second, err := NewClaim(t.Context(), dbdir)
	require.NoError(t, err)
	second.Release()
	_, err = NewClaim(t.Context(), filepath.Join(dbdir, "missing"))
	require.ErrorContains(t, err, "cannot claim the consoles: ")
}

// TestAStoppedProcessThatHasTheClaim is not waited for in vain: the refusal says which to kill.
func TestAStoppedProcessThatHasTheClaim(t *testing.T) {
	dbdir := t.TempDir()
	claim, err := NewClaim(t.Context(), dbdir)
	require.NoError(t, err)
	claim.Release()
	c := exec.Command("flock", filepath.Join(dbdir, wire.Dir, wire.Readers), "sh", "-c", "echo locked; exec sleep 600")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, c.Start())
	defer func() {
		require.NoError(t, unix.Kill(-c.Process.Pid, unix.SIGKILL))
		_ = c.Wait() // it was killed
	}()
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, c.Process.Signal(unix.SIGSTOP))
	var status unix.WaitStatus
	_, err = unix.Wait4(c.Process.Pid, &status, unix.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, status.Stopped())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = NewClaim(ctx, dbdir)
	require.EqualError(t, err, fmt.Sprintf("cannot claim the consoles: process %d, flock, has them, and is stopped: "+
		"kill it, and the next one takes over", c.Process.Pid))
}

func commOf(t *testing.T, pid int) string {
	t.Helper()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	require.NoError(t, err)
	return strings.TrimSpace(string(name))
}

func TestAKeeperThatCannotBeStarted(t *testing.T) {
	config := Config{DBDir: t.TempDir(), Program: "/bin/false"}
	_, err := Connect(t.Context(), config)
	require.EqualError(t, err, "cannot connect to the keeper: cannot start the keeper: exit status 1: ")
	config.Await = true
	_, err = Connect(t.Context(), config)
	require.ErrorIs(t, err, ErrNone, "somebody else starts it")
	config.Program, config.Await = "/nonexistent", false
	_, err = Connect(t.Context(), config)
	require.ErrorContains(t, err, "no such file or directory")
}

// TestALongPath: sockets have short paths, and databases need not.
func TestALongPath(t *testing.T) {
	dbdir := filepath.Join(t.TempDir(), strings.Repeat("x", 200))
	require.NoError(t, os.MkdirAll(filepath.Join(dbdir, wire.Dir), 0o700))
	_, err := dial(t.Context(), dbdir)
	require.ErrorIs(t, err, unix.ENOENT)
}

// TestList puts the parts together.
func TestList(t *testing.T) {
	f := newFake(t)
	stopped := f.run(f.polite(func(fd int, r wire.Request, _ []int) bool {
		next := r.After.PID + 1
		a := wire.Answer{ID: r.ID, More: next < 5}
		a.Kept = []wire.Kept{{Name: ":a", Process: messages.Process{PID: next, BootID: "boot"}}}
		f.say(fd, a)
		return true
	}))
	c := f.connect()
	list, err := c.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 5)
	require.Equal(t, 5, list[4].Process.PID)
	c.Close()
	<-stopped
}
