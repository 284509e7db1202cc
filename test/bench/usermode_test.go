package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/network/process"
	"albatross/runtime/network/wire"
	"albatross/runtime/tender"
	"albatross/test/netns"
	"albatross/test/programs"
)

// These ports of the host lead to port 80 of a machine.
const (
	publishedOurs  = 8080
	publishedSlirp = 8081
)

// outsider is an address of the host that is none of a network's.
const outsider = "192.0.2.1"

var userMAC = messages.MAC{2, 0, 0, 0, 0, 1}

// BenchmarkUserMode compares a network in user mode with slirp4netns and with passt, where they are
// installed: what a machine says to the outside, and the host to a published port of a machine.
// All have the same machine, and carry its frames by a socket, and the MTU is 1,500. Passt takes part
// in round trips to the outside only: the one of Debian 12 has ended connections here while much was
// sent, and those to its published ports have not reached the machine.
func BenchmarkUserMode(b *testing.B) {
	netns.Need(b)
	makeOutside(b)
	outside, err := net.Listen("tcp4", outsider+":8000")
	require.NoError(b, err)
	b.Cleanup(func() { _ = outside.Close() })
	echoUDP(b, outsider+":8000")
	ours := oursInUserMode(b)
	for name, start := range map[string]func(*testing.B, string) (*machine, uint16){"slirp4netns": startSlirp, "passt": startPasst} {
		b.Run(name, func(b *testing.B) {
			program, err := exec.LookPath(name)
			if err != nil {
				b.Skipf("%s is not installed", name)
			}
			m, port := start(b, program)
			contest{ours, m, publishedOurs, port, outside}.run(b, name)
		})
	}
}

// makeOutside gives the host an address, and a way to the world, which passt looks for.
func makeOutside(b *testing.B) {
	netns.Bridge(b, "outside")
	link, err := netlink.LinkByName("outside")
	require.NoError(b, err)
	address, err := netlink.ParseAddr(outsider + "/24")
	require.NoError(b, err)
	require.NoError(b, netlink.AddrAdd(link, address))
	require.NoError(b, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IPv4(192, 0, 2, 254)}))
}

// echoUDP answers datagrams, until the end.
func echoUDP(b *testing.B, address string) {
	conn, err := net.ListenPacket("udp4", address)
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, longestFrame)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buffer[:n], from)
		}
	}()
}

// A contest has two machines, on two networks, and the ports of the host that lead to them; 0: none
// does.
type contest struct {
	ours, theirs                   *machine
	publishedOurs, publishedTheirs uint16
	outside                        net.Listener
}

// things returns what both can do, and how long that takes on one machine.
func (c contest) things(b *testing.B) map[string]func(m *machine, port uint16) time.Duration {
	out := func(m *machine) route { return m.to(b, c.outside, c.outside.Addr().String()) }
	in := func(m *machine, port uint16) route { return fromHost(b, m.listener, fmt.Sprintf("127.0.0.1:%d", port)) }
	roundTrips := map[string]func(*machine, uint16) time.Duration{
		"round trip by TCP to the outside": func(m *machine, _ uint16) time.Duration { return roundTrip(b, out(m)) },
		"round trip by UDP to the outside": func(m *machine, _ uint16) time.Duration {
			client := m.Dial("udp4", c.outside.Addr().String())
			defer func() { _ = client.Close() }()
			return exchange(b, client)
		},
	}
	if c.publishedTheirs == 0 {
		return roundTrips
	}
	all := map[string]func(*machine, uint16) time.Duration{
		"round trip to a published port": func(m *machine, port uint16) time.Duration { return roundTrip(b, in(m, port)) },
		"32 MB to the outside":           func(m *machine, _ uint16) time.Duration { return stream(b, out(m)) },
		"32 MB from the outside":         func(m *machine, _ uint16) time.Duration { return stream(b, back(out(m))) },
		"32 MB to a published port":      func(m *machine, port uint16) time.Duration { return stream(b, in(m, port)) },
		"32 MB from a published port":    func(m *machine, port uint16) time.Duration { return stream(b, back(in(m, port))) },
	}
	maps.Copy(all, roundTrips)
	return all
}

// run measures each thing in turn.
func (c contest) run(b *testing.B, name string) {
	for what, took := range c.things(b) {
		var ours, theirs []time.Duration
		for n := range networkRounds {
			take := func() { ours = append(ours, took(c.ours, c.publishedOurs)) }
			if n%2 == 0 {
				take()
			}
			theirs = append(theirs, took(c.theirs, c.publishedTheirs))
			if n%2 == 1 {
				take()
			}
		}
		b.Logf("%s: ours %v, %s %v", what, median(ours), name, median(theirs))
		atLeast(fmt.Sprintf("user mode, %s: as fast as %s", what, name), "×", 1, ratios(theirs, ours))
	}
	b.ReportMetric(0, "ns/op")
}

