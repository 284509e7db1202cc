package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/netns"
)

// A machine stands for a unikernel, whose network can only do little: it is a network namespace with
// the TCP/IP of Linux. Its interface is a tap, whose frames go to a network and back as those of a
// unikernel do, by a read and a write each.
type machine struct {
	*netns.Namespace
	address  netip.Addr
	listener net.Listener // at port 80
}

// newMachine makes a machine at a network, which is where its frames go. That is closed at the end.
func newMachine(b *testing.B, network io.ReadWriteCloser, mac messages.MAC, address netip.Prefix, gateway netip.Addr) *machine {
	m := &machine{Namespace: netns.New(b), address: address.Addr()}
	tap := m.Tap(mac[:], address, gateway)
	var moving sync.WaitGroup
	moving.Go(func() { move(tap, network) })
	moving.Go(func() { move(network, tap) })
	b.Cleanup(func() {
		_ = tap.Close()
		_ = network.Close()
		moving.Wait()
	})
	m.listener = m.Listen(":80")
	return m
}

const longestFrame = 64 << 10

// move moves frames until one side is closed.
func move(to io.Writer, from io.Reader) {
	frame := make([]byte, longestFrame)
	for {
		n, err := from.Read(frame)
		if err != nil {
			return
		}
		if _, err := to.Write(frame[:n]); errors.Is(err, os.ErrClosed) {
			return // what else happens costs a frame
		}
	}
}

// framed is a stream of frames, each of which has its length before it, as qemu has it.
type framed struct {
	net.Conn
	in  *bufio.Reader
	out []byte
}

func newFramed(c net.Conn) *framed {
	return &framed{Conn: c, in: bufio.NewReaderSize(c, 4*longestFrame)}
}

func (f *framed) Read(frame []byte) (int, error) {
	var head [4]byte
	if _, err := io.ReadFull(f.in, head[:]); err != nil {
		return 0, err
	}
	return io.ReadFull(f.in, frame[:binary.BigEndian.Uint32(head[:])])
}

func (f *framed) Write(frame []byte) (int, error) {
	f.out = append(binary.BigEndian.AppendUint32(f.out[:0], uint32(len(frame))), frame...)
	return f.Conn.Write(f.out)
}

// A route is a way to make connections: both sides of one.
type route func() (client, server net.Conn)

// from is a route from a machine to a listener.
func (m *machine) to(b *testing.B, l net.Listener, address string) route {
	return func() (client, server net.Conn) { return m.Dial("tcp4", address), accept(b, l) }
}

// fromHost is a route from the host, at an address that leads to a listener.
func fromHost(b *testing.B, l net.Listener, address string) route {
	return func() (client, server net.Conn) {
		client, err := net.DialTimeout("tcp4", address, patience)
		require.NoError(b, err)
		return client, accept(b, l)
	}
}

func accept(b *testing.B, l net.Listener) net.Conn {
	require.NoError(b, l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)))
	c, err := l.Accept()
	require.NoError(b, err)
	return c
}

func back(r route) route {
	return func() (client, server net.Conn) {
		server, client = r()
		return client, server
	}
}

const (
	// roundTrips is how many are measured at a time.
	roundTrips = 500
	// sent is how much is sent at a time, in bytes.
	sent = 32 << 20
	// timeLimit bounds a measurement.
	timeLimit = 2 * patience
)

// roundTrip is how long messages take there and back, one after another.
func roundTrip(b *testing.B, r route) time.Duration {
	client, server := r()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(struct{ io.Writer }{server}, struct{ io.Reader }{server})
		_ = server.Close()
	}()
	defer func() { <-ended }()
	defer func() { _ = client.Close() }()
	return exchange(b, client)
}

// exchange sends messages of 56 bytes, as pings have, and receives an answer to each.
func exchange(b *testing.B, c net.Conn) time.Duration {
	require.NoError(b, c.SetDeadline(time.Now().Add(timeLimit)))
	message := make([]byte, 56)
	begin := time.Now()
	for range roundTrips {
		_, err := c.Write(message)
		require.NoError(b, err)
		_, err = io.ReadFull(c, message)
		require.NoError(b, err)
	}
	return time.Since(begin)
}

// stream is how long it takes to send much, until all has arrived.
func stream(b *testing.B, r route) time.Duration {
	from, to := r()
	defer func() { _ = from.Close() }()
	defer func() { _ = to.Close() }()
	require.NoError(b, from.SetDeadline(time.Now().Add(timeLimit)))
	require.NoError(b, to.SetDeadline(time.Now().Add(timeLimit)))
	begin := time.Now()
	wrote := make(chan error, 1)
	go func() {
		content := make([]byte, 64<<10)
		for range sent / len(content) {
			if _, err := from.Write(content); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	buffer := make([]byte, 256<<10)
	for arrived := 0; arrived < sent; {
		n, err := to.Read(buffer)
		require.NoError(b, err)
		arrived += n
	}
	took := time.Since(begin)
	require.NoError(b, <-wrote)
	return took
}
