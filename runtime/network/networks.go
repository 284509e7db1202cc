// Package network owns the named networks of this machine: what each is made of, and which
// devices of unikernels are plugged into it.
//
// A network is a bridge of the kernel (package bridge) or a process (package usernet). Either way
// a process of its own serves it: DHCP, DNS and the ports of the host that lead to it (package
// process). All of that outlives the daemon. The next one calls Up, which takes over what is there
// and adds what is missing.
//
// A device is plugged into a network for one run of its unikernel, before that starts.
package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/bridge"
	"albatross/runtime/failpoint"
	"albatross/runtime/netif"
	"albatross/runtime/network/hold"
	"albatross/runtime/network/process"
	"albatross/runtime/network/wire"
	"albatross/runtime/tender"
)

// A Station is a network device of a unikernel on a network.
type Station struct {
	Unikernel messages.Name
	MAC       messages.MAC
	Addresses []netip.Addr
	Rate      int64                  // bytes per second that it may send; 0: any number
	Publish   []messages.Publication // ports of the host that lead to it
	Tap       messages.Link          // of a network of the kernel, once there is one
	// Device and Process are of a unikernel that a former daemon has started: the name in the
	// manifest, and its tender.
	Device  string
	Process messages.Process
}

// A Plug is what a tender gets of a network: a tap, or a pair of sockets.
type Plug struct {
	Tap  *netif.Tap
	Pair *tender.Pair
	MTU  int // of a pair

	network *live    // nil: it is plugged into no named network
	station *plugged // in that
}

// Networks are the named networks of this machine. Goroutines may use them concurrently.
type Networks struct {
	dir     string // of what the processes have
	program string // albatross-network
	build   string // of this daemon
	kernel  *bridge.Backend
	log     *slog.Logger

	mu   sync.Mutex
	live map[string]*live          // by the name of the bridge
	on   map[messages.Name][]place // where a unikernel is plugged in
}

// New returns the networks of a daemon. Below dir, each process has a directory, and beside these
// is noted what was changed for interfaces of the host.
func New(dir, program, build string, log *slog.Logger) *Networks {
	return &Networks{
		dir: dir, program: program, build: build, kernel: bridge.New(dir), log: log,
		live: map[string]*live{}, on: map[messages.Name][]place{},
	}
}

// Close frees the connections to the kernel and to processes. The networks go on. No method may be
// called any more.
func (n *Networks) Close() error {
	n.mu.Lock()
	all := slices.Collect(maps.Values(n.live))
	n.mu.Unlock()
	for _, l := range all { // without mu: a network takes that within its own lock
		l.close()
	}
	return n.kernel.Close()
}

// close frees what this program has of a network.
func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.process != nil {
		l.process.Close()
	}
	for _, s := range l.stations {
		if s.end != nil {
			_ = s.end.Close() // it was only kept
		}
	}
}

// A place is a device that is plugged into a network.
type place struct {
	bridge string
	mac    messages.MAC
}

// live is one network, whether it can be used just now or not. Its operations happen one at a time.
type live struct {
	*Networks
	messages.NamedNetwork
	bridge string

	mu       sync.Mutex
	process  *process.Client // nil: none serves it
	stations map[messages.MAC]*plugged
}

// plugged is a station, and the network's end of its pair.
type plugged struct {
	Station
	end *os.File // nil: it has a tap
}

// errAway is about a network whose process has ended, or whose bridge could not be made.
var errAway = errors.New("it cannot be used just now: the daemon is repairing it")

// Spec returns what the network of a bridge is, if that is a named network.
func (n *Networks) Spec(bridge string) (messages.NetworkSpec, bool) {
	l := n.get(bridge)
	if l == nil {
		return messages.NetworkSpec{}, false
	}
	return l.NamedNetwork.Spec, true
}

// get returns a network; nil: there is none of that name.
func (n *Networks) get(bridge string) *live {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.live[bridge]
}

// Up makes a network, or repairs what is there of it. Running are stations of unikernels that a
// former daemon has started, the first time. The channel is closed when the network needs a repair.
func (n *Networks) Up(ctx context.Context, named messages.NamedNetwork, running []Station) (<-chan struct{}, error) {
	name, err := messages.BridgeOf(named.Name)
	if err != nil {
		return nil, err
	}
	l := n.known(name, named, running)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.up(ctx); err != nil {
		return nil, err
	}
	return l.process.Done(), nil
}

