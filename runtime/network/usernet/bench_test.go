package usernet

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/test/station"
)

// BenchmarkFrames passes frames of 1,514 bytes from one station to another. What is lost on the
// way, since the receiver has not read it yet, does not count.
func BenchmarkFrames(b *testing.B) {
	n := newNetwork(b, config())
	sender, receiver := attach(b, n, db), attach(b, n, web)
	receiver.Send(station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.1")))
	receiver.Receive(station.IsARPReply(addr("10.90.0.1")))
	frame := station.Datagram(db.MAC, web.MAC, netip.AddrPortFrom(db.Addresses[0], 1), netip.AddrPortFrom(web.Addresses[0], 7), make([]byte, 1472))
	b.SetBytes(int64(len(frame)))
	ended := make(chan struct{})
	b.ResetTimer()
	go func() {
		defer close(ended)
		for {
			if err := unix.Sendmsg(sender.FD, frame, nil, nil, unix.MSG_NOSIGNAL); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, maxTestFrame)
	for range b.N {
		if _, err := unix.Read(receiver.FD, buffer); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	require.NoError(b, unix.Shutdown(sender.FD, unix.SHUT_RDWR))
	<-ended
}

const maxTestFrame = 64 << 10

// BenchmarkRoundTrip is a datagram from a station to another and back.
func BenchmarkRoundTrip(b *testing.B) {
	n := newNetwork(b, config())
	one, other := attach(b, n, db), attach(b, n, web)
	other.Send(station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.1")))
	other.Receive(station.IsARPReply(addr("10.90.0.1")))
	there := station.Datagram(db.MAC, web.MAC, netip.AddrPortFrom(db.Addresses[0], 1), netip.AddrPortFrom(web.Addresses[0], 7), make([]byte, 56))
	back := station.Datagram(web.MAC, db.MAC, netip.AddrPortFrom(web.Addresses[0], 7), netip.AddrPortFrom(db.Addresses[0], 1), make([]byte, 56))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, maxTestFrame)
		for {
			if n, err := unix.Read(other.FD, buffer); n <= 0 || err != nil {
				return
			}
			_, _ = unix.Write(other.FD, back)
		}
	}()
	buffer := make([]byte, maxTestFrame)
	for b.Loop() {
		_, err := unix.Write(one.FD, there)
		require.NoError(b, err)
		_, err = unix.Read(one.FD, buffer)
		require.NoError(b, err)
	}
	b.StopTimer()
	require.NoError(b, unix.Shutdown(other.FD, unix.SHUT_RDWR))
	<-ended
}

// BenchmarkPublished sends from the host through a published port to a station, whose TCP/IP is
// gVisor's as well, in the same process.
func BenchmarkPublished(b *testing.B) {
	n := newNetwork(b, config())
	h := host(b, n, web)
	l := h.ListenTCP("10.90.0.2:80")
	at := netip.MustParseAddrPort("127.0.0.1:8080")
	require.NoError(b, n.Publish(messages.Publication{From: 8080, To: 80}, at, web.Addresses[0]))
	conn, err := net.Dial("tcp4", at.String())
	require.NoError(b, err)
	station, err := l.Accept()
	require.NoError(b, err)
	measure(b, conn, station)
	require.NoError(b, l.Close())
}

// BenchmarkOutside sends from a station to the outside.
func BenchmarkOutside(b *testing.B) {
	outside(b)
	n := newNetwork(b, config())
	h := host(b, n, web)
	l, err := net.Listen("tcp4", "192.0.2.1:8000")
	require.NoError(b, err)
	conn, err := h.DialTCP("192.0.2.1:8000")
	require.NoError(b, err)
	server, err := l.Accept()
	require.NoError(b, err)
	measure(b, conn, server)
	require.NoError(b, l.Close())
}

// measure sends 64 KB at a time.
func measure(b *testing.B, from, to net.Conn) {
	b.Helper()
	const size = 64 << 10
	ended := make(chan error, 1)
	go func() {
		count, err := io.Copy(io.Discard, to)
		if err == nil && count != int64(b.N)*size {
			err = io.ErrUnexpectedEOF
		}
		ended <- err
	}()
	require.NoError(b, from.SetDeadline(time.Now().Add(10*patience)))
	content := make([]byte, size)
	b.SetBytes(size)
	b.ResetTimer()
	for range b.N {
		_, err := from.Write(content)
		require.NoError(b, err)
	}
	require.NoError(b, from.(half).CloseWrite())
	require.NoError(b, <-ended)
	b.StopTimer()
	require.NoError(b, from.Close())
	require.NoError(b, to.Close())
}
