package wire_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/vectors"
)

// seed gives a fuzz target the shorter vectors of some files to start from.
func seed(f *testing.F, files ...string) {
	for _, file := range files {
		for i, v := range vectors.Load(f, file) {
			if len(v.Hex) < 1200 && i%5 == 0 {
				f.Add(v.Bytes(f))
			}
		}
	}
}

func FuzzMessage(f *testing.F) {
	seed(f, append([]string{vectors.Accept, vectors.Reject}, vectors.Wire...)...)
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		requireCanonical(t, b)
		require.Equal(t, before, b, "decoding changed the frame")
	})
}

// FuzzLine: DecodeLine accepts whatever Decode takes for a console line.
func FuzzLine(f *testing.F) {
	seed(f, vectors.Wire...)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, line, errLine := wire.DecodeLine(b)
		m, err := wire.Decode(b)
		want, ok := m.Payload.(messages.DataConsole)
		if err != nil || !ok {
			require.Error(t, errLine)
			return
		}
		require.NoError(t, errLine)
		require.Equal(t, m.Header, h)
		require.Equal(t, want, line)
	})
}

func FuzzState(f *testing.F) {
	seed(f, vectors.State)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := wire.DecodeState(b)
		if err != nil {
			return
		}
		once, err := wire.AppendState(nil, s)
		if err != nil {
			return // it has several CPUs, and the form has one
		}
		again, err := wire.DecodeState(once)
		if err != nil {
			require.True(t, hasDuplicate(s), "%x: %v", b, err)
			return
		}
		twice, err := wire.AppendState(nil, again)
		require.NoError(t, err)
		require.Equal(t, once, twice)
	})
}

// node returns the text that "a:b" and "a:b:" have in common.
func node(n messages.Name) string { return strings.Trim(n.String(), ":") }

// hasDuplicate reports whether names that differed in case are the same now.
func hasDuplicate(s wire.State) bool {
	seen := map[string]bool{}
	for _, u := range s.Unikernels {
		key := "unikernel " + node(u.Name)
		if seen[key] {
			return true
		}
		seen[key] = true
	}
	for _, p := range s.Policies {
		key := "policy " + node(p.Name)
		if seen[key] {
			return true
		}
		seen[key] = true
	}
	return false
}

func FuzzExtension(f *testing.F) {
	seed(f, vectors.Cert)
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := wire.DecodeExtension(b)
		if err != nil {
			return
		}
		once, err := wire.AppendExtension(nil, x.Command)
		require.NoError(t, err)
		again, err := wire.DecodeExtension(once)
		require.NoError(t, err)
		require.Equal(t, messages.CurrentVersion, again.Version)
		twice, err := wire.AppendExtension(nil, again.Command)
		require.NoError(t, err)
		require.Equal(t, once, twice)
	})
}

// FuzzFrame: a stream is read as its lengths say, into whichever pieces it is cut.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 'a', 'b', 0, 0, 0, 0}, 1)
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 1, 2, 3}, 3)
	f.Add([]byte{0x80, 0, 0, 0}, 2)
	f.Add([]byte{0, 0, 0}, 2)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		const max = 1000
		r := &slowReader{rest: b, step: 1 + step&7}
		for rest := b; ; {
			frame, err := wire.ReadFrame(r, max)
			var want []byte
			var wantErr error
			want, rest, wantErr = splitFrame(rest, max)
			require.Equal(t, want, frame)
			if wantErr != nil || err != nil {
				require.ErrorIs(t, err, wantErr)
				return
			}
		}
	})
}

// splitFrame is ReadFrame for a caller that has all bytes.
func splitFrame(b []byte, max int) (frame, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, io.EOF
	}
	if len(b) < 4 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	switch {
	case n == 0 || n>>31 == 1:
		return nil, nil, wire.ErrEnd
	case int(n) > max:
		return nil, nil, wire.ErrTooLong
	case int(n) > len(b):
		return nil, nil, io.ErrUnexpectedEOF
	}
	return b[:n], b[n:], nil
}

// A slowReader returns few bytes at a time.
type slowReader struct {
	rest []byte
	step int
}

func (s *slowReader) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), s.step)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
