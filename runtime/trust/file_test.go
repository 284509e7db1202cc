package trust_test

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/trust"
)

// file writes a file with a mode.
func (r tree) file(name string, mode fs.FileMode) {
	require.NoError(r.t, os.WriteFile(r.path(name), []byte("before\n"), 0o600))
	require.NoError(r.t, os.Chmod(r.path(name), mode))
}

// TestFilesThatOthersCanChange: each is refused, with a command that mends it.
func TestFilesThatOthersCanChange(t *testing.T) {
	for name, test := range map[string]struct {
		root    bool // needs root, to give something to another user
		prepare func(tree)
		command string // in the refusal, with the directory of the test as TOP
	}{
		"by all":              {false, func(r tree) { r.dir("a", 0o755); r.file("a/f", 0o666) }, "chmod go-w TOP/a/f"},
		"by its group":        {false, func(r tree) { r.dir("a", 0o755); r.file("a/f", 0o620) }, "chmod go-w TOP/a/f"},
		"its directory":       {false, func(r tree) { r.dir("a", 0o777); r.file("a/f", 0o600) }, "chmod go-w TOP/a"},
		"where a link leads":  {false, func(r tree) { r.dir("a", 0o755); r.dir("b", 0o755); r.file("b/g", 0o666); r.link("a/f", "../b/g") }, "chmod go-w TOP/a/../b/g"},
		"there, a directory":  {false, func(r tree) { r.dir("a", 0o755); r.dir("b", 0o777); r.file("b/g", 0o600); r.link("a/f", r.path("b/g")) }, "chmod go-w TOP/b"},
		"of another":          {true, func(r tree) { r.dir("a", 0o755); r.file("a/f", 0o600); r.give("a/f") }, "chown root TOP/a/f"},
		"a link of another":   {true, func(r tree) { r.dir("a", 0o755); r.file("a/g", 0o600); r.link("a/f", "g"); r.give("a/f") }, "chown -h root TOP/a/f"},
		"a link to another's": {true, func(r tree) { r.dir("a", 0o755); r.file("a/g", 0o600); r.link("a/f", "g"); r.give("a/g") }, "chown root TOP/a/g"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.root {
				needsRoot(t)
			}
			r := newTree(t)
			test.prepare(r)
			err := trust.File(r.path("a/f"))
			require.ErrorContains(t, err, "cannot use ")
			require.True(t, strings.HasSuffix(err.Error(), strings.ReplaceAll(": "+test.command, "TOP", r.top)), err.Error())
			mend(t, err)
			require.NoError(t, trust.File(r.path("a/f")))
		})
	}
}

// TestFilesThatAreOurs: usual files pass, and one that does not exist has an error of its own.
func TestFilesThatAreOurs(t *testing.T) {
	r := newTree(t)
	r.dir("a", 0o755)
	r.file("a/f", 0o644)
	r.link("a/l", "f")
	require.NoError(t, trust.File(r.path("a/f")))
	require.NoError(t, trust.File(r.path("a/l")))
	require.NoError(t, trust.File("/dev/full"))
	require.ErrorIs(t, trust.File(r.path("a/none")), fs.ErrNotExist)
	require.ErrorIs(t, trust.File(r.path("none/f")), fs.ErrNotExist)
	r.link("a/loop", "loop")
	require.ErrorIs(t, trust.File(r.path("a/loop")), syscall.ELOOP)
}

// TestAppend: a file is written at its end, or refused if other users can change it.
func TestAppend(t *testing.T) {
	others := os.Getegid() + 1 // the id of a group
	for name, test := range map[string]struct {
		root    bool
		prepare func(tree)
		refusal string // with the directory of the test as TOP; empty: it is opened
	}{
		"new":                      {false, func(r tree) { r.dir("a", 0o755) }, ""},
		"there":                    {false, func(r tree) { r.dir("a", 0o755); r.file("a/f", 0o644) }, ""},
		"of our group":             {false, func(r tree) { r.dir("a", 0o775); r.file("a/f", 0o664) }, ""},
		"below another group's":    {true, func(r tree) { r.dir("b/a", 0o755); r.dir("b", 0o775); r.group("b", others); r.link("a", "b/a") }, ""},
		"in one that all write":    {false, func(r tree) { r.dir("a", 0o777) }, "chmod go-w TOP/a"},
		"in one of another group":  {true, func(r tree) { r.dir("a", 0o775); r.group("a", others) }, "chmod go-w TOP/a"},
		"in one as /tmp":           {false, func(r tree) { r.dir("a", 0o777|fs.ModeSticky) }, "use a directory below it"},
		"in another's":             {true, func(r tree) { r.dir("a", 0o755); r.give("a") }, "chown root TOP/a"},
		"a file that all write":    {false, func(r tree) { r.dir("a", 0o755); r.file("a/f", 0o666) }, "chmod go-w TOP/a/f"},
		"a file of another group":  {true, func(r tree) { r.dir("a", 0o755); r.file("a/f", 0o664); r.group("a/f", others) }, "chmod go-w TOP/a/f"},
		"a file of another":        {true, func(r tree) { r.dir("a", 0o755); r.file("a/f", 0o644); r.give("a/f") }, "chown root TOP/a/f"},
		"a link":                   {false, func(r tree) { r.dir("a", 0o755); r.file("g", 0o600); r.link("a/f", "../g") }, "it is a symbolic link: name the file that it leads to"},
		"a link to what is not so": {false, func(r tree) { r.dir("a", 0o755); r.link("a/f", "../g") }, "it is a symbolic link: name the file that it leads to"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.root {
				needsRoot(t)
			}
			r := newTree(t)
			test.prepare(r)
			f, err := trust.Append(r.path("a/f"), 0o600)
			if test.refusal != "" {
				require.ErrorContains(t, err, "cannot use ")
				require.True(t, strings.HasSuffix(err.Error(), strings.ReplaceAll(": "+test.refusal, "TOP", r.top)), err.Error())
				return
			}
			require.NoError(t, err)
			before, err := os.ReadFile(r.path("a/f"))
			require.NoError(t, err)
			_, err = f.WriteString("more\n")
			require.NoError(t, err)
			require.NoError(t, f.Close())
			after, err := os.ReadFile(r.path("a/f"))
			require.NoError(t, err)
			require.Equal(t, string(before)+"more\n", string(after))
		})
	}
	_, err := trust.Append(newTree(t).path("none/f"), 0o600)
	require.ErrorIs(t, err, fs.ErrNotExist)
	f, err := trust.Append("/dev/full", 0o600)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func (r tree) group(name string, gid int) { require.NoError(r.t, os.Chown(r.path(name), -1, gid)) }
