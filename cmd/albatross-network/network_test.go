package main

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/network/process"
	"albatross/runtime/network/wire"
	"albatross/test/netns"
	"albatross/test/station"
)

// echo answers what arrives, until the end of the test.
func echo(t *testing.T, l net.Listener) {
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

func echoUDP(t *testing.T, conn net.PacketConn) {
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

// says checks that what is said comes back.
func says(t *testing.T, conn net.Conn, size int) {
	t.Helper()
	said, heard := bytes.Repeat([]byte("x"), size), make([]byte, size)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	written := make(chan error, 1)
	go func() { _, err := conn.Write(said); written <- err }()
	_, err := io.ReadFull(conn, heard)
	require.NoError(t, err)
	require.NoError(t, <-written)
	require.True(t, bytes.Equal(said, heard))
}

func saysUDP(t *testing.T, conn net.Conn) {
	t.Helper()
	heard := make([]byte, 100)
	require.Eventually(t, func() bool { // a datagram may be lost
		_, err := conn.Write([]byte("hello"))
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
		n, err := conn.Read(heard)
		return err == nil && string(heard[:n]) == "hello"
	}, patience, time.Millisecond)
}

// lookup asks the resolver of the network.
func lookup(t *testing.T, h *station.Host, name string, kind uint16) *dns.Msg {
	t.Helper()
	var reply *dns.Msg
	require.Eventually(t, func() bool {
		conn := h.DialUDP(gateway + ":53")
		defer func() { _ = conn.Close() }()
		require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		c := &dns.Conn{Conn: conn}
		require.NoError(t, c.WriteMsg(new(dns.Msg).SetQuestion(name, kind)))
		var err error
		reply, err = c.ReadMsg()
		return err == nil
	}, patience, time.Millisecond)
	return reply
}

// TestANetworkInUserMode is all that a unikernel has of it.
func TestANetworkInUserMode(t *testing.T) {
	w := newWorld(t)
	w.configure(userMode(), web, db)
	line, _ := w.attach(web)
	ack := line.Lease(web.MAC)
	require.Equal(t, "10.90.0.2", ack.YourIPAddr.String())
	a, b := newHost(t, line, web), w.host(db)

	require.True(t, a.Ping(gateway, patience))
	require.True(t, a.Ping("10.90.0.3", patience))
	reply := lookup(t, a, "a.db.service.internal.", dns.TypeA)
	require.Len(t, reply.Answer, 1)
	require.Equal(t, "10.90.0.3", reply.Answer[0].(*dns.A).A.String())
	reply = lookup(t, b, "2.0.90.10.in-addr.arpa.", dns.TypePTR)
	require.Len(t, reply.Answer, 1)
	require.Equal(t, "web.service.internal.", reply.Answer[0].(*dns.PTR).Ptr)
	overTCP, err := a.DialTCP(gateway + ":53")
	require.NoError(t, err)
	c := &dns.Conn{Conn: overTCP}
	require.NoError(t, c.WriteMsg(new(dns.Msg).SetQuestion("web.service.internal.", dns.TypeA)))
	reply, err = c.ReadMsg()
	require.NoError(t, err)
	require.Len(t, reply.Answer, 1)
	require.NoError(t, c.Close())
	reply = lookup(t, a, "example.org.", dns.TypeA)
	require.Len(t, reply.Answer, 1, "the resolver of the host answers")
	require.Equal(t, "192.0.2.77", reply.Answer[0].(*dns.A).A.String())

	echo(t, b.ListenTCP("10.90.0.3:80"))
	conn, err := a.DialTCP("10.90.0.3:80")
	require.NoError(t, err)
	says(t, conn, 1<<20)
	require.NoError(t, conn.Close())
	l, err := net.Listen("tcp4", outside+":8000")
	require.NoError(t, err)
	echo(t, l)
	conn, err = a.DialTCP(outside + ":8000")
	require.NoError(t, err)
	says(t, conn, 1<<20)
	require.NoError(t, conn.Close())

	echoUDP(t, b.ListenUDP("10.90.0.3:80"))
	for _, p := range []messages.Publication{{From: 8080, To: 80}, {From: 8080, To: 80, UDP: true}} {
		require.NoError(t, w.Publish(t.Context(), p, db.Addresses[0]))
	}
	conn, err = net.Dial("tcp4", "127.0.0.1:8080")
	require.NoError(t, err)
	says(t, conn, 1<<20)
	require.NoError(t, conn.Close())
	conn, err = net.Dial("udp4", "127.0.0.1:8080")
	require.NoError(t, err)
	saysUDP(t, conn)
	require.NoError(t, conn.Close())

	stations, ports, err := w.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []wire.Published{{Publication: messages.Publication{From: 8080, To: 80}, Target: db.Addresses[0]},
		{Publication: messages.Publication{From: 8080, To: 80, UDP: true}, Target: db.Addresses[0]}}, ports)
	require.Len(t, stations, 2)
	require.Equal(t, web, stations[0].Station)
	require.True(t, stations[0].Attached)
}

// TestWherePortsArePublished: at loopback for an ordinary user, who may have no port below 1024,
// and at all addresses for root.
func TestWherePortsArePublished(t *testing.T) {
	w := newWorld(t)
	w.configure(userMode(), web)
	echo(t, w.host(web).ListenTCP("10.90.0.2:80"))
	require.NoError(t, w.Publish(t.Context(), messages.Publication{From: 8080, To: 80}, web.Addresses[0]))
	conn, err := net.Dial("tcp4", outside+":8080")
	low := w.Publish(t.Context(), messages.Publication{From: 80, To: 80}, web.Addresses[0])
	if unix.Geteuid() != 0 {
		require.ErrorIs(t, err, unix.ECONNREFUSED)
		require.EqualError(t, low, "cannot publish 80:80: port 80 needs root: choose one from 1024 on")
		return
	}
	require.NoError(t, err)
	says(t, conn, 100)
	require.NoError(t, conn.Close())
	require.NoError(t, low)
}

func TestABusyPort(t *testing.T) {
	w := newWorld(t)
	w.configure(userMode(), web)
	l, err := net.Listen("tcp4", "127.0.0.1:8080")
	require.NoError(t, err)
	p := messages.Publication{From: 8080, To: 80}
	err = w.Publish(t.Context(), p, web.Addresses[0])
	var refused *process.RefusedError
	require.ErrorAs(t, err, &refused)
	require.EqualError(t, err, "cannot publish 8080:80: port 8080 is in use on the host")
	require.NoError(t, l.Close())
	require.NoError(t, w.Publish(t.Context(), p, web.Addresses[0]))
	require.NoError(t, w.Unpublish(t.Context(), p))
	require.NoError(t, w.Unpublish(t.Context(), p))
	l, err = net.Listen("tcp4", "127.0.0.1:8080")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.ErrorContains(t, w.Publish(t.Context(), p, addr("10.91.0.2")), "10.91.0.2 is not an address of the network")
}

// TestPortsAreFreeAfterTheEnd of a process, as soon as it is said to have ended.
func TestPortsAreFreeAfterTheEnd(t *testing.T) {
	w := newWorld(t)
	p := messages.Publication{From: 8080, To: 80}
	for range 20 {
		w.configure(userMode(), web)
		require.NoError(t, w.Publish(t.Context(), p, web.Addresses[0]))
		require.NoError(t, w.Quit(t.Context()))
		l, err := net.Listen("tcp4", "127.0.0.1:8080")
		require.NoError(t, err)
		require.NoError(t, l.Close())
		w.Close()
		w.connect()
	}
}

// TestTheNextDaemon finds all as it was, and no connection has ended.
func TestTheNextDaemon(t *testing.T) {
	w := newWorld(t)
	w.configure(userMode(), web)
	echo(t, w.host(web).ListenTCP("10.90.0.2:80"))
	p := messages.Publication{From: 8080, To: 80}
	require.NoError(t, w.Publish(t.Context(), p, web.Addresses[0]))
	conn, err := net.Dial("tcp4", "127.0.0.1:8080")
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	says(t, conn, 100)
	before := w.PID()
	require.Equal(t, wire.Config{}, w.Known())
	w.Close()
	says(t, conn, 100)
	w.connect()
	require.Equal(t, before, w.PID())
	require.Equal(t, userMode(), w.Known())
	says(t, conn, 100)
	stations, ports, err := w.List(t.Context())
	require.NoError(t, err)
	require.Len(t, stations, 1)
	require.True(t, stations[0].Attached)
	require.Len(t, ports, 1)
	w.configure(userMode(), web) // has no effect
	require.NoError(t, w.Publish(t.Context(), p, web.Addresses[0]))
	says(t, conn, 100)
}

// TestAProcessThatIsKilled: the next one gets the descriptors that the daemon has, and the
// unikernel goes on.
func TestAProcessThatIsKilled(t *testing.T) {
	w := newWorld(t)
	w.configure(userMode(), web)
	line, _ := w.attach(web)
	kept, err := w.Descriptor(t.Context(), web.MAC)
	require.NoError(t, err)
	defer func() { _ = kept.Close() }()
	h := newHost(t, line, web)
	echo(t, h.ListenTCP("10.90.0.2:80"))
	p := messages.Publication{From: 8080, To: 80}
	require.NoError(t, w.Publish(t.Context(), p, web.Addresses[0]))
	require.True(t, h.Ping(gateway, patience))
	before := w.PID()
	w.kill()
	require.ErrorIs(t, w.Admit(t.Context(), web), process.ErrLost)
	w.Close()

	w.connect()
	require.NotEqual(t, before, w.PID())
	require.Equal(t, wire.Config{}, w.Known())
	_, _, err = w.List(t.Context())
	require.EqualError(t, err, "the network is not configured")
	w.configure(userMode(), web)
	require.NoError(t, w.Attach(t.Context(), web.MAC, kept))
	require.NoError(t, w.Publish(t.Context(), p, web.Addresses[0]))
	require.True(t, h.Ping(gateway, patience))
	conn, err := net.Dial("tcp4", "127.0.0.1:8080")
	require.NoError(t, err)
	says(t, conn, 100)
	require.NoError(t, conn.Close())
}

// TestASpoofedSource is dropped and counted.
func TestASpoofedSource(t *testing.T) {
	w := newWorld(t)
	w.configure(userMode(), web, db)
	line, _ := w.attach(web)
	other, _ := w.attach(db)
	other.Send(station.ARP(db.MAC, db.Addresses[0], addr(gateway)))
	other.Receive(station.IsARPReply(addr(gateway)))
	own := netip.AddrPortFrom(web.Addresses[0], 1)
	theirs := netip.AddrPortFrom(db.Addresses[0], 7)
	spoofed := [][]byte{
		station.Datagram(db.MAC, db.MAC, own, theirs, []byte("another MAC address")),
		station.Datagram(web.MAC, db.MAC, netip.AddrPortFrom(addr("10.90.0.9"), 1), theirs, []byte("another address")),
		station.Datagram(web.MAC, db.MAC, netip.MustParseAddrPort("0.0.0.0:68"), theirs, []byte("no address")),
		station.Datagram(web.MAC, station.All, netip.AddrPortFrom(web.Addresses[0], 67), netip.MustParseAddrPort("255.255.255.255:68"), []byte("a DHCP server")),
		station.ARP(web.MAC, addr(gateway), db.Addresses[0]),
		station.ARP(db.MAC, db.Addresses[0], addr(gateway)),
		{1, 2, 3},
	}
	for _, frame := range spoofed {
		line.Send(frame)
	}
	line.Send(station.Datagram(web.MAC, db.MAC, own, theirs, []byte("true")))
	frame := other.Receive(func(frame []byte) bool {
		arp := len(frame) > 13 && frame[12] == 8 && frame[13] == 6
		require.False(t, arp && messages.MAC(frame[6:12]) == web.MAC, "a false answer")
		return station.IsDatagram(7)(frame) || station.IsDatagram(68)(frame)
	})
	require.Equal(t, "true", string(station.Content(frame)))
	list, _, err := w.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(len(spoofed)), list[0].Refused)
}

