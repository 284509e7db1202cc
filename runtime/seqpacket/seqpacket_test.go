package seqpacket

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const maxFrame = 32 << 10

func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { CloseAll(fds[:]) })
	return fds[0], fds[1]
}

func TestMessagesAndDescriptorsArrive(t *testing.T) {
	a, b := pair(t)
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	buffer := make([]byte, maxFrame)
	for _, size := range []int{1, 100, maxFrame} {
		require.NoError(t, Send(a, bytes.Repeat([]byte{7}, size), []int{int(f.Fd()), int(f.Fd())}))
		frame, files, err := Receive(b, buffer)
		require.NoError(t, err)
		require.Len(t, frame, size)
		require.Len(t, files, 2)
		flags, err := unix.FcntlInt(uintptr(files[0]), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.Equal(t, unix.FD_CLOEXEC, flags)
		CloseAll(files)
	}
}

// TestWhatIsTooMuchIsRefused, and leaves no descriptor open.
func TestWhatIsTooMuchIsRefused(t *testing.T) {
	a, b := pair(t)
	buffer := make([]byte, maxFrame)
	before := descriptors(t)
	require.NoError(t, Send(a, make([]byte, maxFrame+1), []int{a}))
	_, files, err := Receive(b, buffer)
	require.ErrorContains(t, err, "longer than")
	require.Empty(t, files)
	require.NoError(t, Send(a, []byte{1}, slices.Repeat([]int{a}, MaxFiles+1)))
	_, files, err = Receive(b, buffer)
	require.ErrorIs(t, err, ErrCut)
	require.Empty(t, files)
	require.Equal(t, before, descriptors(t))
	require.NoError(t, unix.Shutdown(a, unix.SHUT_WR))
	frame, _, err := Receive(b, buffer)
	require.NoError(t, err)
	require.Empty(t, frame, "the end")
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestWhoIsAtTheOtherEnd(t *testing.T) {
	a, _ := pair(t)
	pid, err := CheckPeer(a)
	require.NoError(t, err)
	require.Equal(t, os.Getpid(), pid)
	_, err = CheckPeer(-1)
	require.True(t, errors.Is(err, unix.EBADF))
}
