package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/wire"
)

// streamMemory is how much memory the daemon may have while it streams: far less than what it
// streams.
const streamMemory = 64 << 20

// Sizes of block devices in MB. Compression takes more time.
const (
	largeDevice      = 4096
	compressedDevice = 512
)

// TestStreams: however large a block device is, setting and dumping it takes the same memory, and
// room on disk only for what is not zero.
func TestStreams(t *testing.T) {
	h := newHost(t)
	h.limitMemory(streamMemory)
	h.addStreamed("large", largeDevice)
	h.requireMarks("large", largeDevice)

	h.addStreamed("small", compressedDevice)
	h.requireText("added block device", "copy", messages.BlockAdd{Size: compressedDevice})
	h.relay("small", "copy")
	h.requireMarks("copy", compressedDevice)

	t.Logf("memory: %d MB at most", h.peak()>>20)
	require.Less(t, h.peak(), streamMemory)
}

// limitMemory makes the kernel end the daemon if it takes more, including the memory of the kernel
// for it. It needs memory cgroups of version 1 that the test may make.
func (h *host) limitMemory(size int) {
	h.t.Helper()
	dir := filepath.Join("/sys/fs/cgroup/memory", h.cgroup()+"-daemon")
	if err := os.Mkdir(dir, 0o755); err != nil {
		require.True(h.t, errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS), "%v", err)
		h.t.Logf("the daemon is not limited: %v", err)
		return
	}
	h.t.Cleanup(func() {
		h.kill() // the cgroup is in use until then
		require.NoError(h.t, os.Remove(dir))
	})
	require.NoError(h.t, os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), []byte(strconv.Itoa(size)), 0))
	require.NoError(h.t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(h.daemon.Process.Pid)), 0))
}

// addStreamed makes a block device with a mark at the beginning of each MB, and zeros.
func (h *host) addStreamed(name string, size int) {
	h.t.Helper()
	h.requireText("added block device", name, messages.BlockAdd{Size: size})
	u := h.set(name, false)
	frames := bytes.Repeat(framed(make([]byte, wire.ChunkSize)), megabyte/wire.ChunkSize)
	for i := range size {
		copy(frames[4:], mark(i))
		goesOn(h.t, u)
		_, err := u.Write(frames)
		require.NoError(h.t, err)
	}
	u.end()
	goesOn(h.t, u)
	u.requireAnswer(messages.SuccessText{Text: "set block device"})
	var file unix.Stat_t
	require.NoError(h.t, unix.Stat(h.path("db/block", ":"+name), &file))
	require.Less(h.t, file.Blocks*512, int64(size)*megabyte/64, "it is not sparse")
}

func mark(i int) []byte { return binary.BigEndian.AppendUint32(nil, 1<<31+uint32(i)) }

// A dump is the connection on which a block device is being dumped.
type dump struct {
	t *testing.T
	*net.UnixConn
	frame []byte // the last one
}

func (h *host) dump(name string, level int) *dump {
	h.t.Helper()
	c := h.dial("vmmd")
	say(h.t, c, name, messages.BlockDump{Level: level})
	require.Equal(h.t, messages.SuccessDump{Compressed: level > 0}, hear(h.t, c).Payload)
	return &dump{h.t, c, make([]byte, wire.MaxChunk)}
}

// next returns the next part of the contents, which is valid until the next call; nil after their
// end. It makes no garbage, which would take most of the time.
func (d *dump) next() []byte {
	d.t.Helper()
	goesOn(d.t, d)
	_, err := io.ReadFull(d, d.frame[:4])
	require.NoError(d.t, err)
	frame := d.frame[:binary.BigEndian.Uint32(d.frame)]
	_, err = io.ReadFull(d, frame)
	require.NoError(d.t, err)
	m, err := wire.Decode(frame)
	require.NoError(d.t, err)
	chunk := m.Payload.(messages.DataBlock).Chunk
	if !chunk.OK {
		return nil
	}
	return chunk.Value
}

// requireMarks checks that a dump of a block device is what addStreamed has written.
func (h *host) requireMarks(name string, size int) {
	h.t.Helper()
	d := h.dump(name, 0)
	want := make([]byte, megabyte)
	at := 0
	for chunk := d.next(); chunk != nil; chunk = d.next() {
		for len(chunk) > 0 {
			copy(want, mark(at/megabyte))
			n := min(len(chunk), megabyte-at%megabyte)
			if !bytes.Equal(want[at%megabyte:][:n], chunk[:n]) {
				require.FailNow(h.t, "other contents", "near %d", at)
			}
			chunk, at = chunk[n:], at+n
		}
	}
	require.Equal(h.t, size*megabyte, at)
}

// relay dumps a block device and sets another one, all compressed.
func (h *host) relay(from, to string) {
	h.t.Helper()
	d, u := h.dump(from, 1), h.set(to, true)
	for chunk := d.next(); chunk != nil; chunk = d.next() {
		u.write(chunk)
	}
	u.end()
	u.requireAnswer(messages.SuccessText{Text: "set block device"})
}
