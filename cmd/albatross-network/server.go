package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/network/hold"
	"albatross/runtime/network/lease"
	"albatross/runtime/network/resolve"
	"albatross/runtime/network/stations"
	"albatross/runtime/network/usernet"
	"albatross/runtime/network/wire"
)

// maxPublications bounds the ports that are held.
const maxPublications = 1024

// A server serves a network. It has none before it is configured.
type server struct {
	bridge   string
	listener *net.UnixListener
	root     bool   // root has started it
	owner    uint32 // the user who has
	upstream []netip.AddrPort
	news     *news

	mu        sync.Mutex // held while a request is carried out
	config    wire.Config
	table     *stations.Table
	user      *usernet.Network // in user mode
	published map[messages.Publication]held
}

// held is a port of the host.
type held struct {
	target netip.Addr
	port   io.Closer // of a network of the kernel
}

func newServer(bridge string, listener *net.UnixListener, root bool) *server {
	return &server{
		bridge: bridge, listener: listener, root: root, owner: uint32(unix.Geteuid()), table: stations.New(),
		news: &news{conns: map[*conn]bool{}}, published: map[messages.Publication]held{},
	}
}

// do carries out a request that was checked. It takes what it keeps from files. The descriptor
// that it returns belongs to the caller; -1: there is none.
func (s *server) do(r wire.Request, files *[]int) (a wire.Answer, given int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	given = -1
	switch r.Do {
	case wire.Hello:
		return s.hello(r)
	case wire.Quit:
		s.unpublishAll() // which are free when the daemon takes this process for ended
		return a, given, nil
	case wire.Configure:
		return a, given, s.configure(r.Config)
	}
	if s.table == nil || s.config == (wire.Config{}) {
		return a, given, errors.New("the network is not configured")
	}
	switch r.Do {
	case wire.Admit:
		err = s.admit(r.Station)
	case wire.Dismiss:
		s.dismiss(r.MAC)
	case wire.Publish:
		if err = s.publish(r.Publication, r.Target); err != nil {
			err = fmt.Errorf("cannot publish %s: %w", r.Publication, err)
		}
	case wire.Unpublish:
		s.unpublish(r.Publication)
	case wire.Attach:
		err = s.attach(r.MAC, files)
	case wire.Descriptor:
		given, err = s.descriptor(r.MAC)
	case wire.List:
		a = s.list(r)
	default:
		err = fmt.Errorf("it is not known how to %.20q", string(r.Do))
	}
	return a, given, err
}

func (s *server) hello(r wire.Request) (wire.Answer, int, error) {
	a := wire.Answer{Protocol: wire.Protocol, Build: version, Config: s.config}
	if r.Protocol != wire.Protocol {
		return a, -1, fmt.Errorf("the process of the network (%s) speaks protocol %d, and the daemon (%s) protocol %d", version, wire.Protocol, r.Build, r.Protocol)
	}
	return a, -1, nil
}

// configure begins to serve the network. If that fails, it may be tried again.
func (s *server) configure(c wire.Config) error {
	switch {
	case c == s.config:
		return nil
	case s.config != (wire.Config{}):
		return errors.New("the network is configured already, in another way")
	case c.Name != s.bridge:
		return fmt.Errorf("this process serves %s, not %s", s.bridge, c.Name)
	}
	sockets, err := s.open(c)
	if err != nil {
		return err
	}
	s.config = c
	s.run(sockets)
	return nil
}

// sockets are where stations ask.
type sockets struct {
	dhcp      net.PacketConn
	dns       []net.PacketConn
	listeners []net.Listener
}

func (s *sockets) close() {
	if s.dhcp != nil {
		_ = s.dhcp.Close()
	}
	for _, c := range s.dns {
		_ = c.Close()
	}
	for _, l := range s.listeners {
		_ = l.Close()
	}
}

func (s *server) open(c wire.Config) (all *sockets, err error) {
	all = new(sockets)
	if c.Backend == messages.UserNetwork {
		err = s.openUser(c, all)
	} else {
		err = s.openKernel(c, all)
	}
	if err != nil {
		all.close()
		return nil, err
	}
	return all, nil
}

// openUser makes the network, whose gateway has the sockets.
func (s *server) openUser(c wire.Config, all *sockets) error {
	n, err := usernet.New(c)
	if err != nil {
		return err
	}
	s.user = n
	for _, gateway := range gateways(c) {
		conn, listener, err := n.ListenDNS(gateway)
		if err != nil {
			return s.closeUser(err)
		}
		all.dns, all.listeners = append(all.dns, conn), append(all.listeners, listener)
	}
	if all.dhcp, err = n.ListenDHCP(); err != nil {
		return s.closeUser(err)
	}
	return nil
}

func (s *server) closeUser(err error) error {
	s.user.Close()
	s.user = nil
	return err
}

// gateways returns the addresses of a network's gateway.
func gateways(c wire.Config) []netip.Addr {
	if !c.Gateway6.IsValid() {
		return []netip.Addr{c.Gateway.Addr()}
	}
	return []netip.Addr{c.Gateway.Addr(), c.Gateway6.Addr()}
}