// networkRounds is how often each thing is measured, with ours first and last in turn.
const networkRounds = 10

// oursInUserMode starts the process of a network as the daemon does.
func oursInUserMode(b *testing.B) *machine {
	dir, err := os.MkdirTemp("", "bench")
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, os.RemoveAll(dir)) })
	require.NoError(b, programs.Build(dir, "albatross-network"))
	p, err := process.Connect(b.Context(), process.Config{
		Dir: filepath.Join(dir, "service"), Bridge: "service", Program: filepath.Join(dir, "albatross-network"), Log: func(text string) { b.Log(text) },
	})
	require.NoError(b, err)
	b.Cleanup(func() {
		list, _, err := p.List(context.WithoutCancel(b.Context()))
		require.NoError(b, err)
		b.Logf("frames refused and lost: %d, %d", list[0].Refused, list[0].Lost)
		require.NoError(b, p.Quit(context.WithoutCancel(b.Context())))
		p.Close()
	})
	gateway, address := netip.MustParsePrefix("10.90.0.1/24"), netip.MustParsePrefix("10.90.0.2/24")
	require.NoError(b, p.Configure(b.Context(), wire.Config{Backend: messages.UserNetwork, Name: "service", Gateway: gateway, MTU: 1500, NAT: true}))
	require.NoError(b, p.Admit(b.Context(), wire.Station{Name: "web", MAC: userMAC, Addresses: []netip.Addr{address.Addr()}}))
	pair, err := tender.NewPair()
	require.NoError(b, err)
	require.NoError(b, p.Attach(b.Context(), userMAC, pair.Network))
	require.NoError(b, pair.Network.Close())
	loopback := netip.MustParseAddr("127.0.0.1")
	require.NoError(b, p.Publish(b.Context(), messages.Publication{Host: loopback, From: publishedOurs, To: 80}, address.Addr()))
	return newMachine(b, pair.Device, userMAC, address, gateway.Addr())
}

// startSlirp starts slirp4netns, which carries frames as ours does.
func startSlirp(b *testing.B, program string) (*machine, uint16) {
	dir := b.TempDir()
	socket, api := filepath.Join(dir, "frames"), filepath.Join(dir, "api")
	start(b, exec.Command(program, "--target-type=bess", "--api-socket="+api, socket))
	frames := await(b, func() (net.Conn, error) { return net.Dial("unixpacket", socket) })
	m := newMachine(b, frames, userMAC, netip.MustParsePrefix("10.0.2.100/24"), netip.MustParseAddr("10.0.2.2"))
	control := await(b, func() (net.Conn, error) { return net.Dial("unix", api) })
	defer func() { _ = control.Close() }()
	_, err := fmt.Fprintf(control, `{"execute": "add_hostfwd", "arguments": {"proto": "tcp", "host_addr": "127.0.0.1", "host_port": %d, "guest_addr": %q, "guest_port": 80}}`,
		publishedSlirp, m.address)
	require.NoError(b, err)
	require.NoError(b, control.(*net.UnixConn).CloseWrite())
	var answer struct{ Error any }
	require.NoError(b, json.NewDecoder(control).Decode(&answer))
	require.Nil(b, answer.Error)
	return m, publishedSlirp
}

// startPasst starts passt, which carries frames over a stream, as qemu does. It publishes no
// port.
func startPasst(b *testing.B, program string) (*machine, uint16) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(b, err)
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer func() { _ = ours.Close(); _ = theirs.Close() }()
	frames, err := net.FileConn(ours)
	require.NoError(b, err)
	c := exec.Command(program, "--foreground", "--quiet", "--fd", "3", "--mtu", "1500",
		"--address", "10.93.0.2", "--netmask", "24", "--gateway", "10.93.0.1")
	c.ExtraFiles = []*os.File{theirs}
	start(b, c)
	m := newMachine(b, newFramed(frames), userMAC, netip.MustParsePrefix("10.93.0.2/24"), netip.MustParseAddr("10.93.0.1"))
	return m, 0
}

// start starts a program, which is ended at the end.
func start(b *testing.B, c *exec.Cmd) {
	c.Stdout, c.Stderr = io.Discard, os.Stderr
	require.NoError(b, c.Start())
	b.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // it was killed
	})
}

// await returns a connection once somebody listens.
func await(b *testing.B, dial func() (net.Conn, error)) net.Conn {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c, err := dial()
		if err == nil {
			return c
		}
		require.True(b, time.Now().Before(end), "nobody listens: %v", err)
	}
}
