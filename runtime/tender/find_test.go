package tender_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/tender"
)

// A host is a place with programs.
type host struct {
	t      *testing.T
	finder *tender.Finder
	bin    string // in the PATH
}

func newHost(t *testing.T, policy tender.Policy) host {
	t.Helper()
	root := t.TempDir()
	h := host{t: t, bin: filepath.Join(root, "bin")}
	h.finder = &tender.Finder{
		Dir:     filepath.Join(root, "db"),
		Path:    strings.Join([]string{"relative", "", filepath.Join(root, "none"), h.bin}, ":"),
		Builtin: filepath.Join(root, "albatross-tender"),
		Policy:  policy,
	}
	require.NoError(t, os.Mkdir(h.bin, 0o700))
	require.NoError(t, os.Mkdir(h.finder.Dir, 0o700))
	return h
}

// install writes a shell script that also notes that it was run.
func (h host) install(path, script string) string {
	h.t.Helper()
	script = "#!/bin/sh\necho \"$@\" >> " + path + ".runs\n" + script + "\n"
	// A file that is open for writing in a process forked meanwhile cannot be
	// executed; renaming gives one that nobody has open.
	require.NoError(h.t, os.WriteFile(path+".new", []byte(script), 0o700))
	require.NoError(h.t, os.Rename(path+".new", path))
	return path
}

func (h host) runs(path string) string {
	h.t.Helper()
	runs, err := os.ReadFile(path + ".runs")
	if os.IsNotExist(err) {
		return ""
	}
	require.NoError(h.t, err)
	return string(runs)
}

func (h host) find(target image.Target, version uint32) (tender.Tender, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	return h.finder.Find(ctx, target, version)
}

func (h host) finds(program string) {
	h.t.Helper()
	got, err := h.find(image.HVT, 2)
	require.NoError(h.t, err)
	require.Equal(h.t, tender.Tender{Program: program}, got)
}

// findsAside is finds on another goroutine than that of the test.
func (h host) findsAside(program string) {
	got, err := h.find(image.HVT, 2)
	if err != nil || got.Program != program {
		h.t.Errorf("found %v, %v", got, err)
	}
}

func tells(version int) string {
	return fmt.Sprintf("echo solo5-hvt v0.9.0 >&2; echo ABI version %d >&2", version)
}

func TestFindPrefersTheDirectoryAndTheVersionInTheName(t *testing.T) {
	h := newHost(t, tender.Auto)
	places := []string{
		filepath.Join(h.bin, "solo5-hvt"), filepath.Join(h.finder.Dir, "solo5-hvt"),
		filepath.Join(h.bin, "solo5-hvt.2"), filepath.Join(h.finder.Dir, "solo5-hvt.2"),
	}
	for _, better := range places {
		h.finds(h.install(better, tells(2)))
	}
}

// TestFindLeavesWhatOthersCanWrite alone in our own directory, and tells how to mend it.
func TestFindLeavesWhatOthersCanWrite(t *testing.T) {
	h := newHost(t, tender.Auto)
	own := h.install(filepath.Join(h.finder.Dir, "solo5-hvt"), tells(2))
	require.NoError(t, os.Chmod(own, 0o777))
	_, err := h.find(image.HVT, 2)
	require.ErrorContains(t, err, "others may write to it, with mode 777: chmod go-w "+own)
	require.Empty(t, h.runs(own))
	require.NoError(t, os.Chmod(own, 0o755))
	h.finds(own)
}

func TestFindReadsTheVersionFromEitherOutput(t *testing.T) {
	for _, script := range []string{"echo ABI version 2", "echo ABI version 2 >&2", `printf 'x\n  ABI version 2\r\nABI version 3'`} {
		h := newHost(t, tender.Auto)
		h.finds(h.install(filepath.Join(h.bin, "solo5-hvt"), script))
	}
}

