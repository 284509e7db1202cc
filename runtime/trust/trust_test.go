package trust_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/trust"
)

// somebody is a user who is neither root nor us, unless that user runs the tests.
const somebody = 65534

// A tree has directories below one that is only ours.
type tree struct {
	t   *testing.T
	top string
}

func newTree(t *testing.T) tree {
	top, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return tree{t, top}
}

func (r tree) path(name string) string { return filepath.Join(r.top, name) }

// dir makes directories, and gives the last one a mode.
func (r tree) dir(name string, mode fs.FileMode) {
	require.NoError(r.t, os.MkdirAll(r.path(name), 0o755))
	require.NoError(r.t, os.Chmod(r.path(name), mode))
}

func (r tree) link(name, target string) { require.NoError(r.t, os.Symlink(target, r.path(name))) }

func (r tree) give(name string) { require.NoError(r.t, os.Lchown(r.path(name), somebody, somebody)) }

func needsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to others")
	}
}

// mend runs the command in an error.
func mend(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	out, failed := exec.Command("/bin/sh", "-c", text[strings.LastIndex(text, ": ")+2:]).CombinedOutput()
	require.NoError(t, failed, "%s: %s", text, out)
}

// TestDirsThatOthersCanChange: each is refused, with a command that mends it.
func TestDirsThatOthersCanChange(t *testing.T) {
	for name, test := range map[string]struct {
		root    bool // needs root, to give something to another user
		prepare func(tree)
		command string // in the refusal, with the directory of the test as TOP
	}{
		"itself, by all":           {false, func(r tree) { r.dir("a/b", 0o777) }, "chmod go-w TOP/a/b"},
		"itself, by its group":     {false, func(r tree) { r.dir("a/b", 0o770) }, "chmod go-w TOP/a/b"},
		"above it, by all":         {false, func(r tree) { r.dir("a/b", 0o755); r.dir("a", 0o777) }, "chmod go-w TOP/a"},
		"above it, by its group":   {false, func(r tree) { r.dir("a/b", 0o755); r.dir("a", 0o775) }, "chmod go-w TOP/a"},
		"above what is not there":  {false, func(r tree) { r.dir("a", 0o777) }, "chmod go-w TOP/a"},
		"where a link leads":       {false, func(r tree) { r.dir("c", 0o777); r.dir("a", 0o755); r.link("a/b", "../c") }, "chmod go-w TOP/c"},
		"above where a link leads": {false, func(r tree) { r.dir("d/c", 0o755); r.dir("d", 0o777); r.link("a", "d/c"); r.dir("d/c/b", 0o755) }, "chmod go-w TOP/d"},
		"a link of many":           {false, func(r tree) { r.dir("c", 0o777); r.link("d", "c"); r.dir("a", 0o755); r.link("a/b", "../d") }, "chmod go-w TOP/c"},

		"of another":                  {true, func(r tree) { r.dir("a/b", 0o755); r.give("a/b") }, "chown root TOP/a/b"},
		"below what is another's":     {true, func(r tree) { r.dir("a/b", 0o755); r.give("a") }, "chown root TOP/a"},
		"as /tmp, but of another":     {true, func(r tree) { r.dir("a/b", 0o755); r.dir("a", 0o777|fs.ModeSticky); r.give("a") }, "chown root TOP/a"},
		"of another in one as /tmp":   {true, func(r tree) { r.dir("a/b", 0o755); r.dir("a", 0o777|fs.ModeSticky); r.give("a/b") }, "chown root TOP/a/b"},
		"a link of another":           {true, func(r tree) { r.dir("c", 0o755); r.dir("a", 0o755); r.link("a/b", "../c"); r.give("a/b") }, "chown -h root TOP/a/b"},
		"a link of another above it":  {true, func(r tree) { r.dir("c/b", 0o755); r.link("a", "c"); r.give("a") }, "chown -h root TOP/a"},
		"a link to what is another's": {true, func(r tree) { r.dir("c", 0o755); r.dir("a", 0o755); r.link("a/b", "../c"); r.give("c") }, "chown root TOP/c"},
		"a link of another to itself": {true, func(r tree) { r.dir("a", 0o755); r.link("a/b", "b"); r.give("a/b") }, "chown -h root TOP/a/b"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.root {
				needsRoot(t)
			}
			r := newTree(t)
			test.prepare(r)
			err := trust.Dir(r.path("a/b"))
			require.ErrorContains(t, err, "cannot use ")
			require.True(t, strings.HasSuffix(err.Error(), strings.ReplaceAll(": "+test.command, "TOP", r.top)), err.Error())
			mend(t, err)
			if err := trust.Dir(r.path("a/b")); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ELOOP) {
				require.NoError(t, err)
			}
		})
	}
}

