package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/test/programs"
)

// runLimit is for all that a machine with KVM does. It takes minutes.
const runLimit = time.Hour

// tested is a package, and which of its tests run in a machine.
type tested struct{ dir, tests string }

// withKVM are the packages whose tests use KVM, and which of their tests do.
var withKVM = []tested{
	{"runtime/hvt", "."},
	{"cmd/albatross-tender", "HVT|Socket|OtherEnd|PairOn|NetworksBack|Web"},
	{"actors", "^TestTenders/hvt"},
	{"test/e2e", "^TestHVT"},
}

// maySkip matches those of these tests that need something else that the machine does not have:
// a tender of Solo5.
var maySkip = regexp.MustCompile("^(cmd/albatross-tender TestHVTSameAsSolo5|actors TestTenders(UseDevices)?/hvt_installed)$")

// TestKVM runs all tests that use KVM in a machine whose KVM is complete: qemu emulates the
// virtualization of AMD's processors. That of a virtual machine often is not, and some tests
// are skipped there. Here a test fails that is skipped, except for those of maySkip.
func TestKVM(t *testing.T) {
	files := withPrograms(t)
	output := runWithKVM(t, files, testsIn(t, files, withKVM))
	for _, p := range withKVM {
		reportPackage(t, p.dir, output, maySkip)
	}
}

// testsIn puts tests of packages among the files of a machine, and returns the script that runs
// them there.
func testsIn(t *testing.T, files string, packages []tested) (script string) {
	source := filepath.Join(files, "source")
	require.NoError(t, os.CopyFS(filepath.Join(source, "test/guests/src"), os.DirFS("../guests/src"))) // one test reads it
	script = "export " + programs.Built + "=/programs\n"
	for _, p := range packages {
		host(t, "go", "test", "-c", "-ldflags=-s -w", "-o", filepath.Join(source, p.dir, "tests"), "albatross/"+p.dir)
		script += fmt.Sprintf("cd /source/%s\necho begin %s\n", p.dir, p.dir) +
			fmt.Sprintf("./tests -test.v=test2json -test.timeout=30m -test.run='%s'\necho end %s: exit $?\n", p.tests, p.dir)
	}
	return script
}

// TestWithKVMIsComplete: every package whose tests ask for KVM is there, except where they need
// a tender of Solo5 as well.
func TestWithKVMIsComplete(t *testing.T) {
	listed := []string{"test/guests"}
	for _, p := range withKVM {
		listed = append(listed, p.dir)
	}
	asking := map[string]bool{}
	root := os.DirFS("../..")
	require.NoError(t, fs.WalkDir(root, ".", func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") || path.Dir(file) == "test/vm" {
			return err
		}
		source, err := fs.ReadFile(root, file)
		if bytes.Contains(source, []byte("guests.KVM()")) {
			asking[path.Dir(file)] = true
		}
		return err
	}))
	require.ElementsMatch(t, listed, slices.Collect(maps.Keys(asking)))
}

// reportPackage makes the tests of a package subtests of this one.
func reportPackage(t *testing.T, dir, output string, maySkip *regexp.Regexp) {
	_, output, _ = strings.Cut(output, "begin "+dir+"\n")
	output, exit, _ := strings.Cut(output, "end "+dir+": exit ")
	tests := results(t, dir, output)
	for _, r := range tests {
		t.Run(r.name, func(t *testing.T) { r.report(t, maySkip) })
	}
	if len(tests) == 0 || !strings.HasPrefix(exit, "0\n") {
		t.Errorf("the tests of %s have failed:\n%s", dir, output[max(0, len(output)-4000):])
	}
}

// A result is how a test in the machine has ended.
type result struct{ name, action, output string }

// results reads what the tests of a package have printed.
func results(t *testing.T, dir, printed string) (tests []*result) {
	convert := exec.Command("go", "tool", "test2json")
	convert.Stdin = strings.NewReader(printed)
	converted, err := convert.Output()
	require.NoError(t, err)
	byName := map[string]*result{}
	for events := json.NewDecoder(bytes.NewReader(converted)); events.More(); {
		var e struct{ Test, Action, Output string }
		require.NoError(t, events.Decode(&e))
		if e.Test == "" {
			continue
		}
		r := byName[e.Test]
		if r == nil {
			r = &result{name: dir + " " + e.Test}
			byName[e.Test] = r
			tests = append(tests, r)
		}
		r.output += e.Output
		switch e.Action {
		case "pass", "fail", "skip":
			r.action = e.Action
		}
	}
	return tests
}