func TestFindAsksWithNoEnvironmentInTheRoot(t *testing.T) {
	t.Setenv("SECRET", "leaked")
	h := newHost(t, tender.Auto)
	h.finds(h.install(filepath.Join(h.bin, "solo5-hvt"), `[ -z "$SECRET" ] && [ "$(pwd)" = / ] && echo ABI version 2`))
}

func TestFindSkipsWhatIsNoTender(t *testing.T) {
	h := newHost(t, tender.Auto)
	require.NoError(t, os.WriteFile(filepath.Join(h.finder.Dir, "solo5-hvt.2"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(h.bin, "solo5-hvt.2"), 0o700))
	h.install(filepath.Join(h.finder.Dir, "solo5-hvt"), "echo ABI version 2; exit 1")
	h.finds(h.install(filepath.Join(h.bin, "solo5-hvt"), tells(2)))
}

func TestFindAsksOnceUntilTheFileChanges(t *testing.T) {
	h := newHost(t, tender.Auto)
	program := h.install(filepath.Join(h.bin, "solo5-hvt"), tells(1))
	for range 3 {
		_, err := h.find(image.HVT, 2)
		require.ErrorContains(t, err, "is for ABI version 1")
	}
	require.Equal(t, "--version\n", h.runs(program))
	h.install(program, tells(2))
	h.finds(program)
	require.Equal(t, "--version\n--version\n", h.runs(program))
}

// TestATenderIsAskedOnceByAll who want to know at the same time.
func TestATenderIsAskedOnceByAll(t *testing.T) {
	h := newHost(t, tender.Auto)
	gate := filepath.Join(h.bin, "gate")
	require.NoError(t, unix.Mkfifo(gate, 0o600))
	program := h.install(filepath.Join(h.bin, "solo5-hvt"), "read -r go < "+gate+"\n"+tells(2))
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { h.findsAside(program) })
	}
	opened, err := os.OpenFile(gate, os.O_WRONLY, 0) // when it has been run
	require.NoError(t, err)
	_, err = opened.WriteString(strings.Repeat("go\n", 50))
	require.NoError(t, err)
	all.Wait()
	require.NoError(t, opened.Close())
	require.Equal(t, "--version\n", h.runs(program))
}

// TestWhoStopsWaitingDoesNotStopOthers: a question that was cut off is asked again.
func TestWhoStopsWaitingDoesNotStopOthers(t *testing.T) {
	h := newHost(t, tender.Auto)
	gate := filepath.Join(h.bin, "gate")
	require.NoError(t, unix.Mkfifo(gate, 0o600))
	program := h.install(filepath.Join(h.bin, "solo5-hvt"), "test -e "+h.bin+"/fast || read -r go < "+gate+"\n"+tells(2))
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		_, err := h.finder.Find(ctx, image.HVT, 2)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it has not been cut off: %v", err)
		}
	})
	opened, err := os.OpenFile(gate, os.O_WRONLY, 0) // when it has been run
	require.NoError(t, err)
	defer func() { _ = opened.Close() }()
	all.Go(func() { h.findsAside(program) })
	require.NoError(t, os.WriteFile(filepath.Join(h.bin, "fast"), nil, 0o600))
	cancel()
	all.Wait()
}

func TestFindCanBeCalledConcurrently(t *testing.T) {
	h := newHost(t, tender.Auto)
	program := h.install(filepath.Join(h.bin, "solo5-hvt"), tells(2))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { h.findsAside(program) })
	}
	all.Wait()
}

