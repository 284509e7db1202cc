package bench

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/bridge"
	"albatross/runtime/netif"
	"albatross/test/guests"
	"albatross/test/netns"
	"albatross/test/programs"
	"albatross/test/station"
)

// BenchmarkKernelNetwork tells what the rules of a named network cost: everything is measured on the
// same bridge, with the same taps, with the rules and without any. Frames that stay on the bridge pass
// those of the bridge only, as on a host without br_netfilter.
func BenchmarkKernelNetwork(b *testing.B) {
	netns.Need(b)
	if err := bridge.Possible(); err != nil {
		b.Skip(err)
	}
	doNotFilterBridges(b)
	k := newKernelNet(b)
	one, two, web := k.port(2), k.port(3), k.unikernel(4)
	three, four := k.machine(5), k.machine(6)
	k.up()
	toHost, err := net.Listen("tcp4", k.Gateway.Addr().String()+":80")
	require.NoError(b, err)
	b.Cleanup(func() { _ = toHost.Close() })
	at80 := func(m *machine) string { return m.address.String() + ":80" }
	burst := station.Datagram(one.MAC, two.MAC, netip.AddrPortFrom(one.Addresses[0], 1), netip.AddrPortFrom(two.Addresses[0], 2), make([]byte, 1472))
	ask := station.Datagram(one.MAC, web.MAC, netip.AddrPortFrom(one.Addresses[0], 1), netip.AddrPortFrom(web.Addresses[0], 7), make([]byte, 56))
	one.teach(web)
	two.teach(one.Station)
	for _, thing := range []struct {
		what string
		take func() time.Duration
	}{
		{"round trip of host and unikernel", func() time.Duration { return k.askFromHost(web) }},
		{"round trip of two unikernels", func() time.Duration { return one.exchange(ask) }},
		{"frames of 1,514 bytes between unikernels", func() time.Duration { return one.bursts(two, burst) }},
		{"32 MB by TCP from the host", func() time.Duration { return stream(b, fromHost(b, three.listener, at80(three))) }},
		{"32 MB by TCP to the host", func() time.Duration { return stream(b, three.to(b, toHost, toHost.Addr().String())) }},
		{"32 MB by TCP between unikernels", func() time.Duration { return stream(b, three.to(b, four.listener, at80(four))) }},
	} {
		thing.take() // neighbours are known afterwards
		var ours, bare []time.Duration
		for n := range networkRounds {
			if n%2 == 0 {
				ours = append(ours, thing.take())
			}
			k.removeRules()
			bare = append(bare, thing.take())
			k.up()
			if n%2 == 1 {
				ours = append(ours, thing.take())
			}
		}
		b.Logf("%s: ours %v, bare %v", thing.what, median(ours), median(bare))
		atLeast("network of the kernel, "+thing.what+": as fast as without its rules", "×", 0.95, ratios(bare, ours))
	}
	b.ReportMetric(0, "ns/op")
}

// doNotFilterBridges makes frames that stay on a bridge pass no rules for IP, as on a host without
// the module br_netfilter, which programs for containers load.
func doNotFilterBridges(b *testing.B) {
	const setting = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	before, err := os.ReadFile(setting)
	if os.IsNotExist(err) {
		return
	}
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(setting, []byte("0"), 0))
	b.Cleanup(func() { require.NoError(b, os.WriteFile(setting, before, 0)) })
}

// A kernelNet is a named network of the kernel.
type kernelNet struct {
	b *testing.B
	bridge.Network
	backend  *bridge.Backend
	stations []bridge.Station
}

func newKernelNet(b *testing.B) *kernelNet {
	k := &kernelNet{b: b, backend: bridge.New(b.TempDir()), Network: bridge.Network{
		Name: "service", Gateway: netip.MustParsePrefix("10.90.0.1/24"), MTU: 1500, NAT: true,
	}}
	b.Cleanup(func() {
		require.NoError(b, k.backend.Down(k.Name))
		require.NoError(b, k.backend.Close())
	})
	k.up()
	return k
}

func (k *kernelNet) up() { require.NoError(k.b, k.backend.Up(k.Network, k.stations, nil)) }

// removeRules leaves the namespace of the benchmark without any.
func (k *kernelNet) removeRules() {
	c, err := nftables.New()
	require.NoError(k.b, err)
	c.FlushRuleset()
	require.NoError(k.b, c.Flush())
}

