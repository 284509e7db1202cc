package actors_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// noCPU is a CPU that no machine has that runs tests.
const noCPU = 4095

// TestWhatATenderRefusesIsRefusedBefore the daemon changes anything: the former runs on.
func TestWhatATenderRefusesIsRefusedBefore(t *testing.T) {
	device := func(w *world) string { return filepath.Join(w.dir, "block", ":storage") }
	sectors := func(size int) func(*world, *messages.Config) {
		return func(_ *world, c *messages.Config) { c.Blocks[0].SectorSize = messages.Some(size) }
	}
	for title, tc := range map[string]struct {
		wrong func(*world, *messages.Config)
		says  string
	}{
		"too little memory": {func(_ *world, c *messages.Config) { c.Memory = 1 }, "cannot fit image into memory: it needs 2 MB, there are 1"},
		"arguments, and the name before them": {func(_ *world, c *messages.Config) {
			c.Argv = messages.Some([]string{strings.Repeat("x", 8192-len("--name=x "))})
		}, "cannot pass arguments: they have 8192 bytes, of at most 8191"},
		"a sector size that is no power of two": {sectors(1000), "cannot attach block device storage: Block size must be a multiple of 2 greater than or equal 512: 1000 is no such power of two"},
		"a sector size that is too small":       {sectors(256), ": 256 is no such power of two"},
		"a sector size beyond 16 bits":          {sectors(1<<16 + 512), ": 66048 is no such power of two"},
		"a sector size below zero":              {sectors(-512), ": -512 is no such power of two"},
		"half a sector": {func(w *world, _ *messages.Config) { require.NoError(w.t, os.Truncate(device(w), 256)) },
			"cannot attach block device storage: Backing storage size must be block aligned: 256 bytes are no number of sectors of 512"},
		"a device without its file": {func(w *world, _ *messages.Config) { w.hide(device(w)) },
			"cannot attach block device storage: no such file or directory"},
		"a named pipe for a device": {func(w *world, _ *messages.Config) {
			w.hide(device(w))
			require.NoError(w.t, unix.Mkfifo(device(w), 0o600))
		}, "cannot attach block device storage: neither a file nor a block device"},
		"a CPU that is not there": {func(_ *world, c *messages.Config) { c.CPUIDs = []int{0, noCPU} }, "cannot run on CPU 4095: there is none, or it is offline"},
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t, withBlocks, func(w *world) { w.config.RootPolicy.CPUIDs = append(w.config.RootPolicy.CPUIDs, noCPU) })
			w.succeeds("added block device", ":storage", messages.BlockAdd{Size: 1})
			w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
			pid := w.pid(":x")
			config := guest("disk")
			config.Blocks = []messages.BlockDevice{{Name: "storage"}}
			tc.wrong(w, &config)
			for name, command := range map[string]messages.Command{":x": force(config), ":new": create(config)} {
				if name == ":new" && strings.Contains(title, "arguments") {
					continue // the shorter name :x leaves room for them
				}
				refusal, ok := w.ask(name, command).(messages.Failure)
				require.True(t, ok)
				require.Contains(t, refusal.Text, tc.says)
			}
			require.Equal(t, pid, w.pid(":x"))
			require.Len(t, w.infos(":"), 1)
		})
	}
}

// TestArgumentsThatJustFit reach the guest as a whole.
func TestArgumentsThatJustFit(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", 8191-len("--name=x --quiet "))
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet", long)))
	w.lines(":x", 1)
	w.pid(":x")
}
