package chaos

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	made "albatross/runtime/bridge"

	"albatross/messages"
	"albatross/runtime/network/process"
	"albatross/runtime/network/wire"
	"albatross/runtime/proc"
)

// The networks of scenarios, whose bridges have the names n.k and n.u.
var (
	ofKernel = netToMake{backend: messages.KernelNetwork, number: 1, six: true}
	ofUser   = netToMake{backend: messages.UserNetwork, number: 2}
)

// makeNetworks makes a network of each backend.
func (c *caller) makeNetworks() {
	c.makeNetwork("n:k", ofKernel)
	c.makeNetwork("n:u", ofUser)
}

// networkScenarios are those of named networks, of both backends.
var networkScenarios = []scenario{
	{name: "networks", do: func(c *caller) {
		c.makeNetworks()
		c.deploy("web-k", web("n.k", firstPort))
		c.deploy("web-u", web("n.u", firstPort+1))
		c.destroy("web-k")
		c.destroy("web-u")
		c.removeNetwork(parse("n:k"))
		c.removeNetwork(parse("n:u"))
	}},
	{name: "published ports", before: func(c *caller) {
		c.makeNetworks()
		c.deploy("web-k", web("n.k", firstPort))
		c.deploy("web-u", web("n.u"))
	}, do: func(c *caller) {
		k := c.publish("web-k", web("n.k", firstPort), firstPort+1)
		u := c.publish("web-u", web("n.u"), firstPort+2)
		c.unpublish("web-k", k)
		c.unpublish("web-u", u)
		c.publish("web-u", web("n.u"), firstPort+1)
		c.busy(firstPort+3, func() {
			c.refusedBy("control", "web-k", messages.PublishAdd{Publication: at(firstPort + 3)})
			c.refusedBy("control", "new", messages.UnikernelDeploy{
				Create: messages.UnikernelCreate{Form: 5, Config: web("n.u", firstPort+3).config()},
			})
		})
	}},
	{name: "changes on networks", before: func(c *caller) {
		c.makeNetworks()
		c.deploy("web-k", web("n.k", firstPort))
		c.deploy("web-u", web("n.u", firstPort+1))
	}, do: func(c *caller) {
		c.deploy("web-k", web("n.k", firstPort, firstPort+2))
		c.restart("web-u", web("n.u", firstPort+1))
		c.deploy("web-k", web("n.u", firstPort))
		c.refusing("web-u", web("n.u", firstPort+1), run("exit", "1", "10"))
	}},
	{name: "stops on networks", before: func(c *caller) {
		c.makeNetworks()
		c.deploy("web-k", web("n.k", firstPort))
		c.deploy("web-u", web("n.u", firstPort+1))
	}, do: func(c *caller) {
		c.halt("web-k")
		c.halt("web-u")
		c.goOn("web-k", web("n.k", firstPort).state())
		c.goOn("web-u", web("n.u", firstPort+1).state())
	}},
	{name: "networks that cannot be made", do: func(c *caller) {
		c.busyDHCP(func() {
			c.refusedNetwork("n:k", ofKernel)
			c.makeNetwork("n:u", ofUser)
		})
		c.makeNetwork("n:k", ofKernel)
	}},
	{name: "start of networks", before: func(c *caller) {
		c.makeNetworks()
		c.makeNetwork("n:k2", netToMake{backend: messages.KernelNetwork, number: 3})
		c.deploy("web-k", web("n.k", firstPort))
		c.deploy("web-u", web("n.u", firstPort+1))
		c.deploy("again-k", web("n.k", firstPort+2).again())
		c.deploy("again-u", web("n.u", firstPort+3).again())
	}, offline: leaveNetworks, do: func(c *caller) {
		c.deploy("web-k2", web("n.k2", firstPort+4))
	}},
	{name: "ends of processes of networks", before: func(c *caller) {
		c.makeNetworks()
		c.deploy("web-k", web("n.k", firstPort))
		c.deploy("web-u", web("n.u", unservedPorts))
	}, do: func(c *caller) {
		c.endNetworkProcess("n.k")
		c.endNetworkProcess("n.u")
		c.publish("web-k", web("n.k", firstPort), firstPort+1)
		c.publish("web-u", web("n.u", unservedPorts), unservedPorts+1)
	}},
}

