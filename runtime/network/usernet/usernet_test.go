package usernet

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/network/lease"
	"albatross/runtime/network/stations"
	"albatross/runtime/network/wire"
	"albatross/test/netns"
	"albatross/test/station"
)

func TestMain(m *testing.M) {
	netns.Enter()
	goleak.VerifyTestMain(m)
}

// patience bounds what happens on a busy machine.
const patience = time.Minute

var (
	web = wire.Station{Name: "web", MAC: messages.MAC{2, 0, 0, 0, 0, 1}, Addresses: []netip.Addr{addr("10.90.0.2")}}
	db  = wire.Station{Name: "db", MAC: messages.MAC{2, 0, 0, 0, 0, 2}, Addresses: []netip.Addr{addr("10.90.0.3")}}
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func config() wire.Config {
	return wire.Config{Backend: messages.UserNetwork, Name: "service", Gateway: netip.MustParsePrefix("10.90.0.1/24"), MTU: 1500, NAT: true}
}

func newNetwork(t testing.TB, c wire.Config) *Network {
	t.Helper()
	netns.Need(t)
	n, err := New(c)
	require.NoError(t, err)
	t.Cleanup(n.Close)
	return n
}

// attach admits a station and connects it.
func attach(t testing.TB, n *Network, s wire.Station) station.Line {
	t.Helper()
	line, plug := station.Pair(t)
	n.Admit(s)
	require.NoError(t, n.Attach(s.MAC, plug))
	return line
}

func host(t testing.TB, n *Network, s wire.Station) *station.Host {
	t.Helper()
	return station.NewHost(t, attach(t, n, s), s.MAC, netip.PrefixFrom(s.Addresses[0], 24), addr("10.90.0.1"), n.config.MTU)
}

// outside gives the host an address that is not loopback.
func outside(t testing.TB) {
	t.Helper()
	netns.Bridge(t, "outside")
	link, err := netlink.LinkByName("outside")
	require.NoError(t, err)
	address, err := netlink.ParseAddr("192.0.2.1/24")
	require.NoError(t, err)
	require.NoError(t, netlink.AddrAdd(link, address))
}

// echo answers what arrives by TCP, until the end of the test.
func echo(t testing.TB, l net.Listener) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
}

// echoUDP is echo for UDP.
func echoUDP(t testing.TB, conn net.PacketConn) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buffer[:n], from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
}

// answers checks that all that is said comes back.
func answers(t testing.TB, conn net.Conn, size int) {
	t.Helper()
	said := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(said)
		if half, is := conn.(half); is && err == nil {
			err = half.CloseWrite()
		}
		written <- err
	}()
	heard, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.NoError(t, <-written)
	require.True(t, bytes.Equal(said, heard), "%d bytes of %d", len(heard), len(said))
	require.NoError(t, conn.Close())
}

func answersUDP(t testing.TB, conn net.Conn) {
	t.Helper()
	heard := make([]byte, 100)
	for end := time.Now().Add(patience); time.Now().Before(end); { // a datagram may be lost
		_, err := conn.Write([]byte("hello"))
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
		if n, err := conn.Read(heard); err == nil {
			require.Equal(t, "hello", string(heard[:n]))
			return
		}
	}
	require.Fail(t, "there is no answer")
}

