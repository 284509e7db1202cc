package e2e

import (
	"bytes"
	"compress/zlib"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

const megabyte = 1 << 20

// putBlock makes the file of a block device of size MB, as another program might.
func (h *host) putBlock(file string, size int) {
	h.t.Helper()
	dir := h.path("db", "block")
	require.NoError(h.t, os.MkdirAll(dir, 0o700))
	path := filepath.Join(dir, file)
	require.NoError(h.t, os.WriteFile(path, nil, 0o600))
	require.NoError(h.t, os.Truncate(path, int64(size)*megabyte))
}

// blocks returns the block devices at and below a path, or the one of that name.
func (h *host) blocks(name string) []messages.NamedBlock {
	h.t.Helper()
	return h.ask(name, messages.BlockList{}).(messages.SuccessBlocks).List
}

// untilFree waits until nothing uses a block device.
func (h *host) untilFree(name string) {
	h.t.Helper()
	h.until("the block device is free", func() bool { return !h.blocks(name)[0].Active })
}

// An upload is the connection on which a block device is being set.
type upload struct {
	t *testing.T
	*net.UnixConn
}

// set begins to set a block device. The contents must follow.
func (h *host) set(name string, compressed bool) *upload {
	h.t.Helper()
	u := &upload{h.t, h.dial("vmmd")}
	say(h.t, u, name, messages.BlockSet{Compressed: compressed})
	return u
}

// write sends a part of the contents.
func (u *upload) write(chunk []byte) {
	u.t.Helper()
	goesOn(u.t, u)
	require.NoError(u.t, wire.WriteChunk(u, chunk))
}

// writeHalf begins to send a part.
func (u *upload) writeHalf() {
	u.t.Helper()
	_, err := u.Write(framed([]byte("chunk"))[:6])
	require.NoError(u.t, err)
}

// end sends the end of the contents.
func (u *upload) end() {
	u.t.Helper()
	require.NoError(u.t, wire.WriteEnd(u))
}

// requireAnswer checks that there is exactly one answer.
func (u *upload) requireAnswer(answer messages.Payload) {
	u.t.Helper()
	require.Equal(u.t, answer, hear(u.t, u).Payload)
	requireEnds(u.t, u)
}

// packed returns data as a zlib stream.
func packed(data []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(data) // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}