// known returns a network, new or not.
func (n *Networks) known(bridge string, named messages.NamedNetwork, running []Station) *live {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.live[bridge]
	if l == nil {
		l = &live{Networks: n, NamedNetwork: named, bridge: bridge, stations: map[messages.MAC]*plugged{}}
		n.live[bridge] = l
		n.takeOver(l, running)
	}
	return l
}

// takeOver plugs in what runs. A second try to make the network must not do that again: some of it has
// ended meanwhile.
func (n *Networks) takeOver(l *live, running []Station) {
	for _, s := range running {
		l.stations[s.MAC] = &plugged{Station: s}
		n.on[s.Unikernel] = append(n.on[s.Unikernel], place{l.bridge, s.MAC})
	}
}

func (l *live) kernelNetwork() bridge.Network {
	s := l.NamedNetwork.Spec
	return bridge.Network{Name: l.bridge, Gateway: s.Gateway, Gateway6: s.Gateway6, MTU: s.MTU, NAT: s.NAT}
}

func (l *live) isKernel() bool { return l.NamedNetwork.Spec.Backend == messages.KernelNetwork }

func (l *live) up(ctx context.Context) error {
	if l.isKernel() {
		stations, forwards := l.kernelStations()
		if err := l.kernel.Up(l.kernelNetwork(), stations, forwards); err != nil {
			return err
		}
		failpoint.Here("network/bridge-up")
		if err := l.attachTaps(); err != nil {
			return err
		}
	}
	if l.process != nil {
		l.process.Close() // it has ended
		l.process = nil
	}
	p, err := l.connect(ctx)
	if err != nil {
		return err
	}
	failpoint.Here("network/process-up")
	if err := l.serve(ctx, p); err != nil {
		p.Close()
		return err
	}
	l.process = p
	failpoint.Here("network/served")
	return nil
}

// attachTaps attaches taps to a bridge that was made again.
func (l *live) attachTaps() error {
	for _, s := range l.stations {
		if s.Tap == (messages.Link{}) {
			continue
		}
		if err := netif.Attach(s.Tap, l.bridge); err != nil {
			return err
		}
	}
	return nil
}

