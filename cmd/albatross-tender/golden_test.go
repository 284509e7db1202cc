package main

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// Where Solo5's own tender is installed, ours has to do the same with the same
// image: exit, signal and output.
func TestSameAsSolo5(t *testing.T) {
	solo5, err := exec.LookPath("solo5-spt")
	if err != nil {
		t.Skip("solo5-spt is not installed: nothing to compare with")
	}
	u := users()[0]
	path := u.disk(t, 1<<20)
	attach := "--block:storage=" + path
	for _, arguments := range [][]string{
		{"--mem=2", "--", guest("hello"), "--once", "--name=a", "", "b  c"},
		{"--mem=2", guest("exit"), "--name=a", "42"},
		{guest("exit"), "300"},
		{guest("exit"), "0", "20"},
		{guest("abort")},
		{guest("chatty"), "1000", "exit"},
		{"--mem=2", guest("memory")},
		{"--mem=100", guest("memory")},
		{"--mem=2", guest("fault"), "null"},
		{"--mem=2", guest("fault"), "write-text"},
		{"--mem=2", guest("fault"), "execute-data"},
		{"--mem=2", guest("fault"), "execute-stack"},
		{"--mem=2", guest("fault"), "read-above"},
		{"--mem=2", guest("badcall"), "open"},
		{"--mem=2", guest("badcall"), "write-high"},
		{"--mem=2", guest("badcall"), "write-x32"},
		{"--mem=2", guest("badcall"), "i386"},
		{"--mem=2", attach, "--", guest("disk"), "write", "abc"},
		{"--mem=2", attach, "--block-sector-size:storage=4096", "--", guest("disk"), "write", "abc"},
		{"--mem=2", attach, "--", guest("disk"), "beyond"},
	} {
		require.NoError(t, os.Truncate(path, 0))
		require.NoError(t, os.Truncate(path, 1<<20))
		theirs := u.run(t, solo5, arguments...)
		require.NoError(t, os.Truncate(path, 0))
		require.NoError(t, os.Truncate(path, 1<<20))
		require.Equal(t, theirs, u.run(t, tender, arguments...), "%q", arguments)
	}
}

// What Solo5's tender refuses, ours refuses with the same exit status; the
// texts are our own.
func TestRefusesWhatSolo5Refuses(t *testing.T) {
	solo5, err := exec.LookPath("solo5-spt")
	if err != nil {
		t.Skip("solo5-spt is not installed: nothing to compare with")
	}
	u := users()[0]
	for _, arguments := range [][]string{
		{},
		{"--"},
		{"--nonsense", guest("hello")},
		{"--mem=0", guest("hello")},
		{"--mem=1", guest("hello")},
		{guest("nothing")},
		{tender},
		{guest("disk")},
		{guest("net")},
		{"--block:other=/dev/null", guest("disk")},
		{"--block:storage=/nonexistent", guest("disk")},
		{"--block:storage=/dev/null", guest("disk")},
		{"--net:service=albanothere", guest("net")},
	} {
		for _, program := range []string{solo5, tender} {
			r := u.run(t, program, arguments...)
			require.Equal(t, 1, r.exit, "%s %q", program, arguments)
			require.NotEmpty(t, r.stderr, "%s %q", program, arguments)
		}
	}
}