func TestFindBuiltin(t *testing.T) {
	for _, target := range []image.Target{image.SPT, image.HVT} {
		solo5 := "solo5-" + target.String()
		for _, test := range []struct {
			policy tender.Policy
			solo5  bool
			want   string // "" where none is found
		}{
			{tender.Auto, false, "albatross-tender"},
			{tender.Auto, true, solo5},
			{tender.Builtin, true, "albatross-tender"},
			{tender.Installed, true, solo5},
			{tender.Installed, false, ""},
		} {
			t.Run(fmt.Sprint(target, " ", test.policy, " ", test.solo5), func(t *testing.T) {
				h := newHost(t, test.policy)
				h.install(h.finder.Builtin, fmt.Sprintf(`[ "$1" = %v ] && echo ABI version 2`, target))
				if test.solo5 {
					h.install(filepath.Join(h.bin, solo5), tells(2))
				}
				got, err := h.find(target, 2)
				if test.want == "" {
					require.Error(t, err)
					return
				}
				require.NoError(t, err)
				require.Equal(t, test.want, filepath.Base(got.Program))
				require.Equal(t, test.want == "albatross-tender", got.Builtin)
				if got.Builtin {
					require.Equal(t, []string{target.String()}, got.Prefix)
				}
			})
		}
	}
}

// TestFindOwn takes no other, also where that would come first.
func TestFindOwn(t *testing.T) {
	for policy, found := range map[tender.Policy]bool{tender.Auto: true, tender.Builtin: true, tender.Installed: false} {
		h := newHost(t, policy)
		h.install(h.finder.Builtin, "echo ABI version 2")
		h.install(filepath.Join(h.bin, "solo5-spt"), tells(2))
		got, err := h.finder.FindOwn(t.Context(), image.SPT, 2)
		if !found {
			require.EqualError(t, err, "cannot attach a network without a tap: only our own tender can (the host's operator can allow it by --tender=auto)")
			continue
		}
		require.NoError(t, err)
		require.True(t, got.Builtin)
	}
}

// TestFindAsksTheBuiltinForEachTarget: its versions for the two may differ.
func TestFindAsksTheBuiltinForEachTarget(t *testing.T) {
	h := newHost(t, tender.Builtin)
	h.install(h.finder.Builtin, `[ "$1" = spt ] && echo ABI version 2 || echo ABI version 3`)
	for range 2 {
		_, err := h.find(image.SPT, 2)
		require.NoError(t, err)
		_, err = h.find(image.HVT, 2)
		require.ErrorContains(t, err, "is for ABI version 3")
	}
	require.Equal(t, "spt --version\nhvt --version\n", h.runs(h.finder.Builtin))
}

func TestFindErrorsTellWhatToDo(t *testing.T) {
	tests := map[string]struct {
		policy tender.Policy
		target image.Target
		want   string
	}{
		"hvt": {tender.Auto, image.HVT,
			"cannot run a hvt image: no solo5-hvt for ABI version 2 found in DIR or PATH; BUILTIN is for ABI version 3 (install Solo5, or build the unikernel with another version of Solo5)"},
		"hvt, installed": {tender.Installed, image.HVT,
			"cannot run a hvt image: no solo5-hvt for ABI version 2 found in DIR or PATH (install Solo5, or allow the built-in tender)"},
		"hvt, built in": {tender.Builtin, image.HVT,
			"cannot run a hvt image: no built-in tender for hvt ABI version 2; BUILTIN is for ABI version 3 (build the unikernel with another version of Solo5)"},
		"spt, installed": {tender.Installed, image.SPT,
			"cannot run a spt image: no solo5-spt for ABI version 2 found in DIR or PATH (install Solo5, or allow the built-in tender)"},
		"spt": {tender.Auto, image.SPT,
			"cannot run a spt image: no solo5-spt for ABI version 2 found in DIR or PATH; BUILTIN is for ABI version 3 (install Solo5, or build the unikernel with another version of Solo5)"},
		"other": {tender.Auto, image.Xen,
			"cannot run a xen image: this host runs hvt and spt only"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, test.policy)
			h.install(h.finder.Builtin, tells(3))
			_, err := h.find(test.target, 2)
			want := strings.NewReplacer("DIR", h.finder.Dir, "BUILTIN", h.finder.Builtin).Replace(test.want)
			require.EqualError(t, err, want)
		})
	}
}

