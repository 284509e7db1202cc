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

// What Solo5's tender refuses, ours refuses with the same exit status, and with the same words
// among its own.
func TestRefusesWhatSolo5Refuses(t *testing.T) {
	solo5, err := exec.LookPath("solo5-spt")
	if err != nil {
		t.Skip("solo5-spt is not installed: nothing to compare with")
	}
	u := users()[0]
	for words, arguments := range map[string][]string{
		"Missing KERNEL operand":                            {},
		"Invalid option: `--nonsense'":                      {"--nonsense", guest("hello")},
		"Malformed argument to --mem":                       {"--mem=0", guest("hello")},
		"nothing.spt: Could not open: ":                     {guest("nothing")},
		"Executable is not for the solo5-spt target":        {hvtGuest("hello")},
		"Device 'storage' of type BLOCK_BASIC declared but": {guest("disk")},
		"Device 'service' of type NET_BASIC declared but":   {guest("net")},
		"All declared devices must be attached. See --help": {guest("net")},
		"Resource not declared in manifest: 'other'":        {"--block:other=/dev/null", guest("disk")},
		"Could not open block device: ":                     {"--block:storage=/nonexistent", guest("disk")},
		"Backing storage must be at least 1 block (512":     {"--block:storage=" + u.disk(t, 0), guest("disk")},
		"Block size must be a multiple of 2 greater than":   {"--block-sector-size:storage=513", "--block:storage=/dev/null", guest("disk")},
		"Could not attach interface: albanothere: ":         {"--net:service=albanothere", guest("net")},
		"1": {"--mem=1", guest("hello")}, // theirs has the address of a program header
		":": {tender},
	} {
		for _, program := range []string{solo5, tender} {
			r := u.run(t, program, arguments...)
			require.Equal(t, 1, r.exit, "%s %q", program, arguments)
			require.Contains(t, r.stderr, words, "%s %q", program, arguments)
		}
	}
}