// connect returns the process of the network, new or taken over. One that serves what had this name
// before is ended first: also a bridge that somebody has removed.
func (l *live) connect(ctx context.Context) (*process.Client, error) {
	config, err := l.config()
	if err != nil {
		return nil, err
	}
	p, err := l.dial(ctx, l.bridge)
	if err != nil || p.Known() == (wire.Config{}) || p.Known() == config {
		return p, err
	}
	if err := p.Quit(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return l.dial(ctx, l.bridge)
}

// dial returns the process of a bridge, whatever it serves, or a new one.
func (n *Networks) dial(ctx context.Context, bridge string) (*process.Client, error) {
	return process.Connect(ctx, process.Config{
		Dir: filepath.Join(n.dir, bridge), Bridge: bridge, Program: n.program, Build: n.build,
		Log: func(text string) { n.log.Warn("A network reports trouble", "network", bridge, "text", text) },
	})
}

// config returns what the process has to know of the network.
func (l *live) config() (c wire.Config, err error) {
	s := l.NamedNetwork.Spec
	c = wire.Config{Backend: s.Backend, Name: l.bridge, Gateway: s.Gateway, Gateway6: s.Gateway6, MTU: s.MTU, NAT: s.NAT}
	if l.isKernel() {
		c.Index, err = netif.Index(l.bridge)
	}
	return c, err
}

// kernelStations returns what the kernel has to know of the stations.
func (l *live) kernelStations() (stations []bridge.Station, forwards []bridge.Forward) {
	for _, s := range l.stations {
		stations = append(stations, s.forKernel())
		for _, p := range s.Publish {
			forwards = append(forwards, s.forward(p))
		}
	}
	return stations, forwards
}

func (s Station) forKernel() bridge.Station {
	return bridge.Station{Tap: s.Tap.Name, MAC: s.MAC, Addresses: s.Addresses, Rate: s.Rate}
}

// target returns the address that a publication leads to: one of the same family, if there is one.
func (s Station) target(p messages.Publication) netip.Addr {
	for _, a := range s.Addresses {
		if p.Host.Is6() == a.Is6() {
			return a
		}
	}
	return s.Addresses[0]
}

func (s Station) forward(p messages.Publication) bridge.Forward {
	return bridge.Forward{Publication: p, Target: s.target(p)}
}

func (s Station) forProcess() wire.Station {
	return wire.Station{Name: s.Unikernel.String(), MAC: s.MAC, Addresses: s.Addresses, Rate: s.Rate}
}

// serve makes a process, new or taken over, serve exactly the stations of the network.
func (l *live) serve(ctx context.Context, p *process.Client) error {
	config, err := l.config()
	if err != nil {
		return err
	}
	if err := p.Configure(ctx, config); err != nil {
		return err
	}
	admitted, published, err := p.List(ctx)
	if err != nil {
		return err
	}
	attached := map[messages.MAC]bool{}
	for _, a := range admitted {
		if l.stations[a.Station.MAC] == nil {
			err = errors.Join(err, p.Dismiss(ctx, a.Station.MAC))
		}
		attached[a.Station.MAC] = a.Attached
	}
	for _, held := range published {
		if !l.publishes(held.Publication) {
			err = errors.Join(err, p.Unpublish(ctx, held.Publication))
		}
	}
	if err != nil {
		return err
	}
	for _, s := range l.stations {
		if err := l.serveStation(ctx, p, s, attached[s.MAC]); err != nil {
			return err
		}
	}
	return nil
}

func (l *live) publishes(p messages.Publication) bool {
	for _, s := range l.stations {
		if slices.Contains(s.Publish, p) {
			return true
		}
	}
	return false
}

// serveStation makes a process serve a station that is plugged in. A port that somebody else has
// taken meanwhile costs that port.
func (l *live) serveStation(ctx context.Context, p *process.Client, s *plugged, attached bool) error {
	if err := p.Admit(ctx, s.forProcess()); err != nil {
		return err
	}
	if !l.isKernel() {
		if err := s.attach(ctx, p, attached); err != nil {
			l.log.Error("A unikernel has lost its network until it is started again", "name", s.Unikernel, "network", l.Name, "error", err)
		}
	}
	for _, port := range s.Publish {
		if err := p.Publish(ctx, port, s.target(port)); err != nil {
			l.log.Error("A port is not published any more", "name", s.Unikernel, "network", l.Name, "error", err)
		}
	}
	return nil
}

// attach connects a station with the process, and keeps a copy of the network's end, for the next
// process.
func (s *plugged) attach(ctx context.Context, p *process.Client, attached bool) (err error) {
	switch {
	case attached && s.end == nil:
		s.end, err = p.Descriptor(ctx, s.MAC)
		return err
	case attached:
		return nil
	case s.end == nil: // both have ended
		if s.end, err = tender.NetworkEnd(s.Process, s.Device); err != nil {
			return err
		}
	}
	return p.Attach(ctx, s.MAC, s.end)
}

// Sweep removes what is left of networks that are on no record: their database has been lost, or
// they could not be removed. The errors are for the log.
func (n *Networks) Sweep(ctx context.Context, recorded []messages.NamedNetwork) (errs []error) {
	keep := map[string]bool{}
	for _, r := range recorded {
		if bridge, err := messages.BridgeOf(r.Name); err == nil {
			keep[bridge] = true
		}
	}
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		return []error{fmt.Errorf("cannot look for networks: %w", err)}
	}
	for _, e := range entries {
		if e.IsDir() && !keep[e.Name()] {
			errs = append(errs, n.sweep(ctx, e.Name()))
		}
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// sweep ends the process last: its directory is what is found.
func (n *Networks) sweep(ctx context.Context, name string) error {
	if bridge.Possible() == nil { // otherwise there is none
		if err := n.kernel.Down(name); err != nil {
			return err
		}
	}
	failpoint.Here("network/swept")
	l := &live{Networks: n, bridge: name}
	return l.quit(ctx)
}

// Down removes all of a network. Nothing must be plugged into it.
func (n *Networks) Down(ctx context.Context, named messages.NamedNetwork) error {
	name, err := messages.BridgeOf(named.Name)
	if err != nil {
		return err
	}
	l := n.known(name, named, nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.quit(ctx); err != nil {
		return err
	}
	failpoint.Here("network/process-down")
	if l.isKernel() {
		if err := n.kernel.Down(name); err != nil {
			return err
		}
	}
	failpoint.Here("network/bridge-down")
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.live, name)
	return nil
}

// quit ends the process.
func (l *live) quit(ctx context.Context) error {
	p := l.process
	l.process = nil
	if p == nil {
		var err error
		if p, err = l.dial(ctx, l.bridge); err != nil {
			return err
		}
	}
	defer p.Close()
	return p.Quit(ctx)
}

// Plug plugs a device into a network. After an error, nothing is plugged in.
func (n *Networks) Plug(ctx context.Context, bridge string, s Station) (Plug, error) {
	l := n.get(bridge)
	switch {
	case l == nil:
		return Plug{}, fmt.Errorf("cannot use network %s: there is none", bridge)
	case len(s.Addresses) == 0: // its bridge was somebody else's when the unikernel was created
		return Plug{}, fmt.Errorf("cannot use network %s: the unikernel has no address on it (restart gives it one)", l.Name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.process == nil {
		return Plug{}, fmt.Errorf("cannot use network %s: %w", l.Name, errAway)
	}
	if former := l.stations[s.MAC]; former != nil { // of a run that has ended
		l.unplug(ctx, former)
	}
	plug, station, err := l.plug(ctx, s)
	if err != nil {
		l.unplug(ctx, station)
		return Plug{}, errors.Join(err, plug.Close())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.on[s.Unikernel] = append(n.on[s.Unikernel], place{bridge, s.MAC})
	plug.network, plug.station = l, station
	return plug, nil
}

// Withdraw takes a device that no tender got out of its network, unless another one has its place.
func (p Plug) Withdraw(ctx context.Context) {
	l := p.network
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stations[p.station.MAC] == p.station {
		l.unplug(ctx, p.station)
	}
}

// Close frees what was not passed on to a tender.
func (p Plug) Close() (err error) {
	if p.Tap != nil {
		err = p.Tap.Close()
	}
	if p.Pair != nil {
		err = errors.Join(err, p.Pair.Close())
	}
	return err
}

// plug returns what it has made, also after an error.
func (l *live) plug(ctx context.Context, s Station) (plug Plug, station *plugged, err error) {
	station = &plugged{Station: s}
	l.stations[s.MAC] = station
	if err := l.process.Admit(ctx, s.forProcess()); err != nil {
		return plug, station, err
	}
	if l.isKernel() {
		plug.Tap, err = l.plugTap(station)
	} else {
		plug.MTU = l.NamedNetwork.Spec.MTU
		plug.Pair, err = l.plugPair(ctx, station)
	}
	if err != nil {
		return plug, station, err
	}
	failpoint.Here("network/plugged")
	for _, p := range s.Publish {
		if err := l.publish(ctx, station, p); err != nil {
			return plug, station, err
		}
	}
	return plug, station, nil
}

func (l *live) plugTap(s *plugged) (*netif.Tap, error) {
	tap, err := netif.Create(l.bridge)
	if err != nil {
		return nil, err
	}
	s.Tap = tap.Link()
	return tap, l.kernel.Allow(l.bridge, s.forKernel())
}

func (l *live) plugPair(ctx context.Context, s *plugged) (*tender.Pair, error) {
	pair, err := tender.NewPair()
	if err != nil {
		return nil, err
	}
	if s.end, err = copyOf(pair.Network); err != nil {
		return &pair, err
	}
	return &pair, l.process.Attach(ctx, s.MAC, s.end)
}

func (l *live) publish(ctx context.Context, s *plugged, p messages.Publication) error {
	if err := l.process.Publish(ctx, p, s.target(p)); err != nil {
		return err
	}
	if l.isKernel() {
		return l.kernel.Publish(l.bridge, s.forward(p))
	}
	return nil
}

// Publish publishes another port of a unikernel that is plugged into a network.
func (n *Networks) Publish(ctx context.Context, bridge string, mac messages.MAC, p messages.Publication) error {
	l := n.get(bridge)
	if l == nil {
		return fmt.Errorf("cannot publish port %s: there is no network %s", p, bridge)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stations[mac]
	switch {
	case s == nil: // it does not run, and publishes the port when it is started
		return nil
	case l.process == nil:
		return fmt.Errorf("cannot use network %s: %w", l.Name, errAway)
	}
	if err := l.publish(ctx, s, p); err != nil {
		return errors.Join(err, l.unpublish(ctx, s, p))
	}
	s.Publish = append(slices.Clone(s.Publish), p)
	return nil
}

// Unpublish ends that a port leads to a unikernel.
func (n *Networks) Unpublish(ctx context.Context, bridge string, mac messages.MAC, p messages.Publication) error {
	l := n.get(bridge)
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stations[mac]
	if s == nil {
		return nil
	}
	s.Publish = slices.DeleteFunc(slices.Clone(s.Publish), func(o messages.Publication) bool { return o == p })
	return l.unpublish(ctx, s, p)
}

func (l *live) unpublish(ctx context.Context, s *plugged, p messages.Publication) (err error) {
	if l.isKernel() {
		err = l.kernel.Unpublish(l.bridge, s.forward(p))
		if failed := l.kernel.EndConnections(s.forward(p)); failed != nil {
			l.log.Warn("Connections may go on by a port that is not published any more", "network", l.Name, "port", p, "error", failed)
		}
	}
	if l.process != nil {
		err = errors.Join(err, l.process.Unpublish(ctx, p))
	}
	return err
}

// Unplug takes all devices of a unikernel out of their networks.
func (n *Networks) Unplug(ctx context.Context, unikernel messages.Name) {
	if n == nil {
		return
	}
	n.mu.Lock()
	places := n.on[unikernel]
	delete(n.on, unikernel)
	n.mu.Unlock()
	for _, p := range places {
		if l := n.get(p.bridge); l != nil {
			l.unplugFrom(ctx, p.mac, unikernel)
		}
	}
}

func (l *live) unplugFrom(ctx context.Context, mac messages.MAC, unikernel messages.Name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.stations[mac]; s != nil && s.Unikernel == unikernel {
		l.unplug(ctx, s)
	}
}

// unplug logs what it cannot remove: the next Up does.
func (l *live) unplug(ctx context.Context, s *plugged) {
	delete(l.stations, s.MAC)
	var err error
	for _, p := range s.Publish {
		err = errors.Join(err, l.unpublish(ctx, s, p))
	}
	if l.isKernel() && s.Tap != (messages.Link{}) {
		err = errors.Join(err, l.kernel.Disallow(l.bridge, s.forKernel()))
	}
	if l.process != nil {
		err = errors.Join(err, l.process.Dismiss(ctx, s.MAC))
	}
	if s.end != nil {
		err = errors.Join(err, s.end.Close())
	}
	if err != nil {
		l.log.Error("Cannot take a unikernel out of its network", "name", s.Unikernel, "network", l.Name, "error", err)
	}
	failpoint.Here("network/unplugged")
}

// CheckPorts refuses ports that somebody else uses. Those that lead to the unikernel already are
// its own.
func (n *Networks) CheckPorts(unikernel messages.Name, list []messages.Publication) error {
	for _, p := range list {
		if n.leads(p, unikernel) {
			continue
		}
		held, err := hold.Port(p.UDP, hold.At(p, os.Geteuid() == 0))
		if err != nil {
			return err
		}
		if err := held.Close(); err != nil {
			return err
		}
	}
	return nil
}

// leads reports whether a port leads to a unikernel.
func (n *Networks) leads(p messages.Publication, unikernel messages.Name) bool {
	n.mu.Lock()
	places := slices.Clone(n.on[unikernel])
	n.mu.Unlock()
	for _, at := range places {
		if l := n.get(at.bridge); l != nil && l.publishesFor(at.mac, p) {
			return true
		}
	}
	return false
}

func (l *live) publishesFor(mac messages.MAC, p messages.Publication) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stations[mac]
	return s != nil && slices.ContainsFunc(s.Publish, p.Overlaps)
}

// copyOf returns another descriptor of a file.
func copyOf(f *os.File) (*os.File, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	err = conn.Control(func(of uintptr) { fd, failed = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("cannot copy a descriptor: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