// TestDirsThatAreOurs: usual directories pass.
func TestDirsThatAreOurs(t *testing.T) {
	for name, prepare := range map[string]func(tree){
		"for a group to read": func(r tree) { r.dir("a/b", 0o750) },
		"in one as /tmp":      func(r tree) { r.dir("a/b", 0o700); r.dir("a", 0o777|fs.ModeSticky) },
		"a link":              func(r tree) { r.dir("c", 0o755); r.dir("a", 0o755); r.link("a/b", r.path("c")) },
		"a link above it":     func(r tree) { r.dir("c/b", 0o755); r.link("a", "./c//") },
		"a link in one as /tmp": func(r tree) {
			r.dir("c", 0o755)
			r.dir("a", 0o777|fs.ModeSticky)
			r.link("a/b", "../a/../c")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTree(t)
			prepare(r)
			require.NoError(t, trust.Dir(r.path("a/b")))
		})
	}
	require.NoError(t, trust.Dir("/"))
	require.NoError(t, trust.Parent(os.TempDir()))
}

// TestDirsThatAreNone: a file that is no directory has another error than one that is not ours.
func TestDirsThatAreNone(t *testing.T) {
	r := newTree(t)
	require.ErrorIs(t, trust.Dir(r.path("a/b")), fs.ErrNotExist)
	r.link("nowhere", "a")
	require.ErrorIs(t, trust.Dir(r.path("nowhere/b")), fs.ErrNotExist)
	require.NoError(t, os.WriteFile(r.path("file"), nil, 0o600))
	require.ErrorIs(t, trust.Dir(r.path("file")), syscall.ENOTDIR)
	require.ErrorIs(t, trust.Dir(r.path("file/b")), syscall.ENOTDIR)
	r.link("loop", "loop")
	require.ErrorIs(t, trust.Dir(r.path("loop")), syscall.ELOOP)
}

// TestSharedParents: in a directory such as /tmp no user can change what is another's.
func TestSharedParents(t *testing.T) {
	r := newTree(t)
	r.dir("a", 0o777|fs.ModeSticky)
	require.NoError(t, trust.Parent(r.path("a")))
	require.EqualError(t, trust.Dir(r.path("a")), "cannot use "+r.path("a")+": others may write to it, with mode 1777: use a directory below it")
	r.link("a/b", ".")
	require.ErrorContains(t, trust.Dir(r.path("a/b")), "use a directory below it")
	r.dir("a", 0o777)
	require.ErrorContains(t, trust.Parent(r.path("a")), "chmod go-w "+r.path("a"))
}

// TestQuotedCommands: a path with special characters of the shell is one word.
func TestQuotedCommands(t *testing.T) {
	r := newTree(t)
	name := "it's $(here)"
	r.dir(name, 0o777)
	err := trust.Dir(r.path(name))
	mend(t, err)
	require.NoError(t, trust.Dir(r.path(name)))
}

// asSomebody is an environment variable with a directory that TestAsSomebody checks.
const asSomebody = "ALBATROSS_TEST_TRUST"

// TestAnOrdinaryUser: directories of root and of the user pass, and none of a third one.
func TestAnOrdinaryUser(t *testing.T) {
	needsRoot(t)
	for name, test := range map[string]struct {
		owner int
		says  string
	}{
		"root's":    {0, "none"},
		"its own":   {somebody, "none"},
		"a third's": {1, "chown 65534 TOP/a"},
	} {
		t.Run(name, func(t *testing.T) {
			top, err := os.MkdirTemp("/tmp", "trust")
			require.NoError(t, err)
			defer os.RemoveAll(top)
			r := tree{t, top}
			r.dir("a", 0o755)
			require.NoError(t, os.Chmod(top, 0o755))
			require.NoError(t, os.Chown(r.path("a"), test.owner, test.owner))
			require.Contains(t, r.asSomebody("a"), "refusal: "+strings.ReplaceAll(test.says, "TOP", top))
		})
	}
}

// asSomebody returns what a process of another user prints about a directory.
func (r tree) asSomebody(name string) string {
	self, err := os.Executable()
	require.NoError(r.t, err)
	copied := r.path("test")
	program, err := os.ReadFile(self)
	require.NoError(r.t, err)
	require.NoError(r.t, os.WriteFile(copied, program, 0o755))
	c := exec.Command(copied, "-test.run", "^TestAsSomebody$", "-test.v")
	c.Dir = "/"
	c.Env = append(os.Environ(), asSomebody+"="+r.path(name))
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
	said, err := c.CombinedOutput()
	require.NoError(r.t, err, string(said))
	return string(said)
}

func TestAsSomebody(t *testing.T) {
	dir := os.Getenv(asSomebody)
	if dir == "" {
		t.Skip("runs only as a process of TestAnOrdinaryUser")
	}
	said := "none"
	if err := trust.Dir(dir); err != nil {
		said = err.Error()[strings.LastIndex(err.Error(), ": ")+2:]
	}
	fmt.Println("refusal: " + said)
}
