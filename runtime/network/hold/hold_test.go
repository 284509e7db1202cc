package hold

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/test/netns"
)

func TestMain(m *testing.M) {
	netns.Enter()
	goleak.VerifyTestMain(m)
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestWhereAPublicationIs(t *testing.T) {
	p := messages.Publication{From: 80, To: 8080}
	require.Equal(t, at("0.0.0.0:80"), At(p, true))
	require.Equal(t, at("127.0.0.1:80"), At(p, false))
	p.Host = netip.MustParseAddr("::1")
	require.Equal(t, at("[::1]:80"), At(p, false))
}

// TestAPortThatIsHeld: nobody listens, and nobody else can.
func TestAPortThatIsHeld(t *testing.T) {
	netns.Need(t)
	for _, address := range []string{"127.0.0.1:8080", "0.0.0.0:8080", "[::1]:8080"} {
		file, err := Port(false, at(address))
		require.NoError(t, err)
		_, err = net.Dial("tcp", at(address).String())
		require.ErrorIs(t, err, unix.ECONNREFUSED)
		_, err = net.Listen("tcp", address)
		require.ErrorIs(t, err, unix.EADDRINUSE)
		_, err = Listen(at(address))
		require.EqualError(t, err, "port 8080 is in use on the host")
		_, err = Port(false, at(address))
		require.EqualError(t, err, "port 8080 is in use on the host", "another process of ours")
		require.NoError(t, file.Close())

		l, err := Listen(at(address))
		require.NoError(t, err)
		_, err = Port(false, at(address))
		require.EqualError(t, err, "port 8080 is in use on the host")
		require.NoError(t, l.Close())
	}
}

func TestAPortOfUDPThatIsHeld(t *testing.T) {
	netns.Need(t)
	file, err := Port(true, at("127.0.0.1:8080"))
	require.NoError(t, err)
	_, err = ListenPacket(at("127.0.0.1:8080"))
	require.EqualError(t, err, "port 8080 is in use on the host")
	require.NoError(t, file.Close())
	conn, err := ListenPacket(at("127.0.0.1:8080"))
	require.NoError(t, err)
	_, err = Port(true, at("127.0.0.1:8080"))
	require.EqualError(t, err, "port 8080 is in use on the host")
	require.NoError(t, conn.Close())
}

// TestConnectionsOfBefore do not make a port busy.
func TestConnectionsOfBefore(t *testing.T) {
	netns.Need(t)
	l, err := Listen(at("127.0.0.1:8080"))
	require.NoError(t, err)
	client, err := net.Dial("tcp", "127.0.0.1:8080")
	require.NoError(t, err)
	server, err := l.Accept()
	require.NoError(t, err)
	require.NoError(t, server.Close()) // who closes first has a connection in TIME_WAIT
	_, err = client.Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, client.Close())
	require.NoError(t, l.Close())
	_, err = bindPlainly("127.0.0.1:8080")
	require.ErrorIs(t, err, unix.EADDRINUSE, "there is such a connection")
	file, err := Port(false, at("127.0.0.1:8080"))
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

func bindPlainly(address string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	_, where := sockaddr(at(address))
	if err := unix.Bind(fd, where); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), address), nil
}

func TestAddressesThatAreNotOurs(t *testing.T) {
	netns.Need(t)
	_, err := Port(false, at("192.0.2.1:8080"))
	require.EqualError(t, err, "192.0.2.1 is not an address of the host")
	require.EqualError(t, Explain(at("127.0.0.1:80"), unix.EACCES), "port 80 needs root: choose one from 1024 on")
}
