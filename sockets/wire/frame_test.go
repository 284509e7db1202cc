package wire_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

func TestReadFrame(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		max          int
		want         string
		err          error
	}{
		{"frame", "\x00\x00\x00\x02ab", 2, "ab", nil},
		{"frame and more", "\x00\x00\x00\x02abcd", 9, "ab", nil},
		{"end", "\x00\x00\x00\x00", 9, "", wire.ErrEnd},
		{"top bit", "\x80\x00\x00\x01a", 9, "", wire.ErrEnd},
		{"all bits", "\xff\xff\xff\xffa", 9, "", wire.ErrEnd},
		{"above max", "\x00\x00\x00\x03abc", 2, "", wire.ErrTooLong},
		{"nothing", "", 9, "", io.EOF},
		{"half a length", "\x00\x00", 9, "", io.ErrUnexpectedEOF},
		{"no contents", "\x00\x00\x00\x02", 9, "", io.ErrUnexpectedEOF},
		{"half the contents", "\x00\x00\x00\x02a", 9, "", io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := wire.ReadFrame(iotest.OneByteReader(bytes.NewBufferString(c.stream)), c.max)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.want, string(got))
		})
	}
}

// TestTooLongIsNotRead: of a frame that is too long, only the length is read.
func TestTooLongIsNotRead(t *testing.T) {
	r := bytes.NewBufferString("\x00\x00\x00\x05hello")
	_, err := wire.ReadFrame(r, 4)
	require.ErrorIs(t, err, wire.ErrTooLong)
	require.Equal(t, "hello", r.String())
}

// TestAnnouncedFrameCostsNothing: memory is allocated for bytes that arrive.
func TestAnnouncedFrameCostsNothing(t *testing.T) {
	head := binary.BigEndian.AppendUint32(nil, 1<<31-1)
	spent := allocated(func() {
		_, err := wire.ReadFrame(bytes.NewReader(append(head, "little"...)), 1<<31-1)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
	require.Less(t, spent, uint64(100<<10))
}

// allocated returns how many bytes f allocates. It takes the least of a few runs, since the rest of
// the program allocates, too, now and then.
func allocated(f func()) uint64 {
	least := ^uint64(0)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// TestFrameBuffer: frames of any length are read one after the other, and only the longest so far
// takes memory.
func TestFrameBuffer(t *testing.T) {
	var stream bytes.Buffer
	var want []string
	for i, length := range []int{3, 70_000, 1, 64 << 10, 200_000, 200_000, 5} {
		want = append(want, strings.Repeat(string(rune('a'+i)), length))
		stream.Write(binary.BigEndian.AppendUint32(nil, uint32(length)))
		stream.WriteString(want[i])
	}
	stream.Write(make([]byte, 4))
	var b wire.FrameBuffer
	for _, text := range want {
		frame, err := b.Read(&stream, 200_000)
		require.NoError(t, err)
		require.Equal(t, text, string(frame))
	}
	_, err := b.Read(&stream, 200_000)
	require.ErrorIs(t, err, wire.ErrEnd)
	frames := bytes.Repeat(append([]byte{0, 0, 0x40, 0}, make([]byte, 16<<10)...), 100)
	require.Less(t, allocated(func() {
		r := bytes.NewReader(frames)
		for range 100 {
			_, err := b.Read(r, 16<<10)
			require.NoError(t, err)
		}
	}), uint64(16<<10))
}

func TestReadFrameFails(t *testing.T) {
	_, err := wire.ReadFrame(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewBufferString("\x00\x00\x00\x02ab"))), 9)
	require.ErrorIs(t, err, iotest.ErrTimeout)
}

// A countingWriter counts writes.
type countingWriter struct {
	bytes.Buffer
	writes int
}

func (c *countingWriter) Write(b []byte) (int, error) {
	c.writes++
	return c.Buffer.Write(b)
}

func TestWriteFrame(t *testing.T) {
	m := messages.Wire{
		Header:  messages.Header{Version: messages.CurrentVersion, Sequence: 7},
		Payload: messages.SuccessImage{Image: make([]byte, 100000)},
	}
	var w countingWriter
	require.NoError(t, wire.WriteFrame(&w, m))
	require.Equal(t, 1, w.writes)
	frame, err := wire.ReadFrame(&w, wire.MaxFrame)
	require.NoError(t, err)
	require.Zero(t, w.Len())
	again, err := wire.Decode(frame)
	require.NoError(t, err)
	require.Equal(t, m, again)
}

func TestWriteFrameFails(t *testing.T) {
	var w countingWriter
	m := messages.Wire{Header: messages.Header{Version: 2}, Payload: messages.SuccessEmpty{}}
	require.EqualError(t, wire.WriteFrame(&w, m), "cannot encode message: internal error: unknown version 2")
	require.Zero(t, w.writes)
}

func TestChunks(t *testing.T) {
	var w countingWriter
	require.NoError(t, wire.WriteChunk(&w, []byte("block")))
	require.NoError(t, wire.WriteChunk(&w, nil))
	require.NoError(t, wire.WriteEnd(&w))
	require.Equal(t, 2, w.writes)
	require.Equal(t, "\x00\x00\x00\x05block\x00\x00\x00\x00", w.String())
	chunk, err := wire.ReadChunk(&w)
	require.NoError(t, err)
	require.Equal(t, "block", string(chunk))
	_, err = wire.ReadChunk(&w)
	require.ErrorIs(t, err, wire.ErrEnd)
	_, err = wire.ReadChunk(&w)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "a stream that ends without a mark")
	require.Error(t, wire.WriteChunk(&w, make([]byte, wire.MaxChunk+1)))
}

