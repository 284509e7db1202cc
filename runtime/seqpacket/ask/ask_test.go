package ask

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/runtime/seqpacket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errLost, errSilent = errors.New("lost"), errors.New("silent")

// A message is its ID, in eight bytes.
func protocol(news func(uint64)) Protocol[uint64] {
	return Protocol[uint64]{
		MaxFrame: 64, Timeout: time.Minute,
		Decode: func(frame []byte, id *uint64) error {
			if len(frame) != 8 {
				return errors.New("it is no message")
			}
			*id = binary.BigEndian.Uint64(frame)
			return nil
		},
		ID: func(id uint64) uint64 { return id }, News: news, Lost: errLost, Silent: errSilent,
	}
}

func encode(id uint64) ([]byte, error) { return binary.BigEndian.AppendUint64(nil, id), nil }

// connect returns a connection, and the other end.
func connect(t *testing.T, news func(uint64)) (*Conn[uint64], int) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 120)) // longer than the path of a socket may be
	require.NoError(t, unix.Mkdir(dir, 0o700))
	_, err := Dial(t.Context(), dir, "socket")
	require.True(t, NobodyListens(err))
	at, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(at) }()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: fmt.Sprintf("/proc/self/fd/%d/socket", at)})
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	conn, err := Dial(t.Context(), dir, "socket")
	require.NoError(t, err)
	c, err := New(conn, protocol(news))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	other, err := l.AcceptUnix()
	require.NoError(t, err)
	file, err := other.File()
	require.NoError(t, err)
	require.NoError(t, other.Close())
	t.Cleanup(func() { _ = file.Close() })
	require.NoError(t, unix.SetNonblock(int(file.Fd()), false))
	return c, int(file.Fd())
}

func respond(t *testing.T, fd int, id uint64, files ...int) {
	t.Helper()
	frame, err := encode(id)
	require.NoError(t, err)
	require.NoError(t, seqpacket.Send(fd, frame, files))
}

// TestAnswersInAnyOrder belong to their requests, and news to nobody.
func TestAnswersInAnyOrder(t *testing.T) {
	news := make(chan uint64, 1)
	c, fd := connect(t, func(id uint64) { news <- id })
	got := make(chan uint64, 2)
	for range 2 {
		go func() {
			id, _, err := c.Ask(context.Background(), encode, nil)
			if err == nil {
				got <- id
			}
		}()
	}
	buffer := make([]byte, 64)
	var asked []uint64
	for range 2 {
		frame, _, err := seqpacket.Receive(fd, buffer)
		require.NoError(t, err)
		asked = append(asked, binary.BigEndian.Uint64(frame))
	}
	respond(t, fd, 0)
	require.Zero(t, <-news)
	respond(t, fd, asked[1])
	require.Equal(t, asked[1], <-got)
	respond(t, fd, asked[0])
	require.Equal(t, asked[0], <-got)
}

// TestAnAnswerThatNobodyAwaits has its descriptors closed.
func TestAnAnswerThatNobodyAwaits(t *testing.T) {
	c, fd := connect(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := c.Ask(ctx, encode, nil)
	require.ErrorIs(t, err, errSilent)
	pipe := make([]int, 2)
	require.NoError(t, unix.Pipe2(pipe, unix.O_CLOEXEC))
	respond(t, fd, 1, pipe[1])
	require.NoError(t, unix.Close(pipe[1]))
	n, err := unix.Read(pipe[0], make([]byte, 1)) // returns when no process has the other end
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, unix.Close(pipe[0]))
}

// TestTheEnd is noticed by all who wait, also if it is nonsense.
func TestTheEnd(t *testing.T) {
	c, fd := connect(t, nil)
	failed := make(chan error, 1)
	go func() { _, _, err := c.Ask(context.Background(), encode, nil); failed <- err }()
	_, _, err := seqpacket.Receive(fd, make([]byte, 64))
	require.NoError(t, err)
	require.NoError(t, seqpacket.Send(fd, []byte("nonsense!"), nil))
	require.ErrorIs(t, <-failed, errLost)
	<-c.Done()
	_, _, err = c.Ask(t.Context(), encode, nil)
	require.ErrorIs(t, err, errLost)
}
