package bridge

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

func TestPublishedPorts(t *testing.T) { inBothWorlds(t, publishedPorts) }

func publishedPorts(t *testing.T, w *world) {
	w.up(service6(), nil)
	a, b := w.allowed(service6(), 2), w.allowed(service6(), 3)
	b.serve(":80")
	for _, target := range b.Addresses {
		require.NoError(t, w.backend.Publish(service.Name, tcp("", 8080, 80, target)))
	}
	for address, who := range map[string]string{hostOutside: outsider, "[" + hostOutside6 + "]": outsider6} {
		require.Equal(t, who, w.outside.call(address+":8080"), "from outside, which is seen as it is")
		require.NotEmpty(t, callHere(t, address+":8080"), "from the host")
		require.NotEmpty(t, a.call(address+":8080"), "from a neighbour")
	}
	if setting(t, "net/bridge/bridge-nf-call-iptables") == "0" { // else it would have to come back by the same port of the bridge
		require.NotEmpty(t, b.call(hostOutside+":8080"), "from itself")
		require.NotEmpty(t, b.call("["+hostOutside6+"]:8080"), "from itself")
	}
	require.Equal(t, "10.90.0.1", callHere(t, "127.0.0.1:8080"))
	require.Equal(t, "10.90.0.1", callHere(t, "127.1.2.3:8080"))
	require.NotEmpty(t, a.call("10.90.0.1:8080"))
	require.Equal(t, "0", a.redirects(), "nobody says that there is a shorter way")

	for _, target := range b.Addresses {
		require.NoError(t, w.backend.Unpublish(service.Name, tcp("", 8080, 80, target)))
		require.NoError(t, w.backend.Unpublish(service.Name, tcp("", 8080, 80, target)), "twice")
	}
	w.outside.refused(hostOutside + ":8080")
	w.outside.refused("[" + hostOutside6 + "]:8080")
}

// redirects returns how often a namespace has been told of another gateway.
func (s *space) redirects() (count string) {
	s.Do(func() {
		text, err := os.ReadFile("/proc/thread-self/net/snmp")
		require.NoError(s.t, err)
		lines := strings.Split(string(text), "\n")
		for i, line := range lines {
			if head := strings.Fields(line); len(head) > 0 && head[0] == "Icmp:" && head[1] == "InMsgs" {
				count = strings.Fields(lines[i+1])[slices.Index(head, "InRedirects")]
			}
		}
	})
	return count
}

func TestAPortOfOneAddress(t *testing.T) {
	w := newWorld(t)
	w.up(service6(), nil)
	a := w.allowed(service6(), 2)
	a.serve(":80")
	four, six := a.Addresses[0], a.Addresses[1]
	for _, f := range []Forward{tcp("127.0.0.1", 8080, 80, four), tcp(hostOutside, 8081, 80, four), tcp(hostOutside6, 8082, 80, six)} {
		require.NoError(t, w.backend.Publish(service.Name, f))
	}
	require.NotEmpty(t, callHere(t, "127.0.0.1:8080"))
	require.NotEmpty(t, w.outside.call(hostOutside+":8081"))
	require.NotEmpty(t, w.outside.call("["+hostOutside6+"]:8082"))
	w.outside.refused(hostOutside + ":8080")
	_, err := call("127.0.0.1:8081", refusal)
	require.Error(t, err)
	require.EqualError(t, w.backend.Publish(service.Name, tcp(hostOutside, 8083, 80, six)),
		"cannot publish 192.0.2.1:8083:80: 192.0.2.1 is not an address of the same kind as fd00:90::2")
}

// TestPortsOfOthersAreNotPublished: only connections to the host are sent elsewhere.
func TestPortsOfOthersAreNotPublished(t *testing.T) {
	w := newWorld(t)
	w.up(service6(), nil)
	a := w.allowed(service6(), 2)
	for _, target := range a.Addresses {
		require.NoError(t, w.backend.Publish(service.Name, tcp("", 8080, 80, target)))
	}
	require.NoError(t, w.backend.Publish(service.Name, tcp(outsider, 8080, 80, a.Addresses[0])))
	require.NoError(t, w.backend.Publish(service.Name, tcp(outsider6, 8080, 80, a.Addresses[1])))
	w.outside.serve(":8080") // and nobody serves port 80
	for _, address := range []string{outsider, "[" + outsider6 + "]"} {
		require.NotEmpty(t, a.call(address+":8080"))
		require.NotEmpty(t, callHere(t, address+":8080"))
	}
}

