package block

import (
	"context"
	"io"

	"albatross/runtime/compress"
	"albatross/runtime/fair"
)

// An unpacker has a tenant unpack what clients send in its turn.
type unpacker struct {
	turns  *fair.Workers
	tenant string
}

// contents are what r brings, which may be a zlib stream. How many they may be is
// limited by the size of the device.
func (u unpacker) contents(ctx context.Context, r io.Reader, compressed bool) io.Reader {
	if !compressed {
		return r
	}
	return unpacking{u, ctx, compress.Inflate(packed{u, r}, "contents")}
}

// unpacking is read in a place.
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

// packed is read by unpacking: nobody keeps a place while it waits for a client.
type packed struct {
	unpacker
	r io.Reader
}

func (s packed) Read(p []byte) (n int, err error) {
	s.turns.Pause(s.tenant, func() { n, err = s.r.Read(p) })
	return n, err
}
