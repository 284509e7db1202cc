package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// examplesKey is the key of the examples that a script has run.
type examplesKey struct{}

type examples struct{ run []string }

// The examples of a help, and the commands that it lists.
var (
	exampleLines = regexp.MustCompile(`(?m)^Examples:\n((?:  .*\n)+)`)
	belowLine    = regexp.MustCompile(`(?m)^  ([a-z-]+) +[A-Z]`)
	usagePart    = regexp.MustCompile(`(?s)^.*?\nUsage:\n(?:  .*?\n)+`)
)

// shownExamples returns the examples in the help of a command, and in that of those below it.
func shownExamples(ts *testscript.TestScript, command ...string) (list []string) {
	help, err := exec.Command(filepath.Join(bin, "albatross-client"), append(command, "--help")...).Output()
	ts.Check(err)
	if found := exampleLines.FindSubmatch(help); found != nil {
		for line := range strings.Lines(string(found[1])) {
			list = append(list, strings.TrimSpace(line))
		}
	}
	rest := usagePart.ReplaceAll(help, nil)
	commands, _, _ := bytes.Cut(rest, []byte("Flags:\n"))
	for _, below := range belowLine.FindAllSubmatch(commands, -1) {
		if name := string(below[1]); name != "help" && name != "completion" {
			list = append(list, shownExamples(ts, append(slices.Clone(command), name)...)...)
		}
	}
	return list
}

// example runs an example of the help, in a shell, as people type it:
//
//	example CODE LINE         it exits with the code
//	example until TEXT LINE   it prints the text, and ends well when it is interrupted
//	example not WHY LINE      it is not run, since it needs what a test does not have
//	example all               every example of the help was one of these
//
// The daemon is that of the script, and so are the directories.
func example(ts *testscript.TestScript, neg bool, args []string) {
	e := ts.Value(examplesKey{}).(*examples)
	switch {
	case neg:
		ts.Fatalf("an example that fails has another exit code")
	case len(args) == 1 && args[0] == "all":
		for _, line := range shownExamples(ts) {
			if !slices.Contains(e.run, line) {
				ts.Fatalf("this example of the help is not run: %s", line)
			}
		}
	case len(args) == 2:
		e.note(ts, args[1])
		exits(ts, false, []string{args[0], "sh", "-c", asTyped(ts, args[1])})
	case len(args) == 3 && args[0] == "until":
		e.note(ts, args[2])
		interrupted(ts, args[1], asTyped(ts, args[2]))
	case len(args) == 3 && args[0] == "not":
		e.note(ts, args[2])
	default:
		ts.Fatalf("usage: example CODE LINE | example until TEXT LINE | example not WHY LINE | example all")
	}
}

func (e *examples) note(ts *testscript.TestScript, line string) {
	if !slices.Contains(shownExamples(ts, strings.Fields(line)[1]), line) && !slices.Contains(shownExamples(ts), line) {
		ts.Fatalf("this is no example of the help: %s", line)
	}
	e.run = append(e.run, line)
}

// asTyped returns a command for a shell whose albatross-client asks the daemon of the script.
func asTyped(ts *testscript.TestScript, line string) string {
	shims := ts.MkAbs("shims")
	ts.Check(os.MkdirAll(shims, 0o700))
	shim := "#!/bin/sh\nexec " + filepath.Join(bin, "albatross-client") + " --tmpdir=\"$RUN\" --dbdir=\"$RUN/db\" \"$@\"\n"
	ts.Check(os.WriteFile(filepath.Join(shims, "albatross-client"), []byte(shim), 0o700))
	here := strings.NewReplacer(
		"/run/other", ts.Getenv("RUN"), "/var/lib/albatross", ts.Getenv("RUN")+"/db", "https://builds.example.org", ts.Getenv("BUILDER"),
		"localhost:5000", ts.Getenv("REGISTRY"),
		"-d host.example", "-d "+ts.Getenv("ENDPOINT"), "--destination=host.example", "--destination="+ts.Getenv("ENDPOINT"))
	return "PATH=\"" + shims + ":$PATH\"; " + here.Replace(line)
}

// interrupted runs a command until it prints a text. The command sends no notice of that, so
// interrupted reads what it prints.
func interrupted(ts *testscript.TestScript, text, line string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", line)
	c.Dir, c.Env = ts.MkAbs("."), append(c.Environ(), "RUN="+ts.Getenv("RUN"), "PATH="+ts.Getenv("PATH"), "ALBATROSS_OUTPUT=")
	c.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // the interrupt is for what the shell runs, too
	printed := &notedOutput{text: text, found: make(chan struct{})}
	c.Stdout, c.Stderr = printed, printed
	ts.Check(c.Start())
	select {
	case <-printed.found:
	case <-ctx.Done():
	}
	ts.Check(unix.Kill(-c.Process.Pid, unix.SIGINT))
	_ = c.Wait() // the shell is interrupted, too, and tells that
	ts.Logf("%s", printed.String())
	if ctx.Err() != nil {
		ts.Fatalf("it does not print %q within %v", text, patience)
	}
}

// A notedOutput keeps what is written, and tells when a text is in it.
type notedOutput struct {
	mu    sync.Mutex
	all   bytes.Buffer
	text  string
	found chan struct{}
	told  bool
}

func (n *notedOutput) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all.Write(b)
	if !n.told && strings.Contains(n.all.String(), n.text) {
		n.told = true
		close(n.found)
	}
	return len(b), nil
}

func (n *notedOutput) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all.String()
}