func TestTheGatewayAnswers(t *testing.T) {
	n := newNetwork(t, config())
	line := attach(t, n, web)
	line.Send(station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.1")))
	frame := line.Receive(station.IsARPReply(addr("10.90.0.1")))
	require.Equal(t, n.judge.gateway, messages.MAC(frame[6:12]))
	h := station.NewHost(t, line, web.MAC, netip.MustParsePrefix("10.90.0.2/24"), addr("10.90.0.1"), 1500)
	require.True(t, h.Ping("10.90.0.1", patience))
}

func TestTwoStations(t *testing.T) {
	n := newNetwork(t, config())
	a, b := host(t, n, web), host(t, n, db)
	echo(t, b.ListenTCP("10.90.0.3:80"))
	conn, err := a.DialTCP("10.90.0.3:80")
	require.NoError(t, err)
	answers(t, conn, 1<<20)
	require.True(t, b.Ping("10.90.0.2", patience))
}

func TestDHCP(t *testing.T) {
	n := newNetwork(t, config())
	table := stations.New()
	require.NoError(t, table.Put(web))
	conn, err := n.ListenDHCP()
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- lease.New(config(), table).Serve(conn) }()
	line := attach(t, n, web)
	ack := line.Lease(web.MAC)
	require.Equal(t, "10.90.0.2", ack.YourIPAddr.String())
	require.Equal(t, []net.IP{{10, 90, 0, 1}}, ack.Router())

	stranger := attach(t, n, wire.Station{MAC: db.MAC})
	discover, err := dhcpv4.NewDiscovery(db.MAC[:])
	require.NoError(t, err)
	stranger.AskDHCP(db.MAC, discover)
	line.Lease(web.MAC) // all that came before is answered
	stranger.Receive(func(frame []byte) bool {
		reply, err := dhcpv4.FromBytes(station.Content(frame))
		require.NoError(t, err)
		require.NotEqual(t, discover.TransactionID, reply.TransactionID)
		return reply.MessageType() == dhcpv4.MessageTypeAck
	})
	require.NoError(t, conn.Close())
	require.NoError(t, <-ended)
}

func TestTheOutside(t *testing.T) {
	outside(t)
	n := newNetwork(t, config())
	h := host(t, n, web)
	l, err := net.Listen("tcp4", "0.0.0.0:8000")
	require.NoError(t, err)
	echo(t, l)
	conn, err := h.DialTCP("192.0.2.1:8000")
	require.NoError(t, err)
	answers(t, conn, 4<<20)

	_, err = h.DialTCP("192.0.2.1:8001")
	require.ErrorContains(t, err, "refused")
	u, err := net.ListenPacket("udp4", "0.0.0.0:8000")
	require.NoError(t, err)
	echoUDP(t, u)
	asks := h.DialUDP("192.0.2.1:8000")
	answersUDP(t, asks)
	require.NoError(t, asks.Close())
}

// TestAStationThatIsDismissed leaves no connection to the outside.
func TestAStationThatIsDismissed(t *testing.T) {
	outside(t)
	n := newNetwork(t, config())
	h := host(t, n, web)
	l, err := net.Listen("tcp4", "192.0.2.1:8000")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	conn, err := h.DialTCP("192.0.2.1:8000")
	require.NoError(t, err)
	server, err := l.Accept()
	require.NoError(t, err)
	n.Admit(web) // changes nothing
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	_, err = server.Read(make([]byte, 1))
	require.NoError(t, err)
	n.Dismiss(web.MAC)
	require.NoError(t, server.SetReadDeadline(time.Now().Add(patience)))
	_, err = server.Read(make([]byte, 1))
	require.True(t, err != nil && !os.IsTimeout(err), err)
	require.NoError(t, server.Close())
}

// TestConnectionsOfOneStation: it has no more than its share, and another one has its own.
func TestConnectionsOfOneStation(t *testing.T) {
	outside(t)
	n := newNetwork(t, config())
	greedy, modest := host(t, n, web), host(t, n, db)
	l, err := net.Listen("tcp4", "192.0.2.1:8000")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	for range maxConns {
		_, err := greedy.DialTCP("192.0.2.1:8000")
		require.NoError(t, err)
		server, err := l.Accept()
		require.NoError(t, err)
		defer func() { _ = server.Close() }()
	}
	_, err = greedy.DialTCP("192.0.2.1:8000")
	require.ErrorContains(t, err, "refused")
	_, err = modest.DialTCP("192.0.2.1:8000")
	require.NoError(t, err)
}