// busy does something while somebody else listens at a port of the host.
func (c *caller) busy(port uint16, do func()) {
	var l net.Listener
	var err error
	c.h.space.Do(func() { l, err = net.ListenTCP("tcp4", &net.TCPAddr{Port: int(port)}) })
	require.NoError(c.h.t, err)
	defer l.Close()
	do()
}

// portOfDHCP is where a network serves DHCP.
const portOfDHCP = 67

// busyDHCP does something while somebody else serves DHCP on all interfaces of the host: no
// network of the kernel can.
func (c *caller) busyDHCP(do func()) {
	var l net.PacketConn
	var err error
	c.h.space.Do(func() { l, err = net.ListenUDP("udp4", &net.UDPAddr{Port: portOfDHCP}) })
	require.NoError(c.h.t, err)
	defer l.Close()
	do()
}

// endNetworkProcess kills the process of a network, and waits for the next.
func (c *caller) endNetworkProcess(bridge string) {
	if c.dead {
		return
	}
	before := c.h.networkPIDs()[bridge]
	for _, pid := range before {
		require.NoError(c.h.t, unix.Kill(pid, unix.SIGKILL))
	}
	c.waitFor("the next process of "+bridge, func() bool {
		c.networks() // finds out whether the daemon lives
		now := c.h.networkPIDs()[bridge]
		return len(now) == 1 && !slices.Equal(now, before)
	})
}

// endUnseen kills the process of a unikernel, which nobody notices.
func (h *host) endUnseen(name messages.Name) {
	found := h.processes()[name.Label]
	require.Len(h.t, found, 1)
	require.NoError(h.t, unix.Kill(found[0].PID, unix.SIGKILL))
	h.until("nobody can see any more how it ended", func() bool {
		_, err := proc.Identify(found[0].PID)
		return errors.Is(err, proc.ErrGone)
	})
	h.journal.mayEnd(name)
	h.journal.may(thing{end, name}, unseen)
}

// leaveNetworks harms networks in ways that cost no unikernel its network, ends unikernels that
// are started again, and leaves behind networks that are on no record.
func leaveNetworks(h *host) {
	for _, pid := range h.networkPIDs()["n.k"] {
		require.NoError(h.t, unix.Kill(pid, unix.SIGKILL))
	}
	h.endUnseen(parse("again-k"))
	h.endUnseen(parse("again-u"))
	h.space.Do(func() {
		link, err := netlink.LinkByName("n.k2")
		require.NoError(h.t, err)
		require.NoError(h.t, netlink.LinkDel(link))
	})
	h.leaveNetwork("left.k", messages.KernelNetwork, "10.90.20.1/24")
	h.leaveNetwork("left.u", messages.UserNetwork, "10.90.21.1/24")
}

// leaveNetwork makes a network as a daemon does whose database has been lost.
func (h *host) leaveNetwork(name string, backend messages.NetworkBackend, gateway string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	at := netip.MustParsePrefix(gateway)
	h.space.Do(func() {
		if backend == messages.KernelNetwork {
			kernel := made.New(h.path("db", "network"))
			require.NoError(h.t, kernel.Up(made.Network{Name: name, Gateway: at, MTU: usualMTU}, nil, nil))
		}
		var p *process.Client
		var err error
		withOwnChildren(func() {
			p, err = process.Connect(ctx, process.Config{
				Dir: h.path("db", "network", name), Bridge: name, Program: filepath.Join(h.programs, "albatross-network"), Log: func(string) {},
			})
		})
		require.NoError(h.t, err)
		defer p.Close()
		require.NoError(h.t, p.Configure(ctx, wire.Config{Backend: backend, Name: name, Gateway: at, MTU: usualMTU}))
	})
}
