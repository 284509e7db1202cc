package readme

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/test/netns"
	"albatross/test/programs"
)

// patience is how long a command may take: one of them builds all programs.
const patience = 10 * time.Minute

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == asCurl {
		os.Exit(curl(os.Args[2]))
	}
	netns.Enter()
	os.Exit(m.Run())
}

func TestCommandsOfAText(t *testing.T) {
	require.Equal(t, []string{"one --two=#3", "sudo ip link && x", "four"},
		Commands("no `command`\n```yaml\nno: command\n```\n```\none --two=#3   # a comment\n\nsudo ip link && x\n# nothing\n```\nnone\n```sh\nfour\n```\n"))
}

// TestEveryHandlingIsOfACommand: each is for a command in README.
func TestEveryHandlingIsOfACommand(t *testing.T) {
	commands := Commands(readme(t))
	for _, c := range handlings {
		found := false
		for _, command := range commands {
			found = found || handlingOf(command) == c
		}
		require.True(t, found, c.beginning)
	}
}

// TestCommands runs all commands in README.
func TestCommands(t *testing.T) {
	commands := Commands(readme(t))
	require.NotEmpty(t, commands)
	n := newNewcomer(t)
	for _, command := range commands {
		t.Log(command)
		n.obey(command)
	}
}

// TestApply runs the commands in docs/apply.md, with the file that it shows.
func TestApply(t *testing.T) {
	text, err := os.ReadFile("../../docs/apply.md")
	require.NoError(t, err)
	n := newNewcomer(t)
	n.obey("make build")
	n.obey("sudo bin/albatrossd")
	manifest := strings.Join(codeIn(string(text), fence+"yaml"), "\n")
	require.NotEmpty(t, manifest)
	require.NoError(t, os.WriteFile(filepath.Join(n.tree, "host.yaml"), []byte(manifest), 0o644))
	for _, command := range Commands(string(text)) {
		t.Log(command)
		n.obey(command)
	}
}

func readme(t *testing.T) string {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	return string(text)
}

// A newcomer types commands in a tree of their own.
type newcomer struct {
	t      *testing.T
	tree   string
	env    []string
	goesOn []*running
}

// newNewcomer skips the test if it may not mount.
func newNewcomer(t *testing.T) *newcomer {
	netns.Need(t)
	tree, err := filepath.Abs("../..")
	require.NoError(t, err)
	n := &newcomer{t: t, tree: tree}
	n.env = append(os.Environ(), goEnv(t)...)
	private(t, tree)
	n.env = append(n.env, "HOME="+t.TempDir(), "PATH="+shims(t)+":"+filepath.Join(tree, "bin")+":"+os.Getenv("PATH"))
	t.Cleanup(n.leave)
	return n
}

// goEnv sets the directories in which Go keeps what it has built and fetched. The home is empty.
func goEnv(t *testing.T) (env []string) {
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		value, err := exec.Command("go", "env", name).Output()
		require.NoError(t, err)
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env
}