// station makes a tap for one, as the daemon does, and admits it at the next up.
func (k *kernelNet) station(end byte) bridge.Station {
	tap, err := netif.Create(k.Name)
	require.NoError(k.b, err)
	require.NoError(k.b, tap.Keep())
	k.b.Cleanup(func() { require.NoError(k.b, netif.Remove(tap.Link())) })
	s := bridge.Station{Tap: tap.Link().Name, MAC: messages.MAC{2, 0, 0, 0, 0, end}, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 90, 0, end})}}
	k.stations = append(k.stations, s)
	k.up()
	return s
}

// A tapPort is a station whose frames the benchmark has.
type tapPort struct {
	b *testing.B
	bridge.Station
	file *os.File
}

func (k *kernelNet) port(end byte) tapPort {
	s := k.station(end)
	return tapPort{k.b, s, netns.OpenPort(k.b, s.Tap).File()}
}

func (k *kernelNet) machine(end byte) *machine {
	s := k.station(end)
	return newMachine(k.b, netns.OpenPort(k.b, s.Tap).File(), s.MAC, netip.PrefixFrom(s.Addresses[0], k.Gateway.Bits()), k.Gateway.Addr())
}

// unikernel starts one that answers datagrams.
func (k *kernelNet) unikernel(end byte) bridge.Station {
	s := k.station(end)
	dir := k.b.TempDir()
	require.NoError(k.b, programs.Build(dir, "albatross-tender"))
	start(k.b, exec.Command(filepath.Join(dir, "albatross-tender"), "spt", "--mem=16", "--net:service="+s.Tap, "--net-mac:service="+s.MAC.String(),
		"--", guests.Write(k.b, dir, "web", "spt"), fmt.Sprintf("--ipv4=%s/24", s.Addresses[0]), "--ipv4-gateway=10.90.0.1"))
	return s
}

// askFromHost exchanges datagrams with a unikernel.
func (k *kernelNet) askFromHost(s bridge.Station) time.Duration {
	c, err := net.Dial("udp4", s.Addresses[0].String()+":7")
	require.NoError(k.b, err)
	defer func() { _ = c.Close() }()
	return exchange(k.b, c)
}

// teach makes a port and its bridge know each other. The first frames are often lost.
func (p tapPort) teach(about bridge.Station) {
	p.b.Helper()
	question := station.ARP(p.MAC, p.Addresses[0], about.Addresses[0])
	for end := time.Now().Add(patience); ; {
		_, err := p.file.Write(question)
		require.NoError(p.b, err)
		if p.learnt(about) {
			return
		}
		require.True(p.b, time.Now().Before(end), "the bridge does not know %s", about.MAC)
		time.Sleep(10 * time.Millisecond)
	}
}

// learnt reports whether the bridge knows where both are.
func (p tapPort) learnt(other bridge.Station) bool {
	list, err := netlink.NeighList(0, unix.AF_BRIDGE)
	require.NoError(p.b, err)
	found := 0
	for _, n := range list {
		if n.HardwareAddr.String() == p.MAC.String() || n.HardwareAddr.String() == other.MAC.String() {
			found++
		}
	}
	return found >= 2
}

// exchange sends a frame and waits for the answer, again and again.
func (p tapPort) exchange(frame []byte) time.Duration {
	p.drain()
	require.NoError(p.b, p.file.SetReadDeadline(time.Now().Add(timeLimit)))
	buffer := make([]byte, longestFrame)
	begin := time.Now()
	for range roundTrips {
		_, err := p.file.Write(frame)
		require.NoError(p.b, err)
		for answered := false; !answered; {
			n, err := p.file.Read(buffer)
			require.NoError(p.b, err)
			answered = n == len(frame)
		}
	}
	return time.Since(begin)
}

// drain reads what has arrived before.
func (p tapPort) drain() {
	require.NoError(p.b, p.file.SetReadDeadline(time.Now().Add(time.Millisecond)))
	for buffer := make([]byte, longestFrame); ; {
		if _, err := p.file.Read(buffer); err != nil {
			return
		}
	}
}

// bursts sends many frames, so many at a time as a tap certainly holds.
func (p tapPort) bursts(to tapPort, frame []byte) time.Duration {
	const burst, times = 64, 200
	to.drain()
	require.NoError(p.b, to.file.SetReadDeadline(time.Now().Add(timeLimit)))
	buffer := make([]byte, longestFrame)
	begin := time.Now()
	for range times {
		for range burst {
			_, err := p.file.Write(frame)
			require.NoError(p.b, err)
		}
		for arrived := 0; arrived < burst; {
			n, err := to.file.Read(buffer)
			require.NoError(p.b, err)
			if n == len(frame) {
				arrived++
			}
		}
	}
	return time.Since(begin)
}