// openKernel makes the sockets on the bridge.
func (s *server) openKernel(c wire.Config, all *sockets) (err error) {
	at := netip.AddrPortFrom(netip.IPv4Unspecified(), lease.ServerPort)
	if all.dhcp, err = hold.OnDevice(c.Name).ListenPacket(context.Background(), "udp4", at.String()); err != nil {
		return fmt.Errorf("cannot serve DHCP: %w", err)
	}
	for _, gateway := range gateways(c) {
		listener, conn, err := hold.ListenOn(c.Name, netip.AddrPortFrom(gateway, resolve.Port))
		if err != nil {
			return fmt.Errorf("cannot serve DNS: %w", err)
		}
		all.dns, all.listeners = append(all.dns, conn), append(all.listeners, listener)
	}
	return nil
}

// run serves stations for as long as the process runs.
func (s *server) run(all *sockets) {
	leases := lease.New(s.config, s.table)
	s.goOn(func() error { return leases.Serve(all.dhcp) })
	names := resolve.New(s.config, s.table, s.resolvers())
	for _, c := range all.dns {
		s.goOn(func() error { return names.ServeUDP(c) })
	}
	for _, l := range all.listeners {
		s.goOn(func() error { names.ServeTCP(l); return nil })
	}
}

func (s *server) goOn(serve func() error) {
	go func() {
		if err := serve(); err != nil {
			s.news.note(fmt.Sprintf("The process of network %s %v", s.bridge, err))
		}
	}()
}

// resolvers are those of the host, except this network itself.
func (s *server) resolvers() []netip.AddrPort {
	return slices.DeleteFunc(slices.Clone(s.upstream), func(a netip.AddrPort) bool {
		return a.Addr() == s.config.Gateway.Addr() || a.Addr() == s.config.Gateway6.Addr()
	})
}

// admit serves a station.
func (s *server) admit(station wire.Station) error {
	if err := station.In(s.config); err != nil {
		return err
	}
	if s.user != nil {
		if err := s.user.Check(station); err != nil {
			return err
		}
	}
	if err := s.table.Put(station); err != nil {
		return err
	}
	if s.user != nil {
		s.user.Admit(station)
	}
	return nil
}

func (s *server) dismiss(mac messages.MAC) {
	s.table.Remove(mac)
	if s.user != nil {
		s.user.Dismiss(mac)
	}
}

// publish takes a port. In user mode it leads to the target from now on.
func (s *server) publish(p messages.Publication, target netip.Addr) error {
	if !s.config.Gateway.Contains(target) && !s.config.Gateway6.Contains(target) {
		return fmt.Errorf("%s is not an address of the network", target)
	}
	before, known := s.published[p]
	switch {
	case known && before.target == target:
		return nil
	case !known && len(s.published) >= maxPublications:
		return fmt.Errorf("the network has %d published ports already", maxPublications)
	}
	if known && s.user != nil { // the connections to the former target end
		s.unpublish(p)
	}
	next := held{target, before.port}
	at := hold.At(p, s.root)
	var err error
	switch {
	case s.user != nil:
		err = s.user.Publish(p, at, target)
	case !known:
		next.port, err = hold.Port(p.UDP, at)
	}
	if err != nil {
		return err
	}
	s.published[p] = next
	return nil
}

func (s *server) unpublish(p messages.Publication) {
	if s.user != nil {
		s.user.Unpublish(p)
	}
	if port := s.published[p].port; port != nil {
		_ = port.Close()
	}
	delete(s.published, p)
}

func (s *server) unpublishAll() {
	for p := range s.published {
		s.unpublish(p)
	}
}

var errUserOnly = errors.New("the network is one of the kernel, which has taps")

func (s *server) attach(mac messages.MAC, files *[]int) error {
	switch {
	case s.user == nil:
		return errUserOnly
	case len(*files) != 1:
		return fmt.Errorf("there are %d descriptors, not one", len(*files))
	}
	if err := s.user.Attach(mac, (*files)[0]); err != nil {
		return err
	}
	*files = nil
	return nil
}

func (s *server) descriptor(mac messages.MAC) (int, error) {
	if s.user == nil {
		return -1, errUserOnly
	}
	return s.user.Descriptor(mac)
}

// list returns a part of the stations, and one of the publications.
func (s *server) list(r wire.Request) (a wire.Answer) {
	part, more := s.table.After(r.After, wire.PerList)
	for _, station := range part {
		admitted := wire.Admitted{Station: station}
		if s.user != nil {
			s.user.Tell(&admitted)
		}
		a.Stations = append(a.Stations, admitted)
	}
	ports := s.ports()
	begin := min(r.Published, len(ports))
	end := min(begin+wire.PerList, len(ports))
	a.Publications = ports[begin:end]
	a.More = more || end < len(ports)
	return a
}

// ports returns all publications, in an order that stays.
func (s *server) ports() []wire.Published {
	all := make([]wire.Published, 0, len(s.published))
	for p, h := range s.published {
		all = append(all, wire.Published{Publication: p, Target: h.target})
	}
	slices.SortFunc(all, func(a, b wire.Published) int {
		return cmp.Or(cmp.Compare(a.Publication.From, b.Publication.From), cmp.Compare(a.Publication.String(), b.Publication.String()))
	})
	return all
}