// TestANetworkOfTheKernel: the process serves a bridge, and holds ports that nobody listens at.
func TestANetworkOfTheKernel(t *testing.T) {
	if unix.Geteuid() != 0 {
		t.Skip("only root has networks of the kernel")
	}
	w := newWorld(t)
	netns.Bridge(t, "service")
	bridge, err := netlink.LinkByName("service")
	require.NoError(t, err)
	address, err := netlink.ParseAddr(gateway + "/24")
	require.NoError(t, err)
	require.NoError(t, netlink.AddrAdd(bridge, address))
	config := userMode()
	config.Backend = messages.KernelNetwork
	config.Gateway6 = netip.MustParsePrefix("fd00::1/64")
	w.configure(config, web)

	line := station.At(t, netns.NewPort(t, "service").Descriptor())
	ack := line.Lease(web.MAC)
	require.Equal(t, "10.90.0.2", ack.YourIPAddr.String())
	reply := line.Ask(station.ARP(web.MAC, web.Addresses[0], addr(gateway)), station.IsARPReply(addr(gateway)))
	question, err := new(dns.Msg).SetQuestion("web.service.internal.", dns.TypeA).Pack()
	require.NoError(t, err)
	frame := station.Datagram(web.MAC, messages.MAC(reply[6:12]), netip.AddrPortFrom(web.Addresses[0], 5353), netip.MustParseAddrPort(gateway+":53"), question)
	var m dns.Msg
	require.NoError(t, m.Unpack(station.Content(line.Ask(frame, station.IsDatagram(5353)))))
	require.Equal(t, "10.90.0.2", m.Answer[0].(*dns.A).A.String())

	p := messages.Publication{From: 80, To: 8080}
	require.NoError(t, w.Publish(t.Context(), p, web.Addresses[0]))
	_, err = net.Listen("tcp4", "0.0.0.0:80")
	require.ErrorIs(t, err, unix.EADDRINUSE)
	_, err = net.Dial("tcp4", "127.0.0.1:80")
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	require.NoError(t, w.Unpublish(t.Context(), p))
	_, err = w.Descriptor(t.Context(), web.MAC)
	require.ErrorContains(t, err, "which has taps")
}
