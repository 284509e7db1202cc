package gateway_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/vectors"
)

// TestReadAfterRead: a client may send one command after the other, and take its time in between.
func TestReadAfterRead(t *testing.T) {
	l := limits()
	l.Patience = 8 * soon
	s, results := reads(t, l)
	c := s.dial()
	for range 2 {
		_, err := c.Write(frame(t, messages.PolicyInfo{}))
		require.NoError(t, err)
		r := within(t, results, "the command arrives")
		require.NoError(t, r.err)
		require.Equal(t, messages.PolicyInfo{}, r.wire.Payload)
		requireNone(t, results, l.Patience+soon)
	}
	require.NoError(t, c.Close())
	require.Equal(t, io.EOF, within(t, results, "the client leaves").err)
}

// TestPieces: it does not matter into which pieces a command is cut.
func TestPieces(t *testing.T) {
	s, results := reads(t, limits())
	c := s.dial()
	for _, b := range creating(t, 100) {
		_, err := c.Write([]byte{b})
		require.NoError(t, err)
	}
	require.NoError(t, within(t, results, "the command arrives").err)
}

// announce returns the beginning of a frame of n bytes.
func announce(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// TestWrong: bytes that are no frame end the connection, and the error says why.
func TestWrong(t *testing.T) {
	l := limits()
	l.Frame = 1000
	for name, test := range map[string]struct {
		sent []byte
		is   error
		says string
	}{
		"length 0":            {sent: announce(0), is: io.EOF},
		"top bit":             {sent: announce(1 << 31), is: io.EOF},
		"all bits":            {sent: announce(1<<32 - 1), is: io.EOF},
		"above the limit":     {sent: announce(1001), is: wire.ErrTooLong},
		"2 GB":                {sent: announce(1<<31 - 1), is: wire.ErrTooLong},
		"not a message":       {sent: append(announce(3), "abc"...), says: "message"},
		"zeros":               {sent: append(announce(1000), make([]byte, 1000)...), says: "message"},
		"more than a message": {sent: trailing(t), says: "left over"},
	} {
		t.Run(name, func(t *testing.T) {
			s, results := reads(t, l)
			c := s.dial()
			_, err := c.Write(test.sent)
			require.NoError(t, err)
			r := within(t, results, "it is refused")
			require.Error(t, r.err)
			if test.is != nil {
				require.ErrorIs(t, r.err, test.is)
			}
			require.ErrorContains(t, r.err, test.says)
			_, err = io.Copy(io.Discard, c) // bytes that were not read reset the connection
			require.False(t, os.IsTimeout(err))
		})
	}
}

// trailing returns a command with one more byte at its end.
func trailing(t *testing.T) []byte {
	b := append(frame(t, messages.PolicyInfo{}), 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// TestRejected: a frame that cannot be decoded ends the connection. The codec has tests for all
// such messages. This one takes every twentieth.
func TestRejected(t *testing.T) {
	s, results := reads(t, limits())
	for i, v := range vectors.Load(t, vectors.Reject) {
		b := v.Bytes(t)
		_, cause := wire.Decode(b)
		if i%20 != 0 || cause == nil || len(b) == 0 {
			continue
		}
		c := s.dial()
		_, err := c.Write(append(announce(uint32(len(b))), b...))
		require.NoError(t, err)
		require.Equal(t, cause, within(t, results, v.ID).err, v.ID)
		requireClosed(t, c)
	}
}

// TestCut: a client that leaves in the middle of a command has sent none.
func TestCut(t *testing.T) {
	whole := creating(t, 1000)
	s, results := reads(t, limits())
	for _, n := range []int{1, 3, 4, 5, 500, len(whole) - 1} {
		c := s.dial()
		_, err := c.Write(whole[:n])
		require.NoError(t, err)
		require.NoError(t, c.CloseWrite())
		require.ErrorIs(t, within(t, results, "the client has left").err, io.ErrUnexpectedEOF, "%d bytes", n)
		requireClosed(t, c)
	}
}

// TestSilence: a client that stops in the middle of a command loses its connection.
func TestSilence(t *testing.T) {
	l := limits()
	l.Patience = soon
	whole := creating(t, 1000)
	s, results := reads(t, l)
	for _, n := range []int{1, 3, 4, 500, len(whole) - 1} {
		c := s.dial()
		_, err := c.Write(whole[:n])
		require.NoError(t, err)
		require.ErrorIs(t, within(t, results, "the client is cut off").err, os.ErrDeadlineExceeded, "%d bytes", n)
		requireClosed(t, c)
	}
}

// TestTrickle: a client that sends a byte now and then loses its connection, too.
func TestTrickle(t *testing.T) {
	l := limits()
	l.Patience = 4 * soon
	s, results := reads(t, l)
	c := s.dial()
	for _, b := range creating(t, 60_000)[:80] { // this takes ten times as long as is allowed
		if _, err := c.Write([]byte{b}); err != nil || len(results) > 0 {
			require.ErrorIs(t, within(t, results, "the client is cut off").err, os.ErrDeadlineExceeded)
			return
		}
		<-time.After(l.Patience / 8)
	}
	require.FailNow(t, "the client is not cut off")
}

// TestAnnounced: memory is allocated only for bytes that have arrived.
func TestAnnounced(t *testing.T) {
	l := limits()
	l.Frame, l.Conns = 1<<31-1, 64
	s, results := reads(t, l)
	before := allocated()
	for range l.Conns {
		c := s.dial()
		_, err := c.Write(append(announce(1<<31-1), 0x30))
		require.NoError(t, err)
		require.NoError(t, c.CloseWrite())
		require.ErrorIs(t, within(t, results, "the client has left").err, io.ErrUnexpectedEOF)
	}
	require.Less(t, allocated()-before, uint64(l.Conns*100<<10), "bytes for %d GB that were announced", 2*l.Conns)
}

// allocated returns how many bytes have ever been allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestMetered: a large command arrives unchanged, whatever it must wait for.
func TestMetered(t *testing.T) {
	s, results := reads(t, limits())
	image := bytes.Repeat([]byte("albatross"), 1<<20)
	_, err := s.dial().Write(frame(t, messages.UnikernelCreate{Form: 3, Config: messages.Config{
		Image: image, Arguments: messages.Arguments{CPUIDs: []int{0}, CPUs: 1, AddName: true},
	}}))
	require.NoError(t, err)
	r := within(t, results, "the command arrives")
	require.NoError(t, r.err)
	require.True(t, bytes.Equal(image, r.wire.Payload.(messages.UnikernelCreate).Config.Image))
}