func TestFindTellsWhyACandidateWillNotDo(t *testing.T) {
	for script, want := range map[string]string{
		tells(7):              "is for ABI version 7",
		"echo ABI version x":  "does not tell its ABI version",
		"echo no ABI version": "does not tell its ABI version",
		"exit 3":              "does not tell its version: exit status 3",
		"kill -9 $$":          "does not tell its version: signal: killed",
		// Far more than is kept; and what comes behind that is not seen.
		"yes | head -c 1000000; echo ABI version 2": "does not tell its ABI version",
	} {
		h := newHost(t, tender.Installed)
		program := h.install(filepath.Join(h.bin, "solo5-hvt"), "PATH=/usr/bin:/bin\n"+script)
		_, err := h.find(image.HVT, 2)
		require.ErrorContains(t, err, "; "+program+" "+want)
	}
}

func TestFindCanBeCancelledAndDoesNotRememberThat(t *testing.T) {
	h := newHost(t, tender.Auto)
	program := h.install(filepath.Join(h.bin, "solo5-hvt"), "test -e "+h.bin+"/fast || exec sleep 1h\n"+tells(2))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := h.finder.Find(ctx, image.HVT, 2)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, os.WriteFile(filepath.Join(h.bin, "fast"), nil, 0o600))
	h.finds(program)
}

// TestFindForgetsABadMoment: a program that could not be executed, or was killed, is asked again.
func TestFindForgetsABadMoment(t *testing.T) {
	for name, fails := range map[string]string{
		"it cannot be executed": "", // the interpreter of the script is away
		"it was killed":         "test -e GOOD || kill -KILL $$\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, tender.Auto)
			good := filepath.Join(h.bin, "good")
			program := h.install(filepath.Join(h.bin, "solo5-hvt"), strings.ReplaceAll(fails, "GOOD", good)+tells(2))
			if fails == "" {
				script, err := os.ReadFile(program)
				require.NoError(t, err)
				script = []byte(strings.Replace(string(script), "/bin/sh", good, 1))
				require.NoError(t, os.WriteFile(program+".new", script, 0o700))
				require.NoError(t, os.Rename(program+".new", program))
			}
			_, err := h.find(image.HVT, 2)
			require.ErrorContains(t, err, "does not tell its version")
			require.NoError(t, os.Symlink("/bin/sh", good))
			h.finds(program)
		})
	}
}

func TestPolicyIsWhatItsTextSays(t *testing.T) {
	for _, p := range []tender.Policy{tender.Auto, tender.Builtin, tender.Installed} {
		got, err := tender.ParsePolicy(p.String())
		require.NoError(t, err)
		require.Equal(t, p, got)
	}
	_, err := tender.ParsePolicy("native")
	require.EqualError(t, err, `cannot understand "native": auto, builtin or installed expected`)
}

// TestPrograms: the tenders that there are, and no other files.
func TestPrograms(t *testing.T) {
	for policy, want := range map[tender.Policy][]string{
		tender.Auto:      {"db/solo5-spt", "bin/solo5-hvt", "bin/solo5-spt.1", "albatross-tender"},
		tender.Builtin:   {"albatross-tender"},
		tender.Installed: {"db/solo5-spt", "bin/solo5-hvt", "bin/solo5-spt.1"},
	} {
		h := newHost(t, policy)
		h.install(filepath.Join(h.finder.Dir, "solo5-spt"), "exit 1")
		for _, name := range []string{"solo5-hvt", "solo5-spt.1", "solo5-spt.new.1", "solo5-elftool", "not-solo5-spt"} {
			h.install(filepath.Join(h.bin, name), "exit 1")
		}
		var found []string
		for _, path := range h.finder.Programs() {
			relative, err := filepath.Rel(filepath.Dir(h.bin), path)
			require.NoError(t, err)
			found = append(found, relative)
		}
		require.Equal(t, want, found, "%v", policy)
	}
}