// TestFlows: the one that was silent for longest makes room for a new one.
func TestFlows(t *testing.T) {
	list := newFlows[int](2)
	first, second := list.add(t.Context(), 1), list.add(t.Context(), 2)
	first.last.Store(2)
	second.last.Store(1)
	third := list.add(t.Context(), 3)
	require.Error(t, second.ctx.Err())
	require.NoError(t, first.ctx.Err())
	require.Nil(t, list.get(2))
	require.Equal(t, first, list.get(1))
	again := list.add(t.Context(), 1)
	require.Error(t, first.ctx.Err())
	list.remove(1, first)
	require.Equal(t, again, list.get(1))
	list.remove(1, again)
	list.remove(3, third)
	require.Empty(t, list.list)
	again.expire() // it has ended
}

// TestWhatIsNotOutside: what only this host may reach is refused, or not answered.
func TestWhatIsNotOutside(t *testing.T) {
	outside(t)
	n := newNetwork(t, config())
	h := host(t, n, web)
	l, err := net.Listen("tcp4", "0.0.0.0:8000")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	_, err = h.DialTCP("10.90.0.1:8000") // the gateway has no ports except its own
	require.ErrorContains(t, err, "refused")
	_, err = h.DialTCP("192.0.2.1:8000")
	require.NoError(t, err)
	_, err = l.Accept()
	require.NoError(t, err)

	count := func() uint64 {
		a := wire.Admitted{Station: web}
		n.Tell(&a)
		return a.Refused
	}
	line := attach(t, n, db)
	refused := func(to string) {
		t.Helper()
		a := wire.Admitted{Station: db}
		n.Tell(&a)
		before := a.Refused
		line.Send(station.Datagram(db.MAC, n.judge.gateway, netip.AddrPortFrom(db.Addresses[0], 1), netip.MustParseAddrPort(to), nil))
		require.Eventually(t, func() bool { n.Tell(&a); return a.Refused == before+1 }, patience, time.Millisecond, to)
	}
	for _, to := range []string{"127.0.0.1:8000", "127.1.2.3:8000", "0.0.0.0:8000", "0.1.2.3:8000", "169.254.169.254:80", "224.0.0.1:80", "255.255.255.255:80", "240.0.0.1:80", "10.90.0.9:80"} {
		refused(to)
	}
	require.Zero(t, count())
}

func TestWithoutNAT(t *testing.T) {
	outside(t)
	c := config()
	c.NAT = false
	n := newNetwork(t, c)
	line := attach(t, n, web)
	line.Send(station.Datagram(web.MAC, n.judge.gateway, netip.AddrPortFrom(web.Addresses[0], 1), netip.MustParseAddrPort("192.0.2.1:8000"), nil))
	a := wire.Admitted{Station: web}
	require.Eventually(t, func() bool { n.Tell(&a); return a.Refused == 1 }, patience, time.Millisecond)
}

func TestPublishedPorts(t *testing.T) {
	n := newNetwork(t, config())
	h := host(t, n, web)
	echo(t, h.ListenTCP("10.90.0.2:80"))
	echoUDP(t, h.ListenUDP("10.90.0.2:80"))
	at := netip.MustParseAddrPort("127.0.0.1:8080")
	overTCP, overUDP := messages.Publication{From: 8080, To: 80}, messages.Publication{From: 8080, To: 80, UDP: true}
	for _, p := range []messages.Publication{overTCP, overUDP} {
		require.NoError(t, n.Publish(p, at, web.Addresses[0]))
		require.NoError(t, n.Publish(p, at, web.Addresses[0]), "again")
	}
	for range 3 {
		conn, err := net.Dial("tcp4", at.String())
		require.NoError(t, err)
		answers(t, conn, 4<<20)
		asks, err := net.Dial("udp4", at.String())
		require.NoError(t, err)
		answersUDP(t, asks)
		require.NoError(t, asks.Close())
	}

	taken := messages.Publication{From: 8080, To: 81}
	require.EqualError(t, n.Publish(taken, at, web.Addresses[0]), "port 8080 is in use on the host")
	taken.UDP = true
	require.EqualError(t, n.Publish(taken, at, web.Addresses[0]), "port 8080 is in use on the host")

	open, err := net.Dial("tcp4", at.String())
	require.NoError(t, err)
	_, err = open.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(open, make([]byte, 1))
	require.NoError(t, err)
	n.Unpublish(overTCP)
	n.Unpublish(overUDP)
	n.Unpublish(overUDP)
	_, err = open.Read(make([]byte, 1))
	require.Error(t, err, "its connections end")
	_, err = net.Dial("tcp4", at.String())
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	require.NoError(t, n.Publish(taken, at, web.Addresses[0]))
}