func TestAPortThatLedElsewhere(t *testing.T) {
	w := newWorld(t)
	w.up(service, nil)
	a, b := w.allowed(service, 2), w.allowed(service, 3)
	b.serve(":80")
	old, next := tcp("", 8080, 80, a.Addresses[0]), tcp("", 8080, 80, b.Addresses[0])
	require.NoError(t, w.backend.Publish(service.Name, old))
	require.NoError(t, w.backend.Publish(service.Name, next))
	require.NoError(t, w.backend.Publish(service.Name, next), "twice")
	require.NotEmpty(t, w.outside.call(hostOutside+":8080"))
	require.NoError(t, w.backend.Unpublish(service.Name, old), "it leads elsewhere by now")
	require.NotEmpty(t, w.outside.call(hostOutside+":8080"))
}

// echo answers datagrams with what it has received, and reports that.
func (s *space) echo(address string) <-chan string {
	s.t.Helper()
	var c net.PacketConn
	s.Do(func() {
		var err error
		c, err = net.ListenPacket("udp", address)
		require.NoError(s.t, err)
	})
	return echo(s.t, c)
}

func echo(t testing.TB, c net.PacketConn) <-chan string {
	received, ended := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(ended)
		for buffer := make([]byte, 10000); ; {
			n, from, err := c.ReadFrom(buffer)
			if err != nil {
				return
			}
			received <- string(buffer[:n])
			_, _ = c.WriteTo(buffer[:n], from)
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-ended })
	return received
}

// ask sends a datagram again and again until it comes back.
func ask(t testing.TB, address, what string) {
	t.Helper()
	c, err := net.Dial("udp", address)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	buffer := make([]byte, len(what)+1)
	for end := time.Now().Add(patience); ; {
		_, _ = c.Write([]byte(what)) // an answer may say that nobody has been there
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		n, err := c.Read(buffer)
		if err == nil {
			require.Equal(t, what, string(buffer[:n]))
			return
		}
		require.True(t, time.Now().Before(end), "no answer from %s: %v", address, err)
	}
}

func udp(f Forward) Forward {
	f.UDP = true
	return f
}

func TestPublishedDatagrams(t *testing.T) { inBothWorlds(t, publishedDatagrams) }

func publishedDatagrams(t *testing.T, w *world) {
	w.up(service6(), nil)
	a, b := w.allowed(service6(), 2), w.allowed(service6(), 3)
	b.echo(":53")
	for _, target := range b.Addresses {
		require.NoError(t, w.backend.Publish(service.Name, udp(tcp("", 5353, 53, target))))
	}
	w.outside.Do(func() { ask(t, hostOutside+":5353", "outside") })
	w.outside.Do(func() { ask(t, "["+hostOutside6+"]:5353", "outside") })
	a.Do(func() { ask(t, hostOutside+":5353", "a neighbour") })
	ask(t, "127.0.0.1:5353", "loopback")
	w.outside.refused(hostOutside + ":5353")
}

// TestLoopbackIsNotPublishedToTheOutside: the kernel drops such packets only if they have their
// destination when it looks at it.
func TestLoopbackIsNotPublishedToTheOutside(t *testing.T) {
	w := newWorld(t)
	w.up(service, nil)
	a := w.allowed(service, 2)
	received := a.echo(":53")
	require.NoError(t, w.backend.Publish(service.Name, udp(tcp("127.0.0.1", 5353, 53, a.Addresses[0]))))
	require.NoError(t, w.backend.Publish(service.Name, udp(tcp(hostOutside, 5353, 53, a.Addresses[0]))))
	w.outside.loopbackVia(t, "there0", hostOutside)
	w.outside.Do(func() {
		c, err := net.Dial("udp", "127.0.0.1:5353")
		require.NoError(t, err)
		_, err = c.Write([]byte("bad"))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		ask(t, hostOutside+":5353", "good")
	})
	require.Equal(t, "good", <-received)
}

