package e2e

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/netns"
)

// A collector acts as a native albatross-stats beside the daemon, which sends it what runs.
type collector struct {
	t       *testing.T
	conn    *net.UnixConn
	watched map[string]messages.StatsAdd
}

func (h *host) newCollector() *collector {
	h.t.Helper()
	c := &collector{h.t, h.dial("vmmd"), map[string]messages.StatsAdd{}}
	say(h.t, c.conn, ":", messages.StatsInitial{})
	require.Equal(h.t, messages.SuccessEmpty{}, hear(h.t, c.conn).Payload)
	return c
}

// hear reads one command, checks it, and answers it.
func (c *collector) hear() {
	c.t.Helper()
	m := hear(c.t, c.conn)
	name := m.Header.Name.String()
	switch p := m.Payload.(type) {
	case messages.StatsAdd:
		require.NotContains(c.t, c.watched, name)
		c.watched[name] = p
	case messages.StatsRemove:
		require.Contains(c.t, c.watched, name)
		delete(c.watched, name)
	default:
		require.FailNow(c.t, "neither add nor remove", "%T", p)
	}
	require.NoError(c.t, wire.WriteFrame(c.conn, messages.Wire{Header: m.Header, Payload: messages.SuccessText{Text: "done"}}))
}

// TestANativeCollector gets each unikernel with its process and its taps, as they are created and
// destroyed, by whichever daemon.
func TestANativeCollector(t *testing.T) {
	withBridges(t, "service")
	h := newHost(t)
	c := h.newCollector()
	h.create("echo", echo("service"))
	c.hear()
	echoAdded := messages.StatsAdd{PID: h.pid("echo"), Taps: []messages.Tap{{Device: "service", Tap: "vmmtap0"}}}
	require.Equal(t, map[string]messages.StatsAdd{":echo": echoAdded}, c.watched)
	h.create("a:hello", guest("hello", "--quiet"))
	c.hear()
	helloAdded := messages.StatsAdd{PID: h.pid("hello")}
	require.Equal(t, map[string]messages.StatsAdd{":echo": echoAdded, "a:hello": helloAdded}, c.watched)
	h.untilStored()

	for _, end := range []func(){func() { require.NoError(t, h.stop()) }, h.kill} {
		end()
		requireEnds(t, c.conn)
		h.start()
		c = h.newCollector()
		c.hear()
		c.hear()
		require.Equal(t, map[string]messages.StatsAdd{":echo": echoAdded, "a:hello": helloAdded}, c.watched)
	}

	h.requireText("destroyed unikernel", "a:hello", messages.UnikernelDestroy{})
	c.hear()
	require.Equal(t, map[string]messages.StatsAdd{":echo": echoAdded}, c.watched)
	h.requireText("destroyed unikernel", "echo", messages.UnikernelDestroy{})
	c.hear()
	require.Empty(t, c.watched)
}

// TestStatistics: bytes through a tap are counted, under whichever daemon.
func TestStatistics(t *testing.T) {
	withBridges(t, "service")
	h := emptyHost(t)
	h.args = []string{"--interval", "10ms"}
	h.start()
	port := netns.NewPort(t, "service")
	h.create("a:echo", echo("service"))
	mac := h.infos("a:echo")[0].Info.Networks[0].Address()
	h.untilStored()
	received := int64(0)
	for _, end := range []func(){func() {}, func() { require.NoError(t, h.stop()) }, h.kill} {
		end()
		if h.daemon == nil {
			h.start()
		}
		requireEcho(t, port, mac)
		c := h.dial("stat")
		say(t, c, "a:", messages.StatsSubscribe{})
		require.Equal(t, messages.SuccessText{Text: "subscribed"}, hear(t, c).Payload)
		before := received
		h.until("the echo is counted", func() bool {
			m := hear(t, c)
			require.Equal(t, ":echo", m.Header.Name.String())
			counters := m.Payload.(messages.DataStats).IfData
			require.Len(t, counters, 1)
			require.Equal(t, "service", counters[0].Device)
			received = counters[0].InputBytes
			return counters[0].InputBytes > before && counters[0].OutputBytes > before
		})
		require.NoError(t, c.Close())
	}
}