// report ends a subtest as the test in the machine has ended.
func (r *result) report(t *testing.T, maySkip *regexp.Regexp) {
	switch r.action {
	case "pass":
	case "skip":
		require.Regexp(t, maySkip, r.name, r.output)
		t.Skip(r.output)
	default: // it may have no end
		t.Error(r.output)
	}
}

// TestByHand is for what cannot be here, such as images of MirageOS: it copies a directory,
// ALBATROSS_VM_EXTRA, to /extra in a machine with KVM, runs the script /extra/run there, and
// shows what that prints. Our programs are in /programs.
//
//	ALBATROSS_VM=$(test/vm/prepare.sh) ALBATROSS_VM_EXTRA=$PWD/DIR go test -v -count 1 -run TestByHand ./test/vm
func TestByHand(t *testing.T) {
	extra := os.Getenv("ALBATROSS_VM_EXTRA")
	if extra == "" {
		t.Skip("there is no ALBATROSS_VM_EXTRA to run")
	}
	files := withPrograms(t)
	require.NoError(t, os.CopyFS(filepath.Join(files, "extra"), os.DirFS(extra)))
	t.Log(runWithKVM(t, files, "cd /extra\nsh run\n"))
}

// withPrograms makes a directory of files for a machine with KVM, which has no libraries.
func withPrograms(t *testing.T) (files string) {
	prepared(t)
	t.Setenv("CGO_ENABLED", "0")
	files = t.TempDir()
	dir := filepath.Join(files, "programs")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, programs.Build(dir, "albatrossd", "albatross-client", "albatross-tender", "albatross-keeper", "albatross-network", "albatross-influx"))
	return files
}

// An emulator runs a machine that has nothing but the files of a test.
type emulator struct {
	kernel, initrd string // that prepare.sh has made
	program        string
	options        []string
	output         string // the serial line with what the script prints
}

// withKVMOfAMD has the virtualization of AMD's processors.
var withKVMOfAMD = emulator{"vmlinuz", "kvm", "qemu-system-x86_64", []string{
	"-M", "pc", "-accel", "tcg", "-cpu", "max,+svm", "-smp", "1",
	"-append", "console=ttyS0 quiet panic=-1 mitigations=off",
}, "output"}

// runWithKVM boots a machine with KVM that has these files, and returns what a script prints
// there.
func runWithKVM(t *testing.T, files, script string) string {
	t.Helper()
	return withKVMOfAMD.run(t, files, script)
}

// run boots a machine that has these files, and returns what a script prints there. The machine
// ends with the script, or if its kernel panics.
func (e emulator) run(t *testing.T, files, script string) string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(filepath.Join(files, "run"), []byte(script+"echo the end\n"), 0o644))
	host(t, "sh", "-ec", `cp "$1" "$3"; cd "$2"; find . | cpio -o -H newc --quiet >>"$3"`,
		"sh", filepath.Join(prepared(t), e.initrd), files, in("initrd"))
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	qemu := exec.CommandContext(ctx, "nice", slices.Concat([]string{"-n", "10", e.program}, e.options, []string{
		"-m", "1024", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(prepared(t), e.kernel), "-initrd", in("initrd"),
		"-serial", "file:" + in("console"), "-serial", "file:" + in("output"),
	})...)
	qemu.Stderr = os.Stderr
	begun := time.Now()
	require.NoError(t, qemu.Start())
	err := qemu.Wait()
	t.Logf("from start to power-off: %v, and %v of a processor", time.Since(begun).Round(time.Second),
		(qemu.ProcessState.UserTime() + qemu.ProcessState.SystemTime()).Round(time.Second))
	console, _ := os.ReadFile(in("console"))
	output, _ := os.ReadFile(in(e.output))
	printed, _, complete := strings.Cut(strings.ReplaceAll(string(output), "\r\n", "\n"), "the end\n")
	if !complete {
		require.FailNow(t, "the machine has not come to the end", "%v\nthe console: %s\nthe script: %s", err, console, printed)
	}
	return printed
}
