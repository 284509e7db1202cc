package guest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/block"
	"albatross/runtime/proc"
	"albatross/runtime/tender"
)

// behindALink is a machine whose directories are named by way of a link, and where they
// are in fact. The kernel names the files of strangers by the latter.
func behindALink(t *testing.T) (m *Machine, real string) {
	t.Helper()
	top, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	real, link := filepath.Join(top, "real"), filepath.Join(top, "link")
	require.NoError(t, os.MkdirAll(filepath.Join(real, "fifo"), 0o700))
	require.NoError(t, os.Symlink("real", link))
	blocks, err := block.Open(filepath.Join(link, "block"))
	require.NoError(t, err)
	return &Machine{FIFODir: filepath.Join(link, "fifo"), Blocks: blocks}, real
}

func parse(t *testing.T, s string) messages.Name {
	t.Helper()
	name, err := messages.ParseName(s)
	require.NoError(t, err)
	return name
}

// TestNamesOfStrangers: a stranger has the name of the pipe that it writes to, whichever
// path leads to that, and whether it is still there or not.
func TestNamesOfStrangers(t *testing.T) {
	m, real := behindALink(t)
	t.Chdir(m.FIFODir)
	for _, output := range []string{
		filepath.Join(real, "fifo", "a:real"),
		filepath.Join(m.FIFODir, "a:link"),
		filepath.Join(real, "other", "a:other"),
		filepath.Join(real, "a:above"),
		filepath.Join(real, "fifo", "no name!"),
		"a:relative", // as the kernel names what is no file
		"pipe:[1234]",
		"",
	} {
		m.Strangers = append(m.Strangers, tender.Running{Output: output})
	}
	before := parse(t, "a:before")
	names := map[messages.Name]bool{before: true}
	m.AddStrangers(names)
	require.Equal(t, map[messages.Name]bool{before: true, parse(t, "a:real"): true, parse(t, "a:link"): true}, names)
}

// TestBesideStrangers: nothing runs beside a stranger that uses what it needs, whichever
// path leads to that, and whether it is still there or not.
func TestBesideStrangers(t *testing.T) {
	m, real := behindALink(t)
	process, err := proc.Identify(os.Getpid())
	require.NoError(t, err)
	name, device := parse(t, "a:x"), parse(t, "a:d")
	guest := tender.Guest{Blocks: []tender.Block{{File: m.Blocks.Path(device)}}}
	for what, stranger := range map[string]tender.Running{
		"the console":      {Output: filepath.Join(real, "fifo", "a:x")},
		"the image":        {Guest: tender.Guest{Image: filepath.Join(real, "a:x.img")}},
		"the block device": {Guest: tender.Guest{Blocks: []tender.Block{{File: filepath.Join(real, "block", "a:d")}}}},
	} {
		t.Run(what, func(t *testing.T) {
			stranger.Process = process
			m.Strangers = []tender.Running{stranger}
			require.ErrorContains(t, m.checkStrangers(name, guest), "uses "+what)
			require.NoError(t, m.checkStrangers(parse(t, "a:y"), tender.Guest{}))
			if what == "the block device" {
				require.ErrorContains(t, m.CheckUnused(device, "block device a:d"), "is in use by process")
			}

			m.Strangers[0].Process.StartTime++
			require.NoError(t, m.checkStrangers(name, guest), "it has ended")
		})
	}
}