// TestAPublishedPortThatNobodyListensAt resets its clients.
func TestAPublishedPortThatNobodyListensAt(t *testing.T) {
	n := newNetwork(t, config())
	host(t, n, web)
	at := netip.MustParseAddrPort("127.0.0.1:8080")
	require.NoError(t, n.Publish(messages.Publication{From: 8080, To: 80}, at, web.Addresses[0]))
	conn, err := net.Dial("tcp4", at.String())
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, unix.ECONNRESET)
	require.NoError(t, conn.Close())
}

// TestAFlood: a station that sends as much as it can, and one that reads nothing, keep no other
// from anything.
func TestAFlood(t *testing.T) {
	n := newNetwork(t, config())
	flooder, deaf := attach(t, n, db), attach(t, n, wire.Station{MAC: messages.MAC{2, 0, 0, 0, 0, 3}, Addresses: []netip.Addr{addr("10.90.0.4")}})
	h := host(t, n, web)
	deafMAC := messages.MAC{2, 0, 0, 0, 0, 3}
	deaf.Send(station.ARP(deafMAC, addr("10.90.0.4"), addr("10.90.0.1"))) // the switch knows it
	var stop atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		content := make([]byte, 1400)
		from := netip.AddrPortFrom(db.Addresses[0], 1)
		frames := [][]byte{
			station.Datagram(db.MAC, deafMAC, from, netip.MustParseAddrPort("10.90.0.4:1"), content),
			station.Datagram(db.MAC, n.judge.gateway, from, netip.MustParseAddrPort("10.90.0.1:1"), content),
			station.Datagram(db.MAC, station.All, from, netip.MustParseAddrPort("10.90.0.255:1"), content),
			station.Datagram(db.MAC, web.MAC, netip.MustParseAddrPort("10.90.0.77:1"), netip.MustParseAddrPort("10.90.0.2:1"), content),
		}
		for i := 0; !stop.Load(); i++ {
			_, _ = unix.Write(flooder.FD, frames[i%len(frames)])
		}
	}()
	echo(t, h.ListenTCP("10.90.0.2:80"))
	at := netip.MustParseAddrPort("127.0.0.1:8080")
	require.NoError(t, n.Publish(messages.Publication{From: 8080, To: 80}, at, web.Addresses[0]))
	for range 3 {
		require.True(t, h.Ping("10.90.0.1", patience))
		conn, err := net.Dial("tcp4", at.String())
		require.NoError(t, err)
		answers(t, conn, 1<<20)
	}
	lost := wire.Admitted{Station: wire.Station{MAC: deafMAC}}
	require.Eventually(t, func() bool { n.Tell(&lost); return lost.Lost > 0 }, patience, time.Millisecond)
	sent := wire.Admitted{Station: db}
	require.Eventually(t, func() bool { n.Tell(&sent); return sent.Refused > burstOfBroadcasts }, patience, time.Millisecond)
	stop.Store(true)
	<-ended
}

