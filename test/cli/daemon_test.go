package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/test/programs"
)

// TestDaemon runs the scripts in testdata/daemon with daemons of their own. They
// have more commands:
//
//	daemon start [OPTION]...
//	               starts a daemon in $RUN, and waits until it answers
//	daemon kill    kills it
//	daemon stop    stops it, and checks that no process and no file is left
//	ask CODE ...   runs albatross-client with its socket, as exits does
//	endpoint start CACERT CERT KEY [OPTION]...
//	               starts an endpoint for it, at the address $ENDPOINT
//	endpoint stop  stops that
func TestDaemon(t *testing.T) {
	buildPrograms(t)
	runScripts(t, "daemon")
}

// TestHelp runs the examples of the help. Their networks and ports are those of people, and so no other
// script runs at the same time.
func TestHelp(t *testing.T) {
	buildPrograms(t)
	runScripts(t, "examples")
}

func buildPrograms(t *testing.T) {
	t.Helper()
	for _, program := range []string{"albatrossd", "albatross-tender", "albatross-network", "albatross-tls-endpoint"} {
		require.NoError(t, programs.Build(bin, program))
	}
}

// ask is exits for the client, with the socket of the script's daemon.
func ask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: ask CODE ARGUMENTS...")
	}
	command := append([]string{args[0], "albatross-client"}, args[1:]...)
	exits(ts, false, append(command, "--tmpdir", ts.Getenv("RUN")))
}

func daemonCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 1 && args[0] != "start" {
		ts.Fatalf("usage: daemon start [OPTION]...|stop|kill")
	}
	d := ts.Value(realDaemonKey{}).(*realDaemon)
	switch args[0] {
	case "start":
		ts.Check(d.start(args[1:]))
	case "stop":
		ts.Check(d.stop())
	case "kill":
		d.kill()
	default:
		ts.Fatalf("usage: daemon start [OPTION]...|stop|kill")
	}
}

// A realDaemon is the daemon of a script, while one runs.
type realDaemon struct {
	dir    string
	daemon *exec.Cmd
	ended  chan error
}

type realDaemonKey struct{}

func (r *realDaemon) start(options []string) error {
	log, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"--tmpdir", r.dir, "--dbdir", filepath.Join(r.dir, "db"), "--tender", "builtin", "--interval", "20ms"}
	c := exec.Command(filepath.Join(bin, "albatrossd"), append(args, options...)...)
	c.Stderr = log
	if err := c.Start(); err != nil {
		return err
	}
	r.daemon, r.ended = c, make(chan error, 1)
	go func() { r.ended <- c.Wait() }()
	return r.ready()
}

// ready waits until the daemon answers. The sockets send no notice of that, so ready polls them.
func (r *realDaemon) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !programs.Answers(ctx, r.dir) {
		select {
		case <-tick.C:
		case err := <-r.ended:
			r.daemon = nil
			return fmt.Errorf("the daemon has ended (%v): %s", err, r.logText())
		case <-ctx.Done():
			return fmt.Errorf("the daemon does not answer: %s", r.logText())
		}
	}
	return nil
}

func (r *realDaemon) logText() string {
	text, _ := os.ReadFile(filepath.Join(r.dir, "log"))
	return string(text)
}

// stop ends the daemon as a service manager does.
func (r *realDaemon) stop() error {
	if r.daemon == nil {
		return errors.New("no daemon was started")
	}
	if err := r.daemon.Process.Signal(unix.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-r.ended:
		r.daemon = nil
		if err != nil {
			return fmt.Errorf("the daemon fails to stop (%w): %s", err, r.logText())
		}
	case <-time.After(patience):
		return fmt.Errorf("the daemon does not stop: %s", r.logText())
	}
	return r.nothingLeft()
}

// nothingLeft fails if there are processes, sockets, pipes or images without use.
func (r *realDaemon) nothingLeft() error {
	if left := processes(r.dir); len(left) > 0 {
		return fmt.Errorf("processes are left: %v", left)
	}
	for _, dir := range []string{"util", "fifo", "db/images"} {
		err := filepath.WalkDir(filepath.Join(r.dir, dir), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				err = fmt.Errorf("a file is left: %s", path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// kill ends the daemon as a crash does.
func (r *realDaemon) kill() {
	if r.daemon != nil {
		r.daemon.Process.Kill()
		<-r.ended
		r.daemon = nil
	}
}

// clean ends the processes of a script that has failed.
func (r *realDaemon) clean() {
	r.kill()
	for _, pid := range processes(r.dir) {
		unix.Kill(pid, unix.SIGKILL)
	}
	programs.RemoveCgroups(filepath.Join(r.dir, "db"))
}

// processes returns the processes whose command line names a file below dir, which no other script
// uses: tenders name the image that they run.
func processes(dir string) (pids []int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err == nil && bytes.Contains(line, []byte(dir+"/")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}