// private puts what is written to the tree, /run and /var/lib into memory. Nothing outside of this
// namespace sees that.
func private(t *testing.T, tree string) {
	for _, path := range []string{"/run/albatross", "/var/lib/albatross"} {
		if _, err := os.Stat(path); err == nil { // cgroups of version 1 have that name, too
			t.Skipf("albatross is in use on this machine: there is %s", path)
		}
	}
	dir := t.TempDir()
	mount := func(source, target, kind, options string) {
		if err := unix.Mount(source, target, kind, 0, options); err != nil {
			t.Skipf("cannot mount %s on %s: %v", kind, target, err)
		}
		t.Cleanup(func() { require.NoError(t, unix.Unmount(target, unix.MNT_DETACH)) })
	}
	mount("tmpfs", dir, "tmpfs", "")
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	require.NoError(t, os.Mkdir(upper, 0o755))
	require.NoError(t, os.Mkdir(work, 0o755))
	mount("overlay", tree, "overlay", fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", tree, upper, work))
	mount("tmpfs", "/run", "tmpfs", "mode=755")
	mount("tmpfs", "/var/lib", "tmpfs", "mode=755")
}

// asCurl is the argument with which this program is curl.
const asCurl = "--as-curl"

// curl asks until there is an answer: a unikernel that was just created needs a moment.
func curl(url string) (code int) {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		answer, err := http.Get(url)
		if err == nil {
			defer answer.Body.Close()
			_, err = io.Copy(os.Stdout, answer.Body)
		}
		switch {
		case err == nil:
			return 0
		case time.Now().After(end):
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}

// shims returns a directory with a sudo that needs no password, since this is root already, and with
// a curl.
func shims(t *testing.T) string {
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "curl"), []byte("#!/bin/sh\nexec "+self+" "+asCurl+" \"$@\"\n"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sudo"), []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755))
	return dir
}

// obey runs a command as its handling says.
func (n *newcomer) obey(command string) {
	n.t.Helper()
	c := handlingOf(command)
	if c.instead != "" {
		command = c.instead
	}
	r := n.start(command)
	switch {
	case c.until != "":
		n.await(r, func() bool { return strings.Contains(r.out.String(), c.until) })
		n.end(r, unix.SIGINT)
	case c.ready != "":
		n.goesOn = append(n.goesOn, r)
		n.await(r, func() bool { return n.shell(c.ready).Run() == nil })
	default:
		n.end(r, 0)
	}
}

// A running command is the leader of a group of processes.
type running struct {
	command string
	process *exec.Cmd
	out     output
	ended   chan error
}

func (n *newcomer) shell(command string) *exec.Cmd {
	c := exec.Command("sh", "-c", command)
	c.Dir, c.Env = n.tree, n.env
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

func (n *newcomer) start(command string) *running {
	// An interrupt is for the command; the shell reports how that ended.
	r := &running{command: command, process: n.shell("trap : INT\n" + command), ended: make(chan error, 1)}
	r.process.Stdout, r.process.Stderr = &r.out, &r.out
	r.process.WaitDelay = time.Minute // it waits for processes that the command has left behind
	require.NoError(n.t, r.process.Start())
	go func() { r.ended <- r.process.Wait() }()
	return r
}

// await waits for what must become true while a command runs. Nothing sends a notice of that, so
// await polls.
func (n *newcomer) await(r *running, holds func() bool) {
	n.t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case err := <-r.ended:
			r.ended <- err
			require.FailNow(n.t, "it has ended", "%s: %v\n%s", r.command, err, r.out.String())
		case <-deadline:
			r.kill()
			require.FailNow(n.t, "it does not come so far", "%s\n%s", r.command, r.out.String())
		}
	}
}

// end sends a signal, or none, and waits for success.
func (n *newcomer) end(r *running, signal syscall.Signal) {
	n.t.Helper()
	if signal != 0 {
		require.NoError(n.t, unix.Kill(-r.process.Process.Pid, signal))
	}
	select {
	case err := <-r.ended:
		require.NoError(n.t, err, "%s\n%s", r.command, r.out.String())
	case <-time.After(patience):
		r.kill()
		require.FailNow(n.t, "it does not end", "%s\n%s", r.command, r.out.String())
	}
}

func (r *running) kill() { _ = unix.Kill(-r.process.Process.Pid, unix.SIGKILL) }

// leave ends all commands that go on, unikernels first.
func (n *newcomer) leave() {
	for _, tmpdir := range []string{"/run/albatross", "~/albatross/run"} {
		n.destroyAll(tmpdir)
	}
	for _, r := range n.goesOn {
		_ = unix.Kill(-r.process.Process.Pid, unix.SIGTERM)
		select {
		case <-r.ended:
		case <-time.After(patience):
			r.kill()
			n.t.Errorf("%s does not end: %s", r.command, r.out.String())
		}
	}
	programs.RemoveCgroups("/var/lib/albatross")
	for _, entry := range n.env {
		if home, ok := strings.CutPrefix(entry, "HOME="); ok {
			programs.RemoveCgroups(filepath.Join(home, "albatross/db"))
		}
	}
}

func (n *newcomer) destroyAll(tmpdir string) {
	list, _ := n.shell("bin/albatross-client info --quiet --tmpdir " + tmpdir).Output()
	for name := range strings.FieldsSeq(string(list)) {
		if text, err := n.shell("bin/albatross-client destroy --tmpdir " + tmpdir + " " + name).CombinedOutput(); err != nil {
			n.t.Errorf("%s: %v", text, err)
		}
	}
}

// output holds what a command has printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
