package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/test/netns"
)

// nobody is an ordinary user, as whom a daemon makes networks in user mode.
const nobody = 65534

// onBothBackends runs a test with a daemon that is root, and with one that is not.
func onBothBackends(t *testing.T, test func(t *testing.T, h *host)) {
	for title, user := range map[string]int{"kernel": 0, "user": nobody} {
		t.Run(title, func(t *testing.T) {
			withBridges(t)
			h := emptyHost(t)
			h.user = user
			t.Cleanup(func() {
				if !t.Failed() {
					h.until("all processes of networks end", func() bool { return len(networkProcesses(h)) == 0 })
				}
			})
			h.start()
			test(t, h)
		})
	}
}

// networkProcesses returns the processes of the networks of a host.
func networkProcesses(h *host) (pids []int) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(h.t, err)
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(line), "albatross-network\x00") || !strings.Contains(string(line), h.path("db", "network")+"/") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		require.NoError(h.t, err)
		pids = append(pids, pid)
	}
	return pids
}

// networkDirs returns the directories of the processes of networks.
func (h *host) networkDirs() (names []string) {
	entries, err := os.ReadDir(h.path("db", "network"))
	require.NoError(h.t, err)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// control gives a command on the control socket. It returns the refusal.
func (h *host) control(name string, command messages.Command) error {
	h.t.Helper()
	c, err := client.Dial(context.Background(), h.socket("control"))
	require.NoError(h.t, err)
	defer c.Close()
	return c.Do(context.Background(), parse(h.t, name), command)
}

func (h *host) makeNetwork(name string, asked messages.NetworkAsk) {
	h.t.Helper()
	require.NoError(h.t, h.control(name, messages.NetworkCreate{Asked: asked}))
}

// removeNetwork removes a network, of which nothing may be left.
func (h *host) removeNetwork(name string) {
	h.t.Helper()
	require.NoError(h.t, h.control(name, messages.NetworkRemove{}))
	bridge, err := messages.BridgeOf(parse(h.t, name))
	require.NoError(h.t, err)
	require.NoDirExists(h.t, h.path("db", "network", bridge))
	_, err = netlink.LinkByName(bridge)
	require.ErrorAs(h.t, err, new(netlink.LinkNotFoundError))
}

func (h *host) network(name string) messages.NetworkStatus {
	h.t.Helper()
	c, err := client.Dial(context.Background(), h.socket("control"))
	require.NoError(h.t, err)
	defer c.Close()
	list, err := c.Networks(context.Background(), parse(h.t, name))
	require.NoError(h.t, err)
	require.Len(h.t, list, 1)
	return list[0]
}

func (h *host) deploy(name string, c messages.Config) {
	h.t.Helper()
	require.NoError(h.t, h.tryDeploy(name, c))
}

func (h *host) tryDeploy(name string, c messages.Config) error {
	h.t.Helper()
	return h.control(name, messages.UnikernelDeploy{Create: create(c)})
}

// web returns a unikernel that serves HTTP on a network, with published ports.
func web(network string, publish ...messages.Publication) messages.Config {
	c := guest("web")
	c.Networks = []messages.Network{{Name: "service", Bridge: messages.Some(network)}}
	c.Publish = publish
	return c
}

// freePort returns a TCP port of the host that nobody uses.
func freePort(t *testing.T) uint16 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// get returns what is served at a port of this host.
func get(port uint16) (string, error) {
	c := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// untilServed waits until a unikernel serves at a port: it needs a moment to get its address.
func (h *host) untilServed(port uint16, text string) {
	h.t.Helper()
	h.until("it serves", func() bool {
		answer, err := get(port)
		return err == nil && strings.HasPrefix(answer, text+"\n")
	})
}

func requireServed(t *testing.T, port uint16, text string) {
	t.Helper()
	answer, err := get(port)
	require.NoError(t, err)
	require.Equal(t, text, strings.SplitN(answer, "\n", 2)[0])
}

// TestANamedNetwork: unikernels get their addresses, find each other by name, and are reached at
// published ports, whichever daemon runs, and while none does.
func TestANamedNetwork(t *testing.T) {
	onBothBackends(t, func(t *testing.T, h *host) {
		h.makeNetwork("a:net", messages.NetworkAsk{})
		tcp, udp := messages.Publication{From: freePort(t), To: 80}, messages.Publication{UDP: true, From: freePort(t), To: 7}
		h.deploy("a:web", web("a.net", tcp, udp))
		h.untilServed(tcp.From, "web")
		fetch := web("a.net")
		fetch.Argv = messages.Some([]string{"--fetch=a.web.a.net.internal"})
		f := h.subscribe("other", 0)
		h.deploy("other", fetch)
		on := h.network("a:net").Stations
		require.Len(t, on, 2)
		require.Equal(t, "address "+on[0].Addresses[0].String(), f.line())
		require.Equal(t, "a.web.a.net.internal is "+on[1].Addresses[0].String(), f.line())
		require.Equal(t, "HTTP/1.1 200 OK", f.line())
		require.Equal(t, []messages.Publication{tcp, udp}, on[1].Publish)
		requireUDPEcho(t, udp.From)

		open, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", tcp.From))
		require.NoError(t, err)
		defer open.Close()
		h.kill()
		requireServed(t, tcp.From, "web")
		_, err = io.WriteString(open, "GET / HTTP/1.1\r\n\r\n")
		require.NoError(t, err)
		first, err := bufio.NewReader(open).ReadString('\n')
		require.NoError(t, err, "a connection from before")
		require.Equal(t, "HTTP/1.1 200 OK\r\n", first)

		h.start()
		require.Equal(t, on, h.network("a:net").Stations)
		requireServed(t, tcp.From, "web")
		requireUDPEcho(t, udp.From)
		require.ErrorContains(t, h.control("a:net", messages.NetworkRemove{}), "cannot remove network a:net: :other, a:web use it: destroy them first")

		h.requireText("created unikernel", "a:web", messages.UnikernelRestart{Form: messages.RestartSame})
		h.untilServed(tcp.From, "web")
		require.Equal(t, on, h.network("a:net").Stations, "a restart changes no address")
		h.destroyAll()
		require.Empty(t, h.network("a:net").Stations)
		_, err = get(tcp.From)
		require.Error(t, err)
		h.removeNetwork("a:net")
	})
}

func requireUDPEcho(t *testing.T, port uint16) {
	t.Helper()
	c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "hello")
	require.NoError(t, err)
	answer := make([]byte, 10)
	n, err := c.Read(answer)
	require.NoError(t, err)
	require.Equal(t, "hello", string(answer[:n]))
}

// TestTheProcessOfANetworkIsKilled: it is started again, and unikernels go on.
func TestTheProcessOfANetworkIsKilled(t *testing.T) {
	onBothBackends(t, func(t *testing.T, h *host) {
		h.makeNetwork("net", messages.NetworkAsk{})
		tcp := messages.Publication{From: freePort(t), To: 80}
		h.deploy("web", web("net", tcp))
		h.untilServed(tcp.From, "web")
		pid := h.pid("web")
		old := networkProcesses(h)
		require.Len(t, old, 1)
		require.NoError(t, unix.Kill(old[0], unix.SIGKILL))
		h.until("another one serves", func() bool { now := networkProcesses(h); return len(now) == 1 && now[0] != old[0] })
		h.untilServed(tcp.From, "web")
		require.Equal(t, pid, h.pid("web"))
		more := messages.Publication{From: freePort(t), To: 80}
		h.until("it can be told more", func() bool { return h.control("web", messages.PublishAdd{Publication: more}) == nil })
		requireServed(t, more.From, "web")
		h.destroyAll()
		h.removeNetwork("net")
	})
}

// TestNetworksAfterAReboot: all that the machine had is gone, and the database is there.
func TestNetworksAfterAReboot(t *testing.T) {
	onBothBackends(t, func(t *testing.T, h *host) {
		h.makeNetwork("net", messages.NetworkAsk{})
		tcp := messages.Publication{From: freePort(t), To: 80}
		again := web("net", tcp)
		again.Fail = messages.FailBehaviour{Restart: true}
		h.deploy("web", again)
		h.untilServed(tcp.From, "web")
		h.untilStored()
		before := h.network("net")
		h.wipe()
		for _, pid := range networkProcesses(h) {
			require.NoError(t, unix.Kill(pid, unix.SIGKILL))
		}
		if link, err := netlink.LinkByName("net"); err == nil {
			require.NoError(t, netlink.LinkDel(link))
		}
		h.start()
		h.untilServed(tcp.From, "web")
		require.Equal(t, before, h.network("net"))
		h.destroyAll()
		h.removeNetwork("net")
	})
}

// TestPublishedPorts come and go while a unikernel runs, and are on record.
func TestPublishedPorts(t *testing.T) {
	onBothBackends(t, func(t *testing.T, h *host) {
		h.makeNetwork("net", messages.NetworkAsk{})
		one, two := messages.Publication{From: freePort(t), To: 80}, messages.Publication{From: freePort(t), To: 80}
		h.deploy("web", web("net"))
		require.NoError(t, h.control("web", messages.PublishAdd{Publication: one}))
		h.untilServed(one.From, "web")
		require.ErrorContains(t, h.control("web", messages.PublishAdd{Publication: one}), "is published already")
		require.NoError(t, h.control("web", messages.PublishAdd{Publication: two}))
		requireServed(t, two.From, "web")
		require.NoError(t, h.control("web", messages.PublishRemove{Publication: one}))
		_, err := get(one.From)
		require.Error(t, err)
		require.ErrorContains(t, h.control("web", messages.PublishRemove{Publication: one}), "is not published")
		h.kill()
		h.start()
		requireServed(t, two.From, "web")
		require.Equal(t, []messages.Publication{two}, h.network("net").Stations[0].Publish)

		busy, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", one.From))
		require.NoError(t, err)
		defer busy.Close()
		require.ErrorContains(t, h.control("web", messages.PublishAdd{Publication: one}), fmt.Sprintf("port %d is in use on the host", one.From))
		require.ErrorContains(t, h.tryDeploy("new", web("net", one)), fmt.Sprintf("port %d is in use on the host", one.From))
		require.Empty(t, h.infos("new"))
		require.ErrorContains(t, h.tryDeploy("new", web("net", two)), "it leads to another unikernel")

		// A native message says nothing of ports, and they stay.
		h.requireText("created unikernel", "web", messages.UnikernelCreate{Form: 5, Force: true, Config: web("net")})
		h.untilServed(two.From, "web")
		h.deploy("force", web("net"))
		require.NoError(t, h.control("web", messages.UnikernelDeploy{Create: messages.UnikernelCreate{Form: 5, Force: true, Config: web("net")}}))
		_, err = get(two.From)
		require.Error(t, err, "our message says that there is none")
		h.destroyAll()
		h.removeNetwork("net")
	})
}

// TestStoppedOnANetwork: what is stopped keeps its address and its ports, which are not open, also over
// a reboot.
func TestStoppedOnANetwork(t *testing.T) {
	onBothBackends(t, func(t *testing.T, h *host) {
		h.makeNetwork("net", messages.NetworkAsk{})
		one, two := messages.Publication{From: freePort(t), To: 80}, messages.Publication{From: freePort(t), To: 80}
		h.deploy("web", web("net", one))
		h.untilServed(one.From, "web")
		before := h.network("net").Stations
		require.NoError(t, h.control("web", messages.StopRequest{}))
		again := []func(){
			func() {},
			func() { h.kill(); h.start() },
			func() {
				h.wipe()
				for _, pid := range networkProcesses(h) {
					require.NoError(t, unix.Kill(pid, unix.SIGKILL))
				}
				h.start()
			},
		}
		for _, then := range again {
			then()
			require.Empty(t, h.infos("web"))
			_, err := get(one.From)
			require.Error(t, err)
			require.Equal(t, before, h.network("net").Stations)
			require.ErrorContains(t, h.tryDeploy("new", web("net", one)), "it leads to another unikernel")
			require.ErrorContains(t, h.control("net", messages.NetworkRemove{}), ":web uses it")
		}
		require.NoError(t, h.control("web", messages.PublishAdd{Publication: two}))
		_, err := get(two.From)
		require.Error(t, err)
		require.NoError(t, h.control("web", messages.StartRequest{}))
		h.untilServed(one.From, "web")
		requireServed(t, two.From, "web")
		require.Equal(t, before[0].Addresses, h.network("net").Stations[0].Addresses)

		require.NoError(t, h.control("web", messages.StopRequest{}))
		require.NoError(t, h.control("web", messages.RenameRequest{To: parse(t, "org:site")}))
		require.NoError(t, h.control("org:site", messages.StartRequest{}))
		h.untilServed(one.From, "site")
		now := h.network("net").Stations
		require.Equal(t, "org:site", now[0].Unikernel.String())
		require.Equal(t, before[0].MAC, now[0].MAC)
		require.Equal(t, before[0].Addresses, now[0].Addresses)
		h.destroyAll()
		h.removeNetwork("net")
	})
}

// TestAddresses: those that are asked for, given as arguments, and none left.
func TestAddresses(t *testing.T) {
	onBothBackends(t, func(t *testing.T, h *host) {
		h.makeNetwork("small", messages.NetworkAsk{Subnet: netip.MustParsePrefix("10.99.0.0/30")})
		tcp := messages.Publication{From: freePort(t), To: 80}
		static := web("small", tcp)
		static.Networks[0].Static = true
		f := h.subscribe("web", 0)
		h.deploy("web", static)
		require.Equal(t, "address 10.99.0.2", f.line(), "the only one")
		requireServed(t, tcp.From, "web")
		require.ErrorContains(t, h.tryDeploy("more", web("small")), "cannot use network :small: all addresses of its subnet 10.99.0.0/30 are taken")
		h.requireText("destroyed unikernel", "web", messages.UnikernelDestroy{})
		asked := web("small")
		asked.Networks[0].IP = messages.Some(netip.MustParseAddr("10.99.0.1"))
		require.ErrorContains(t, h.tryDeploy("more", asked), "cannot use the address 10.99.0.1: no unikernel on network :small can have it")
		h.removeNetwork("small")
	})
}

// TestNetworksThatCannotBeMade leave nothing.
func TestNetworksThatCannotBeMade(t *testing.T) {
	onBothBackends(t, func(t *testing.T, h *host) {
		for what, c := range map[string]struct {
			asked messages.NetworkAsk
			text  string
		}{
			"a backend that does not exist": {messages.NetworkAsk{Backend: "magic"}, `there is no backend "magic" (give kernel or user)`},
			"an address as a subnet":        {messages.NetworkAsk{Subnet: netip.MustParsePrefix("10.99.0.7/24")}, "10.99.0.7/24 is an address in a subnet: give the subnet, 10.99.0.0/24"},
			"a gateway elsewhere":           {messages.NetworkAsk{Subnet: netip.MustParsePrefix("10.99.0.0/24"), Gateway: netip.MustParseAddr("10.98.0.1")}, "its gateway 10.98.0.1 is not in its subnet 10.99.0.0/24"},
			"an IPv6 subnet for IPv4":       {messages.NetworkAsk{Subnet: netip.MustParsePrefix("fd00::/64")}, "is no IPv4 subnet"},
			"a large IPv6 subnet":           {messages.NetworkAsk{Subnet6: netip.MustParsePrefix("fd00::/48")}, "one of 64 bits is needed"},
			"a tiny MTU":                    {messages.NetworkAsk{MTU: 100}, "MTU"},
			"a huge MTU":                    {messages.NetworkAsk{MTU: 100_000}, "MTU"},
		} {
			require.ErrorContains(t, h.control("net", messages.NetworkCreate{Asked: c.asked}), c.text, what)
		}
		require.ErrorContains(t, h.control("a-name-that-is-long", messages.NetworkCreate{}), "cannot name a network")
		require.Empty(t, h.networkDirs())
		require.Empty(t, networkProcesses(h))
		if h.user == 0 {
			addressed(t, "theirs", "192.0.2.1/24")
			require.ErrorContains(t, h.control("net", messages.NetworkCreate{Asked: messages.NetworkAsk{Subnet: netip.MustParsePrefix("192.0.2.128/25")}}),
				"its subnet 192.0.2.128/25 overlaps 192.0.2.0/24 of interface theirs: choose another with --subnet")
			require.ErrorContains(t, h.control("theirs", messages.NetworkCreate{}), "theirs")
		} else {
			require.ErrorContains(t, h.control("net", messages.NetworkCreate{Asked: messages.NetworkAsk{Backend: messages.KernelNetwork}}), "cannot make network :net")
		}
	})
}

// addressed makes a bridge of somebody else, with an address.
func addressed(t *testing.T, name, address string) {
	netns.Bridge(t, name)
	link, err := netlink.LinkByName(name)
	require.NoError(t, err)
	parsed, err := netlink.ParseAddr(address)
	require.NoError(t, err)
	require.NoError(t, netlink.AddrAdd(link, parsed))
}

// TestPoliciesOfNamedNetworks allow them under the name of the bridge.
func TestPoliciesOfNamedNetworks(t *testing.T) {
	onBothBackends(t, func(t *testing.T, h *host) {
		h.makeNetwork("one", messages.NetworkAsk{})
		h.makeNetwork("two", messages.NetworkAsk{})
		h.requireText("added policy", "t:", messages.PolicyAdd{Policy: messages.Policy{Unikernels: 2, CPUIDs: []int{0}, Memory: 64, Bridges: []string{"one"}}})
		require.ErrorContains(t, h.tryDeploy("t:web", web("two")), "bridges two not allowed by policy")
		h.deploy("t:web", web("one"))
		h.destroyAll()
		h.removeNetwork("one")
		h.removeNetwork("two")
	})
}

// TestNetworksOfALostDatabase are removed.
func TestNetworksOfALostDatabase(t *testing.T) {
	onBothBackends(t, func(t *testing.T, h *host) {
		h.makeNetwork("net", messages.NetworkAsk{})
		require.NoError(t, h.stop())
		h.killKeeper()
		require.NoError(t, os.Remove(h.path("db", "state.db")))
		h.start()
		h.until("its process ends", func() bool { return len(networkProcesses(h)) == 0 })
		require.Empty(t, h.networkDirs())
		_, err := netlink.LinkByName("net")
		require.ErrorAs(t, err, new(netlink.LinkNotFoundError))
	})
}

// TestTheBridgeOfANetworkIsRemoved by hand: it is made again, and unikernels go on.
func TestTheBridgeOfANetworkIsRemoved(t *testing.T) {
	withBridges(t)
	h := newHost(t)
	h.makeNetwork("net", messages.NetworkAsk{})
	tcp := messages.Publication{From: freePort(t), To: 80}
	h.deploy("web", web("net", tcp))
	h.untilServed(tcp.From, "web")
	pid := h.pid("web")
	link, err := netlink.LinkByName("net")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkDel(link))
	h.untilServed(tcp.From, "web")
	require.Equal(t, pid, h.pid("web"))
	late := messages.Publication{From: freePort(t), To: 80}
	h.deploy("late", web("net", late))
	h.untilServed(late.From, "late") // which has its address by DHCP on the new bridge
	h.destroyAll()
	h.removeNetwork("net")
}

// TestDaemonAndNetworkAreKilled at the same time: unikernels go on, and are on their network again.
func TestDaemonAndNetworkAreKilled(t *testing.T) {
	onBothBackends(t, func(t *testing.T, h *host) {
		h.makeNetwork("net", messages.NetworkAsk{})
		tcp := messages.Publication{From: freePort(t), To: 80}
		h.deploy("web", web("net", tcp))
		h.untilServed(tcp.From, "web")
		h.untilStored()
		pid := h.pid("web")
		h.kill()
		for _, pid := range networkProcesses(h) {
			require.NoError(t, unix.Kill(pid, unix.SIGKILL))
		}
		h.until("its process has ended", func() bool { return len(networkProcesses(h)) == 0 })
		h.start()
		h.untilServed(tcp.From, "web")
		require.Equal(t, pid, h.pid("web"))
		h.destroyAll()
		h.removeNetwork("net")
	})
}
