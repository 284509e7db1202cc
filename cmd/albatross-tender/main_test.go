package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/test/guests"
	"albatross/test/netns"
	"albatross/test/programs"
)

// The tests run the real program as a process, as whoever starts a unikernel
// does. Everything in the directory can be read by everyone, so that an
// ordinary user can be put in root's place.
var (
	directory string
	tender    string
)

// deadline is far above what any of the runs takes, also where processor and KVM are emulated.
const deadline = 5 * time.Minute

func TestMain(m *testing.M) {
	netns.Enter()
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if !staysOnFirstThread() {
		fmt.Fprintln(os.Stderr, "main does not stay on the first thread, whose cgroup counts the memory")
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(directory)
		os.Exit(code)
	}))
}

// staysOnFirstThread reports whether main does so while other goroutines want its thread and
// wake it on theirs. Only TestMain runs where main does.
func staysOnFirstThread() bool {
	wake := make(chan struct{})
	var others sync.WaitGroup
	defer others.Wait()
	defer close(wake)
	for range 8 {
		others.Go(func() {
			for range wake {
			}
		})
	}
	for range 10_000 {
		wake <- struct{}{}
		runtime.Gosched()
		if unix.Gettid() != os.Getpid() {
			return false
		}
	}
	return true
}

func build() (err error) {
	if directory, err = os.MkdirTemp("", "albatross-tender"); err != nil {
		return err
	}
	if err := os.Chmod(directory, 0o755); err != nil {
		return err
	}
	tender = filepath.Join(directory, "albatross-tender")
	if err := programs.Build(directory, "albatross-tender"); err != nil {
		return err
	}
	for _, name := range guests.Names() {
		for path, target := range map[string]string{guest(name): "spt", hvtGuest(name): "hvt"} {
			if err := os.WriteFile(path, guests.Image(name, target), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// guest is the path of the image of a guest for spt.
func guest(name string) string { return filepath.Join(directory, name+".spt") }

// hvtGuest is the path of that for hvt.
func hvtGuest(name string) string { return filepath.Join(directory, name+".hvt") }

// result is how a run ended.
type result struct {
	exit           int // -1: by a signal
	signal         syscall.Signal
	stdout, stderr string
}

// nobody is an ordinary user without any rights of his own.
const nobody = 65534

// user says as whom to run.
type user struct {
	name       string
	credential *syscall.Credential
}

// users are the ones that the tests can play: root, if they are root, and
// always an ordinary user.
func users() []user {
	if os.Getuid() != 0 {
		return []user{{name: "self"}}
	}
	return []user{
		{name: "root"},
		{"nobody", &syscall.Credential{Uid: nobody, Gid: nobody}},
	}
}

func forUsers(t *testing.T, test func(t *testing.T, u user)) {
	for _, u := range users() {
		t.Run(u.name, func(t *testing.T) { test(t, u) })
	}
}

// command prepares a run of a tender that is killed at the deadline.
func (u user) command(t *testing.T, tender string, arguments ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, tender, arguments...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential}
	return c
}

func (u user) run(t *testing.T, tender string, arguments ...string) result {
	t.Helper()
	c := u.command(t, tender, arguments...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		require.NoError(t, err)
	}
	status := c.ProcessState.Sys().(syscall.WaitStatus)
	r := result{exit: status.ExitStatus(), stdout: stdout.String(), stderr: stderr.String()}
	if status.Signaled() {
		r.signal = status.Signal()
	}
	return r
}

// signalled is the result of a guest that was killed before it said a word.
func signalled(s syscall.Signal) result { return result{exit: -1, signal: s} }
