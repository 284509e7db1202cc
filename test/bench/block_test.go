package bench

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// deviceSize is in MB.
const deviceSize = 256

// BenchmarkBlock tells how fast a block device of 256 MB is set and dumped.
// x-cat is how many times as long it takes as two cats with a Unix socket between
// them: the second writes to a file, which is brought to disk, for a set, and
// throws the bytes away, for a dump.
func BenchmarkBlock(b *testing.B) {
	h := newHost(b)
	name := label("disk")
	data := make([]byte, deviceSize<<20)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(data) // never fails
	path := h.path("contents")
	require.NoError(b, os.WriteFile(path, data, 0o600))
	h.ask(name, messages.BlockAdd{Size: deviceSize})
	for title, tc := range map[string]struct{ ours, cat func() }{
		"set":  {func() { h.set(name, data) }, func() { cats(b, path, h.path("copy")) }},
		"dump": {func() { h.dump(name) }, func() { cats(b, path, os.DevNull) }},
	} {
		b.Run(title, func(b *testing.B) {
			var ours, cat []time.Duration
			for range 5 {
				ours = append(ours, took(tc.ours))
				cat = append(cat, took(tc.cat))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(deviceSize/median(ours).Seconds(), "MB/s")
			b.ReportMetric(medianOf(ratios(ours, cat)), "x-cat")
			atMost(title+" of 256 MB: two cats", "×", 1.2, ratios(ours, cat))
		})
	}
	h.ask(name, messages.BlockRemove{})
}

func took(do func()) time.Duration {
	begin := time.Now()
	do()
	return time.Since(begin)
}

func (h *host) set(name messages.Name, data []byte) {
	c := h.dial("vmmd")
	defer c.Close()
	_, err := c.Upload(context.Background(), name, messages.BlockSet{}, io.NopCloser(bytes.NewReader(data)))
	require.NoError(h.b, err)
}

func (h *host) dump(name messages.Name) {
	c := h.dial("vmmd")
	defer c.Close()
	_, err := c.Ask(context.Background(), name, messages.BlockDump{})
	require.NoError(h.b, err)
	n, err := io.Copy(io.Discard, c.Contents(context.Background()))
	require.NoError(h.b, err)
	require.EqualValues(h.b, deviceSize<<20, n)
}

// cats copies a file through a Unix socket, and to disk.
func cats(b *testing.B, from, to string) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(b, err)
	in, out := os.NewFile(uintptr(fds[0]), "in"), os.NewFile(uintptr(fds[1]), "out")
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	require.NoError(b, err)
	first, second := exec.Command("cat", from), exec.Command("cat")
	first.Stdout, second.Stdin, second.Stdout = in, out, file
	require.NoError(b, first.Start())
	require.NoError(b, second.Start())
	require.NoError(b, in.Close())
	require.NoError(b, out.Close())
	require.NoError(b, first.Wait())
	require.NoError(b, second.Wait())
	if to != os.DevNull {
		require.NoError(b, file.Sync())
	}
	require.NoError(b, file.Close())
}
