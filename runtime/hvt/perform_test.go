package hvt

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestASocketAnswersAsATapDoes: a guest is told of no frame that is lost, and finds nothing to
// receive where nobody sends.
func TestASocketAnswersAsATapDoes(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Close(fds[0])) }()
	r := request{file: fds[0], data: make([]byte, 1500), answer: make([]byte, 64)}
	require.Equal(t, resultAgain, r.receive())
	for range 10_000 { // more than it holds
		require.Equal(t, resultOK, r.send())
	}
	require.NoError(t, unix.Close(fds[1]))
	for range 3 {
		require.Equal(t, resultAgain, r.receive())
		require.Equal(t, resultOK, r.send())
	}
	r.file = -1
	require.Equal(t, resultFailed, r.receive())
	require.Equal(t, resultFailed, r.send())
}

// TestANetworkThatHasEndedIsIgnored, and no other.
func TestANetworkThatHasEndedIsIgnored(t *testing.T) {
	g := &Guest{waiting: []unix.PollFd{{Fd: 5, Revents: unix.POLLIN}, {Fd: 6, Revents: unix.POLLIN | unix.POLLHUP}}}
	require.True(t, g.ignoreClosed())
	require.Equal(t, []unix.PollFd{{Fd: 5, Revents: unix.POLLIN}, {Fd: -1}}, g.waiting)
	require.False(t, g.ignoreClosed())
}
