// Package usernet is a network in user mode, for which no privilege is needed: a switch whose
// ports are sockets that carry one Ethernet frame per message, and a gateway that takes
// connections of the stations to the outside (NAT), and from published ports of the host to
// stations. The switch and the gateway's link are those of gvisor-tap-vsock, the TCP/IP of the
// gateway is that of gVisor.
//
// Stations are hostile. A frame is judged before it enters the switch, and no station makes
// another one wait: what one does not read is lost, and connections, datagrams and frames to
// all have limits for each station.
//
// With IPv6, the network answers itself who asks for a neighbour or a router (neighbours.go): the switch
// passes on no multicast.
package usernet

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"github.com/containers/gvisor-tap-vsock/pkg/tap"
	"github.com/containers/gvisor-tap-vsock/pkg/types"
	"github.com/sirupsen/logrus"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"albatross/messages"
	"albatross/runtime/network/lease"
	"albatross/runtime/network/resolve"
	"albatross/runtime/network/wire"
)

// gatewayNIC is the only interface of the gateway.
const gatewayNIC = 1

// window bounds what the gateway keeps of each direction of a connection, in bytes. A station is
// so near that more makes nothing faster.
const window = 256 << 10

// ErrNotAttached says that a station has no descriptor, or none any more.
var ErrNotAttached = errors.New("it is not attached")

// A Network is one in user mode. Its methods may be called concurrently.
type Network struct {
	config  wire.Config
	judge   judge
	stack   *stack.Stack
	plug    *tap.Switch
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	stations map[messages.MAC]*admitted
	ports    map[messages.MAC]*port
	clients  map[netip.Addr]*client // stations by address
	// neighbours are those with IPv6, by each address, that of their link included.
	neighbours map[netip.Addr]messages.MAC
	published  map[messages.Publication]*publication
}

// New makes a network without stations.
func New(config wire.Config) (*Network, error) {
	if err := config.Check(); err != nil {
		return nil, err
	}
	logrus.SetOutput(io.Discard) // the switch reports there what stations do
	n := &Network{
		config: config, judge: judge{config, gatewayMAC(config)}, plug: tap.NewSwitch(false),
		stations: map[messages.MAC]*admitted{}, ports: map[messages.MAC]*port{}, clients: map[netip.Addr]*client{},
		published: map[messages.Publication]*publication{}, neighbours: map[netip.Addr]messages.MAC{},
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	if err := n.makeStack(); err != nil {
		return nil, fmt.Errorf("cannot make a TCP/IP stack: %w", err)
	}
	if config.Gateway6.IsValid() {
		n.run(n.advertiseRouters)
	}
	return n, nil
}

// gatewayMAC returns that of the gateway: always the same one, which stations may remember when
// the process is started again. It is locally administered.
func gatewayMAC(config wire.Config) messages.MAC {
	sum := sha256.Sum256([]byte(config.Name))
	return messages.MAC{0x02, sum[0], sum[1], sum[2], sum[3], sum[4]}
}

func (n *Network) makeStack() error {
	link, err := tap.NewLinkEndpoint(false, uint32(n.config.MTU), n.judge.gateway.String(), n.config.Gateway.Addr().String(), nil)
	if err != nil {
		return err
	}
	link.Connect(n.plug)
	n.plug.Connect(link)
	n.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	if err := n.configure(link); err != nil {
		n.stack.Destroy()
		return errors.New(err.String())
	}
	n.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(n.stack, window, maxConnecting, n.connect).HandlePacket)
	n.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(n.stack, n.converse).HandlePacket)
	return nil
}

func (n *Network) configure(link stack.LinkEndpoint) tcpip.Error {
	if err := n.stack.CreateNIC(gatewayNIC, link); err != nil {
		return err
	}
	var routes []tcpip.Route
	for _, own := range n.gateways() {
		address := tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(own.Addr().AsSlice()), PrefixLen: own.Bits()}
		err := n.stack.AddProtocolAddress(gatewayNIC, tcpip.ProtocolAddress{Protocol: protocolOf(own.Addr()), AddressWithPrefix: address}, stack.AddressProperties{})
		if err != nil {
			return err
		}
		routes = append(routes, tcpip.Route{Destination: address.Subnet(), NIC: gatewayNIC})
	}
	// The gateway stands for all that is outside.
	if err := n.stack.SetSpoofing(gatewayNIC, true); err != nil {
		return err
	}
	if err := n.stack.SetPromiscuousMode(gatewayNIC, true); err != nil {
		return err
	}
	n.stack.SetRouteTable(routes)
	for _, option := range []tcpip.SettableTransportProtocolOption{
		&tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: window, Max: window},
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: window, Max: window},
	} {
		if err := n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return err
		}
	}
	return nil
}

// gateways returns the addresses of the gateway, and their subnets.
func (n *Network) gateways() []netip.Prefix {
	if !n.config.Gateway6.IsValid() {
		return []netip.Prefix{n.config.Gateway}
	}
	return []netip.Prefix{n.config.Gateway, n.config.Gateway6, netip.PrefixFrom(n.judge.gateway6(), messages.LinkLocal.Bits())}
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// Close ends everything.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	for mac := range n.stations {
		n.dismiss(mac)
	}
	for p := range n.published {
		n.unpublish(p)
	}
	n.mu.Unlock()
	n.stop()
	n.stack.Close() // nothing waits for a station any more
	n.running.Wait()
	n.stack.Destroy()
}