// TestARate: what a station may send takes its time.
func TestARate(t *testing.T) {
	n := newNetwork(t, config())
	slow := db
	const frames, size = 40, 1000
	slow.Rate = 20 * size // per second
	line, reader := attach(t, n, slow), attach(t, n, web)
	reader.Send(station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.1")))
	reader.Receive(station.IsARPReply(addr("10.90.0.1")))
	frame := station.Datagram(db.MAC, web.MAC, netip.AddrPortFrom(db.Addresses[0], 1), netip.AddrPortFrom(web.Addresses[0], 7), make([]byte, size-42))
	begin := time.Now()
	go func() {
		for range frames {
			_, _ = unix.Write(line.FD, frame)
		}
	}()
	for range frames {
		reader.Receive(station.IsDatagram(7))
	}
	require.Greater(t, time.Since(begin), time.Second, "they take 2 s, less what may be sent at once")
}

// TestAnotherSwitch: the descriptor that was attached is the same for the next network, as after
// the end of the process. The station notices nothing.
func TestAnotherSwitch(t *testing.T) {
	line, plug := station.Pair(t)
	for range 3 {
		n := newNetwork(t, config())
		n.Admit(web)
		_, err := n.Descriptor(web.MAC)
		require.ErrorIs(t, err, ErrNotAttached)
		kept, err := unix.FcntlInt(uintptr(plug), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, n.Attach(web.MAC, plug))
		line.Send(station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.1")))
		line.Receive(station.IsARPReply(addr("10.90.0.1")))
		plug, err = n.Descriptor(web.MAC)
		require.NoError(t, err)
		require.NoError(t, unix.Close(kept))
		n.Close()
	}
	require.NoError(t, unix.Close(plug))
}

// TestAUnikernelThatEnds is detached, and an empty frame is no end.
func TestAUnikernelThatEnds(t *testing.T) {
	n := newNetwork(t, config())
	line, plug := station.Pair(t)
	n.Admit(web)
	require.NoError(t, n.Attach(web.MAC, plug))
	line.Send(nil)
	line.Send(station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.1")))
	line.Receive(station.IsARPReply(addr("10.90.0.1")))
	require.NoError(t, unix.Shutdown(line.FD, unix.SHUT_RDWR))
	a := wire.Admitted{Station: web}
	require.Eventually(t, func() bool { n.Tell(&a); return !a.Attached }, patience, time.Millisecond)
	require.Equal(t, uint64(1), a.Refused)

	line, plug = station.Pair(t)
	require.NoError(t, n.Attach(web.MAC, plug), "the next one")
	n.Dismiss(web.MAC)
	n.Dismiss(web.MAC)
	got, err := unix.Read(line.FD, make([]byte, 1))
	require.NoError(t, err)
	require.Zero(t, got, "the other end is closed")
	require.ErrorContains(t, n.Attach(web.MAC, -1), "there is no station 02:00:00:00:00:01")
}

func TestWhatCannotBe(t *testing.T) {
	c := config()
	c.Gateway6 = netip.MustParsePrefix("fd00::1/48")
	_, err := New(c)
	require.ErrorContains(t, err, "fd00::1/48 is no IPv6 subnet of 64 bits")
	n := newNetwork(t, config())
	require.ErrorContains(t, n.Check(wire.Station{MAC: n.judge.gateway}), "that of the gateway")
	n.Admit(web)
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		require.ErrorContains(t, n.Attach(web.MAC, fds[0]), "not a Unix socket that preserves messages")
		require.NoError(t, unix.Close(fds[0]))
		require.NoError(t, unix.Close(fds[1]))
	}
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	require.ErrorContains(t, n.Attach(web.MAC, fd), "not a socket")
	require.NoError(t, unix.Close(fd))
}

// TestASilentStationIsReached: one that is attached, or attached again, need not send first.
func TestASilentStationIsReached(t *testing.T) {
	n := newNetwork(t, config())
	sender := attach(t, n, db)
	for range 2 {
		silent := attach(t, n, web)
		from, to := netip.AddrPortFrom(db.Addresses[0], 1000), netip.AddrPortFrom(web.Addresses[0], 2000)
		sender.Send(station.Datagram(db.MAC, web.MAC, from, to, []byte("hello")))
		require.Equal(t, "hello", string(station.Content(silent.Receive(station.IsDatagram(2000)))))
	}
}