// TestChunkBuffer: it writes what WriteChunk does, with one Write, again and again.
func TestChunkBuffer(t *testing.T) {
	var b wire.ChunkBuffer
	for _, text := range []string{"block", "", strings.Repeat("x", wire.ChunkSize), "d"} {
		var want, w countingWriter
		require.NoError(t, wire.WriteChunk(&want, []byte(text)))
		require.Len(t, b.Room(), wire.ChunkSize)
		require.NoError(t, b.Write(&w, copy(b.Room(), text)))
		require.Equal(t, want, w)
	}
}

func TestChunkReader(t *testing.T) {
	const hello = "\x00\x00\x00\x03hel\x00\x00\x00\x02lo"
	for title, tc := range map[string]struct {
		sent string
		want string
		err  error
	}{
		"chunks and the end":         {hello + "\x00\x00\x00\x00rest", "hello", nil},
		"a negative length":          {hello + "\x80\x00\x00\x05rest", "hello", nil},
		"nothing":                    {"\x00\x00\x00\x00", "", nil},
		"cut off between chunks":     {hello, "hello", io.ErrUnexpectedEOF},
		"cut off inside a chunk":     {hello[:5], "h", io.ErrUnexpectedEOF},
		"cut off inside a header":    {hello + "\x00\x00", "hello", io.ErrUnexpectedEOF},
		"longer than is ever needed": {"\x7f\xff\xff\xffhello", "hello", io.ErrUnexpectedEOF},
	} {
		t.Run(title, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(tc.sent), iotest.OneByteReader(strings.NewReader(tc.sent))} {
				got, err := io.ReadAll(wire.NewChunkReader(in))
				require.Equal(t, tc.want, string(got))
				require.Equal(t, tc.err, err)
			}
		})
	}
}

// TestPiecesAreTheFrame: only large data is a piece of its own, and it is not copied.
func TestPiecesAreTheFrame(t *testing.T) {
	large := bytes.Repeat([]byte("image"), 10_000)
	one := messages.Config{Image: large, Arguments: messages.Arguments{CPUIDs: []int{0}}}
	for title, tc := range map[string]struct {
		payload messages.Payload
		pieces  int
	}{
		"small":   {messages.UnikernelInfo{Form: 6}, 1},
		"create":  {messages.UnikernelCreate{Form: 5, Config: messages.Config{Image: large}}, 3},
		"image":   {messages.SuccessImage{Image: large}, 3},
		"chunk":   {messages.DataBlock{Chunk: messages.Some(large)}, 3},
		"configs": {messages.SuccessConfigs{List: []messages.NamedConfig{{Config: one}, {Config: one}}}, 5},
	} {
		t.Run(title, func(t *testing.T) {
			m := messages.Wire{Header: messages.Header{Version: messages.Version5}, Payload: tc.payload}
			frame, err := wire.AppendFrame(nil, m)
			require.NoError(t, err)
			pieces, err := wire.AppendPieces(nil, m)
			require.NoError(t, err)
			require.Len(t, pieces, tc.pieces)
			require.Equal(t, frame, bytes.Join(pieces, nil))
			if tc.pieces > 1 {
				require.Same(t, &large[0], &pieces[1][0])
			}
			again, err := wire.AppendPieces(pieces, m)
			require.NoError(t, err)
			require.Len(t, again, 2*tc.pieces-1, "what is small is put together")
			require.Equal(t, append(frame, frame...), bytes.Join(again, nil))
		})
	}
}

// TestAroundAnImageThatIsNotHere: the parts before and after it make the frame with the image.
func TestAroundAnImageThatIsNotHere(t *testing.T) {
	for form := 1; form <= 5; form++ {
		for _, size := range []int{0, 1, 127, 128, 70_000} {
			config := messages.Config{Arguments: messages.Arguments{CPUIDs: []int{0}, Memory: 16, Argv: messages.Some([]string{"a"})}}
			m := messages.Wire{Header: messages.Header{Version: messages.Version5}, Payload: messages.UnikernelCreate{Form: form, Config: config}}
			before, behind, err := wire.Around(m, size)
			require.NoError(t, err)
			image := bytes.Repeat([]byte{7}, size)
			config.Image = image
			m.Payload = messages.UnikernelCreate{Form: form, Config: config}
			frame, err := wire.AppendFrame(nil, m)
			require.NoError(t, err)
			if size == 0 {
				require.Equal(t, frame, before)
				continue
			}
			require.Equal(t, frame, bytes.Join([][]byte{before, image, behind}, nil), "form %d, %d bytes", form, size)
		}
	}
	_, _, err := wire.Around(messages.Wire{Header: messages.Header{Version: messages.Version5}, Payload: messages.UnikernelCreate{Form: 3, Config: messages.Config{Arguments: messages.Arguments{CPUIDs: []int{0}}}}}, wire.MaxFrame)
	require.ErrorContains(t, err, "do not fit in a frame")
}
