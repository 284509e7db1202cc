package block

import (
	"context"
	"io"

	"albatross/runtime/compress"
	"albatross/runtime/fair"
)

// An unpacker decompresses what clients send, in turns of the tenants.
type unpacker struct {
	turns  *fair.Workers
	tenant string
}

// contents returns the contents of r, which may be a zlib stream. The size of the device
// limits them.
func (u unpacker) contents(ctx context.Context, r io.Reader, compressed bool) io.Reader {
	if !compressed {
		return r
	}
	return unpacking{u, ctx, compress.Inflate(packed{u, r}, "contents")}
}

// unpacking holds a place while it is read.
type unpacking struct {
	unpacker
	ctx context.Context
	r   io.Reader
}

func (u unpacking) Read(p []byte) (n int, err error) {
	if turn := u.turns.Do(u.ctx, u.tenant, func() { n, err = u.r.Read(p) }); turn != nil {
		return 0, turn
	}
	return n, err
}

// packed is what unpacking reads: it gives up the place while it waits for a client.
type packed struct {
	unpacker
	r io.Reader
}

func (s packed) Read(p []byte) (n int, err error) {
	s.turns.Pause(s.tenant, func() { n, err = s.r.Read(p) })
	return n, err
}