// run runs a function in a goroutine that Close waits for. It returns false after Close.
func (n *Network) run(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runLocked(f)
}

func (n *Network) runLocked(f func()) bool {
	if n.closed {
		return false
	}
	n.running.Go(f)
	return true
}

// Check returns why a station cannot be admitted.
func (n *Network) Check(s wire.Station) error {
	if s.MAC == n.judge.gateway {
		return fmt.Errorf("the MAC address %s is that of the gateway", s.MAC)
	}
	return nil
}

// Admit serves a station that was checked, or changes what one is. Its connections go on if it
// keeps its address.
func (n *Network) Admit(s wire.Station) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := newAdmitted(s, n.config.MTU)
	before := n.stations[s.MAC]
	if before != nil {
		next = before.again(s, n.config.MTU)
	}
	n.stations[s.MAC] = next
	if p := n.ports[s.MAC]; p != nil {
		p.station.Store(next)
	}
	if before != nil {
		for _, a := range before.Addresses {
			if !has(s, a) {
				n.forget(a)
			}
		}
	}
	for _, a := range s.Addresses {
		if n.clients[a] == nil {
			n.meet(a, s.MAC)
		}
	}
	if has6(s) {
		n.neighbours[s.MAC.Address6(messages.LinkLocal)] = s.MAC
	} else {
		delete(n.neighbours, s.MAC.Address6(messages.LinkLocal))
	}
}

// Dismiss ends a station: its connections, and its port.
func (n *Network) Dismiss(mac messages.MAC) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dismiss(mac)
}

func (n *Network) dismiss(mac messages.MAC) {
	if p := n.ports[mac]; p != nil {
		_ = p.Close() // its goroutine ends by this
		delete(n.ports, mac)
	}
	if s := n.stations[mac]; s != nil {
		for _, a := range s.Addresses {
			n.forget(a)
		}
		delete(n.neighbours, mac.Address6(messages.LinkLocal))
		delete(n.stations, mac)
	}
}

// Attach connects a station by the switch's end of a pair of sockets, in place of the former one.
// The descriptor belongs to the network from now on, except after an error.
func (n *Network) Attach(mac messages.MAC, fd int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.stations[mac]
	switch {
	case n.closed:
		return net.ErrClosed
	case s == nil:
		return fmt.Errorf("there is no station %s", mac)
	}
	p, err := n.newPort(s, fd)
	if err != nil {
		return err
	}
	if before := n.ports[mac]; before != nil {
		_ = before.Close() // its goroutine ends by this
	}
	n.ports[mac] = p
	n.runLocked(func() {
		_ = n.plug.Accept(p.ctx, p, types.BessProtocol) // it returns when nobody has the other end any more
		n.detach(p)
	})
	<-p.plugged
	return nil
}

// detach forgets a port that has ended.
func (n *Network) detach(p *port) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = p.Close() // the switch has closed it
	if mac := p.station.Load().MAC; n.ports[mac] == p {
		delete(n.ports, mac)
	}
}

// Descriptor returns another descriptor of the attached one, which belongs to the caller.
func (n *Network) Descriptor(mac messages.MAC) (fd int, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[mac]
	if p == nil {
		return -1, ErrNotAttached
	}
	return p.duplicate()
}

// Tell adds to a station what the network knows of it.
func (n *Network) Tell(a *wire.Admitted) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.stations[a.Station.MAC]; s != nil {
		a.Refused, a.Lost = s.refused.Load(), s.lost.Load()
	}
	a.Attached = n.ports[a.Station.MAC] != nil
}

// ListenDHCP returns the socket of the gateway where stations ask for their addresses.
func (n *Network) ListenDHCP() (net.PacketConn, error) {
	return n.listenPacket(tcpip.FullAddress{NIC: gatewayNIC, Port: lease.ServerPort})
}

// ListenDNS returns those where they ask for names, at an address of the gateway.
func (n *Network) ListenDNS(gateway netip.Addr) (net.PacketConn, net.Listener, error) {
	at := n.address(netip.AddrPortFrom(gateway, resolve.Port))
	conn, err := n.listenPacket(at)
	if err != nil {
		return nil, nil, err
	}
	listener, err := gonet.ListenTCP(n.stack, at, protocolOf(gateway))
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, listener, nil
}

func (n *Network) listenPacket(at tcpip.FullAddress) (net.PacketConn, error) {
	var queue waiter.Queue
	protocol := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber)
	if at.Addr.Len() == header.IPv6AddressSize {
		protocol = ipv6.ProtocolNumber
	}
	ep, err := n.stack.NewEndpoint(udp.ProtocolNumber, protocol, &queue)
	if err != nil {
		return nil, errors.New(err.String())
	}
	ep.SocketOptions().SetBroadcast(true)
	if err := ep.Bind(at); err != nil {
		ep.Close()
		return nil, errors.New(err.String())
	}
	return gonet.NewUDPConn(&queue, ep), nil
}

func (n *Network) address(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: gatewayNIC, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}
}
