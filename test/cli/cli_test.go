// Package cli tests the command line as a user meets it: scripts in testdata run
// the programs that are built from cmd, and check what they print and how they
// exit. The scripts in testdata/client need no daemon, or one that answers as
// they say (see fake_test.go); those in testdata/daemon start
// real ones (see daemon_test.go), and endpoints for them (see endpoint_test.go).
//
// Beside the commands of testscript, a script has
//
//	exits CODE COMMAND...   runs a command that must exit with that code
//	soon CODE COMMAND...    runs a command until it does
//	serve SOCKET FILE       answers at a socket as the file says
//	until FILE TEXT         waits for a text to appear in a file
//	served PORT TEXT        waits until this is the first line that a web server there answers
//	! served PORT           none answers there
//	builder FILE            starts a builder-web at $BUILDER (see builder_test.go)
//	registry VARIABLE       starts a registry of images, whose host is in $VARIABLE then
//	container REF HYPERVISOR FILE COMMAND
//	                        writes an image there as urunc packages it
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"albatross/test/guests"
	"albatross/test/netns"
	"albatross/test/programs"
)

// patience bounds what must happen in a script.
const patience = 20 * time.Second

// bin is the directory of the programs.
var bin string

func TestMain(m *testing.M) {
	netns.Enter()
	flag.Parse()
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	bin, err = os.MkdirTemp("", "cli-bin")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(bin)
	if err := programs.Build(bin, "albatross-client"); err != nil {
		return 1, err
	}
	if code := m.Run(); code != 0 {
		return code, nil
	}
	return 0, goleak.Find()
}

func TestClient(t *testing.T) { runScripts(t, "client") }

func runScripts(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", dir),
		Setup:              setup,
		RequireUniqueNames: true,
		Condition:          condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"soon":   soon,
			"serve":  serve,
			"until":  until,
			"served": served,

			"builder":  builder,
			"registry": registryCommand,

			"container": containerCommand,
			"ask":       ask,
			"daemon":    daemonCommand,
			"endpoint":  endpointCommand,
			"example":   example,
		},
	})
}

func served(ts *testscript.TestScript, neg bool, args []string) {
	if neg && len(args) != 1 || !neg && len(args) != 2 {
		ts.Fatalf("usage: served [ADDRESS:]PORT TEXT, or ! served [ADDRESS:]PORT")
	}
	at := args[0]
	if !strings.Contains(at, ":") {
		at = "127.0.0.1:" + at
	}
	end := time.Now().Add(patience)
	for {
		line, err := firstLine("http://" + at + "/")
		switch {
		case neg && err != nil, !neg && err == nil && line == args[1]:
			return
		case neg || time.Now().After(end):
			ts.Fatalf("%s answers %q (%v)", args[0], line, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func firstLine(url string) (string, error) {
	c := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	line, _, _ := strings.Cut(string(text), "\n")
	return line, err
}

// condition reports a condition that scripts can check: [largecerts] is true if the programs are
// built so that TLS accepts certificates above 256 KiB, as the Makefile builds them; and
// [docker-registry] if that is installed.
func condition(name string) (bool, error) {
	if name == "docker-registry" {
		return hasRegistry(), nil
	}
	if name != "largecerts" {
		return false, fmt.Errorf("there is no condition %s", name)
	}
	return strings.Contains(os.Getenv("GOFLAGS"), "-overlay"), nil
}

// setup gives a script native's output, unless it sets $ALBATROSS_OUTPUT, the programs, our guests in $WORK/guests, in $RUN a directory whose path is
// short enough for Unix sockets, and in $ESCAPE what a script cannot contain.
func setup(env *testscript.Env) error {
	run, err := os.MkdirTemp("", "cli")
	if err != nil {
		return err
	}
	env.Defer(func() { os.RemoveAll(run) })
	d := &realDaemon{dir: run}
	env.Values[realDaemonKey{}] = d
	env.Defer(d.clean)
	e := &endpoint{}
	env.Values[endpointKey{}] = e
	env.Values[examplesKey{}] = &examples{}
	env.Defer(e.clean)
	if err := os.MkdirAll(filepath.Join(run, "util"), 0o700); err != nil {
		return err
	}
	env.Setenv("RUN", run)
	env.Setenv("ALBATROSS_OUTPUT", "native")
	env.Setenv("ESCAPE", "\x1b[31m") // makes a terminal red
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	return writeGuests(filepath.Join(env.WorkDir, "guests"))
}

func writeGuests(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, name := range guests.Names() {
		for _, target := range guests.Targets() {
			path := filepath.Join(dir, name+"."+target)
			if err := os.WriteFile(path, guests.Image(name, target), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// exits runs a command that must exit with a code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitCode(ts, args[1:]); got != want {
		ts.Fatalf("exit code %d instead of %d", got, want)
	}
}

func exitCode(ts *testscript.TestScript, command []string) int {
	err := ts.Exec(command[0], command[1:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// soon runs a command again and again until it exits with a code. The first run should do so,
// unless the machine is busy.
func soon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: soon CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	deadline := time.Now().Add(patience)
	for got := -1; got != want; got = exitCode(ts, args[1:]) {
		if time.Now().After(deadline) {
			ts.Fatalf("exit code %d instead of %d", got, want)
		}
	}
}

// until waits for a text that another process writes into a file. The process sends no notice, so
// until polls the file.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: until FILE TEXT")
	}
	path := ts.MkAbs(args[0])
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), args[1]) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%s does not say %q: %s", args[0], args[1], text)
		}
	}
}
