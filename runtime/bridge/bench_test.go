package bridge

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// population returns many stations, with rates, and a published port each.
func population(n int) (stations []Station, forwards []Forward) {
	for i := range n {
		address := netip.AddrFrom4([4]byte{10, 90, byte(i >> 8), byte(i)})
		stations = append(stations, Station{Tap: fmt.Sprintf("many%d", i), MAC: messages.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)},
			Addresses: []netip.Addr{address, netip.AddrFrom16([16]byte{0xfd, 0, 0, 0x90, 14: byte(i >> 8), 15: byte(i)})}, Rate: 1e6})
		forwards = append(forwards, tcp("", uint16(1000+i), 80, address))
	}
	return stations, forwards
}

func large() Network {
	n := service6()
	n.Gateway = netip.MustParsePrefix("10.90.255.1/16")
	return n
}

// TestAThousandStations: to make the network with all of them is one step, too.
func TestAThousandStations(t *testing.T) {
	w := newWorld(t)
	stations, forwards := population(1000)
	w.up(large(), stations, forwards...)
	text := snapshot(t, t.TempDir())
	for i, s := range stations {
		require.Contains(t, text, fmt.Sprintf("element stations %q", append(name(s.Tap), padded(s.MAC[:])...)))
		require.Contains(t, text, fmt.Sprintf("element rates %q", name(s.Tap)))
		require.Contains(t, text, fmt.Sprintf("element ports %q", append([]byte{6, 0, 0, 0}, padded(port(forwards[i].From))...)))
	}
}

// BenchmarkStation lets a station in, publishes a port of it, and takes both back, beside
// others.
func BenchmarkStation(b *testing.B) {
	for _, others := range []int{10, 1000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			w, change := amongOthers(b, others)
			for b.Loop() {
				change(w)
			}
		})
	}
}

func amongOthers(t testing.TB, others int) (*world, func(*world)) {
	w := newWorld(t)
	stations, forwards := population(others + 1)
	w.up(large(), stations[:others], forwards[:others]...)
	s, f := stations[others], forwards[others]
	return w, func(w *world) {
		require.NoError(t, w.backend.Allow(service.Name, s))
		require.NoError(t, w.backend.Publish(service.Name, f))
		require.NoError(t, w.backend.Unpublish(service.Name, f))
		require.NoError(t, w.backend.Disallow(service.Name, s))
	}
}

// TestAStationCostsTheSameAmongMany: the ratio of the fastest times is far from that of the
// numbers of stations, which is 100.
func TestAStationCostsTheSameAmongMany(t *testing.T) {
	fastest := func(others int) (least time.Duration) {
		least = time.Hour
		t.Run(fmt.Sprint(others), func(t *testing.T) {
			w, change := amongOthers(t, others)
			for range 50 {
				begin := time.Now()
				change(w)
				least = min(least, time.Since(begin))
			}
		})
		return least
	}
	few, many := fastest(10), fastest(1000)
	t.Logf("among 10: %v, among 1,000: %v", few, many)
	require.Less(t, many, 10*few)
}

// BenchmarkUp makes a network that exists.
func BenchmarkUp(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("stations=%d", n), func(b *testing.B) {
			w := newWorld(b)
			stations, forwards := population(n)
			w.up(large(), stations, forwards...)
			for b.Loop() {
				require.NoError(b, w.backend.Up(large(), stations, forwards))
			}
		})
	}
}

// BenchmarkPing sends a datagram from one guest to another and back, beside other networks.
func BenchmarkPing(b *testing.B) {
	for _, networks := range []int{0, 1, 10, 100} {
		b.Run(fmt.Sprintf("networks=%d", networks), func(b *testing.B) {
			w := newWorld(b)
			n := service
			w.up(n, nil)
			one, two := w.allowed(n, 2), w.allowed(n, 3)
			if networks == 0 { // what a bridge costs without any rules
				require.NoError(b, removeTables(n.Name))
			}
			for i := 1; i < networks; i++ {
				more := service
				more.Name, more.Gateway = fmt.Sprintf("more%d", i), netip.MustParsePrefix(fmt.Sprintf("10.91.%d.1/24", i))
				w.up(more, nil)
			}
			two.echoOnly(":53")
			one.Do(func() {
				ask(b, "10.90.0.3:53", "first")
				pingPong(b, "10.90.0.3:53")
			})
		})
	}
}

// echoOnly answers datagrams.
func (s *space) echoOnly(address string) {
	received := s.echo(address)
	drained := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(drained)
		for {
			select {
			case <-received:
			case <-stop:
				return
			}
		}
	}()
	s.t.Cleanup(func() { close(stop); <-drained })
}

func pingPong(b *testing.B, address string) {
	c, err := net.Dial("udp", address)
	require.NoError(b, err)
	defer func() { _ = c.Close() }()
	require.NoError(b, c.SetDeadline(time.Now().Add(10*patience)))
	buffer := make([]byte, 64)
	for b.Loop() {
		_, err := c.Write(buffer)
		require.NoError(b, err)
		_, err = c.Read(buffer)
		require.NoError(b, err)
	}
}