// loopbackVia makes a namespace send packets for loopback addresses to somebody else.
func (s *space) loopbackVia(t testing.TB, link, gateway string) {
	s.Do(func() {
		lo, err := netlink.LinkByName("lo")
		require.NoError(t, err)
		require.NoError(t, netlink.AddrDel(lo, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("127.0.0.1/8"))}))
		require.NoError(t, set("net/ipv4/conf/"+link+"/route_localnet", "1"))
		out, err := netlink.LinkByName(link)
		require.NoError(t, err)
		require.NoError(t, netlink.RouteAdd(&netlink.Route{LinkIndex: out.Attrs().Index, Gw: net.ParseIP(gateway),
			Dst: ipNet(netip.MustParsePrefix("127.0.0.0/8"))}))
	})
}

// TestStationsDoNotReachLoopback of the host, though what is published there answers them.
func TestStationsDoNotReachLoopback(t *testing.T) {
	w := newWorld(t)
	w.up(service, nil)
	a := w.allowed(service, 2)
	c, err := net.ListenPacket("udp4", ":0")
	require.NoError(t, err)
	port := strconv.Itoa(c.LocalAddr().(*net.UDPAddr).Port)
	received := echo(t, c)
	a.loopbackVia(t, "eth0", "10.90.0.1")
	a.Do(func() {
		c, err := net.Dial("udp", "127.0.0.1:"+port)
		require.NoError(t, err)
		_, err = c.Write([]byte("bad"))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		ask(t, "10.90.0.1:"+port, "good")
	})
	require.Equal(t, "good", <-received)
}

func TestPublishOnANetworkThatIsNotUp(t *testing.T) {
	w := newWorld(t)
	f := Forward{messages.Publication{From: 1, To: 2}, netip.MustParseAddr("10.0.0.2")}
	require.EqualError(t, w.backend.Publish("none", f), "cannot publish 1:2: the network is not up")
	require.NoError(t, w.backend.Unpublish("none", f))
	s := Station{Tap: "tap1"}
	require.EqualError(t, w.backend.Allow("none", s), "cannot let interface tap1 send on network none: the network is not up")
	require.NoError(t, w.backend.Disallow("none", s))
	require.NotErrorIs(t, w.backend.Down("none"), unix.ENOENT)
}

// TestConnectionsEnd with their published port, and others do not.
func TestConnectionsEnd(t *testing.T) { inBothWorlds(t, connectionsEnd) }

func connectionsEnd(t *testing.T, w *world) {
	w.up(service6(), nil)
	a, b := w.allowed(service6(), 2), w.allowed(service6(), 3)
	four := b.Addresses[0]
	for _, f := range []Forward{tcp("", 8080, 80, four), tcp("", 8081, 80, four), tcp("", 8082, 80, a.Addresses[0])} {
		require.NoError(t, w.backend.Publish(service.Name, f))
	}
	a.repeat(":80")
	b.repeat(":80")
	ends, others := w.outside.talk(hostOutside+":8080"), []net.Conn{w.outside.talk(hostOutside + ":8081"), w.outside.talk(hostOutside + ":8082")}
	require.NoError(t, w.backend.Unpublish(service.Name, tcp("", 8080, 80, four)))
	require.NoError(t, w.backend.EndConnections(tcp("", 8080, 80, four)))
	require.Error(t, said(ends))
	for _, c := range others {
		require.NoError(t, said(c))
	}
}

// repeat repeats what comes on connections.
func (s *space) repeat(address string) {
	s.t.Helper()
	listener := s.listen(address)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(s.t.Context(), func() { _ = c.Close() }) // the other side may be gone without a word
			all.Go(func() { _, _ = io.Copy(c, c); _ = c.Close() })
		}
	})
	s.t.Cleanup(func() { _ = listener.Close(); all.Wait() })
}

// talk returns a connection that has carried something in both directions.
func (s *space) talk(address string) (c net.Conn) {
	s.t.Helper()
	s.Do(func() {
		var err error
		c, err = net.DialTimeout("tcp", address, patience)
		require.NoError(s.t, err)
	})
	s.t.Cleanup(func() { _ = c.Close() })
	require.NoError(s.t, said(c))
	return c
}

// said says something on a connection, and waits until it is repeated.
func said(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "x"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}
