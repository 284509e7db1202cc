package messages

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A NetworkSpec is a named network that the daemon makes. Unikernels, policies and native
// clients use it under the name of its bridge.
type NetworkSpec struct {
	Backend  NetworkBackend `cbor:"1,keyasint"`
	Gateway  netip.Prefix   `cbor:"2,keyasint"`           // the host's IPv4 address, and the length of the subnet
	Gateway6 netip.Prefix   `cbor:"3,keyasint,omitzero"`  // the same for IPv6; zero: none
	MTU      int            `cbor:"4,keyasint"`           // bytes
	NAT      bool           `cbor:"5,keyasint,omitempty"` // the outside sees the host's address instead of those of unikernels
	Owner    Owner          `cbor:"6,keyasint,omitempty"`
}

// Subnet returns the addresses of the network.
func (s NetworkSpec) Subnet() netip.Prefix { return s.Gateway.Masked() }

// Contains reports whether a unikernel can have an address on the network: that of the gateway,
// and the first and last of an IPv4 subnet, are not for unikernels.
func (s NetworkSpec) Contains(a netip.Addr) bool {
	subnet := s.Subnet()
	return subnet.Contains(a) && a != s.Gateway.Addr() && a != subnet.Addr() && a != Broadcast(subnet)
}

// Broadcast returns the last address of a subnet, which is for broadcasts.
func Broadcast(subnet netip.Prefix) netip.Addr {
	bytes := subnet.Addr().AsSlice()
	for bit := subnet.Bits(); bit < 8*len(bytes); bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(bytes)
	return a
}

// A NetworkAsk is what a client asks of a new network. The daemon chooses what is zero.
type NetworkAsk struct {
	Backend NetworkBackend
	Subnet  netip.Prefix
	Gateway netip.Addr
	Subnet6 netip.Prefix
	MTU     int
	NoNAT   bool
	Owner   Owner
}

// A NamedNetwork is a network with its name.
type NamedNetwork struct {
	Name Name
	Spec NetworkSpec
}

// A NetworkStatus describes a named network for clients.
type NetworkStatus struct {
	Name     Name
	Spec     NetworkSpec
	Trouble  Public // why it cannot be used now; empty: it can
	Stations []NetworkStation
}

// A NetworkStation is a unikernel's device on a named network.
type NetworkStation struct {
	Unikernel Name
	MAC       MAC
	Addresses []netip.Addr
	Publish   []Publication // that lead to it
}

// Between the host and a network.
type (
	// NetworkUp says that a network can be used. It follows the start of its actor, and every
	// repair.
	NetworkUp struct{ Name Name }
	// NetworkTrouble says that a network cannot be used, as long as no NetworkUp follows.
	NetworkTrouble struct {
		Name Name
		Text Public
	}
	// NetworkRepair says that something of a network is missing. NetworkUp or NetworkTrouble
	// follows.
	NetworkRepair struct{}
	// NetworkDown requests the removal of a network from the machine. Answered by NetworkGone.
	NetworkDown struct{ ID uint64 }
	NetworkGone struct {
		ID   uint64
		Name Name
		Err  Public // why something is left; empty: nothing is
	}
)

// A NetworkBackend is what carries the frames of a network, in the word that is stored and
// sent.
type NetworkBackend string

// The backends.
const (
	KernelNetwork NetworkBackend = "kernel" // a bridge and taps, which root makes
	UserNetwork   NetworkBackend = "user"   // a process, as any user can start
)

// BridgeOf returns the name under which policies and unikernels use a network: its labels,
// joined by dots. The error says why it cannot be that of a bridge. It is for clients.
func BridgeOf(network Name) (string, error) {
	if network.IsPath() {
		return "", fmt.Errorf("cannot name a network %s: that is a path", network)
	}
	bridge := strings.ReplaceAll(strings.TrimPrefix(network.String(), ":"), ":", ".")
	if err := CheckInterface(bridge); err != nil {
		return "", fmt.Errorf("cannot name a network %s: %w", network, err)
	}
	return bridge, nil
}

// A Publication is a port of the host that leads to a port of a unikernel.
type Publication struct {
	UDP  bool       `cbor:"1,keyasint,omitempty"` // else TCP
	Host netip.Addr `cbor:"2,keyasint,omitzero"`  // zero: any address of the host
	From uint16     `cbor:"3,keyasint"`           // the port of the host
	To   uint16     `cbor:"4,keyasint"`           // the port of the unikernel
}

// String returns the text form that ParsePublication reads.
func (p Publication) String() string {
	text := fmt.Sprintf("%d:%d", p.From, p.To)
	if p.Host.IsValid() {
		text = fmt.Sprintf("%s:%d", netip.AddrPortFrom(p.Host, p.From), p.To)
	}
	if p.UDP {
		text += "/udp"
	}
	return text
}

// Overlaps reports whether both need the same port of the host.
func (p Publication) Overlaps(other Publication) bool {
	any := !p.Host.IsValid() || !other.Host.IsValid() || p.Host.IsUnspecified() || other.Host.IsUnspecified()
	return p.UDP == other.UDP && p.From == other.From && (any || p.Host == other.Host)
}

// ParsePublication reads [ADDRESS:]PORT:PORT[/tcp|/udp]; an IPv6 address is in brackets. The
// error is for clients.
func ParsePublication(s string) (Publication, error) {
	p, err := parsePublication(s)
	if err != nil {
		return Publication{}, fmt.Errorf("cannot publish %q: %w (give [ADDRESS:]PORT:PORT[/udp], that of the host first)", begin(s), err)
	}
	return p, nil
}

func parsePublication(s string) (p Publication, err error) {
	ports, protocol, given := strings.Cut(s, "/")
	if given && protocol != "tcp" && protocol != "udp" {
		return p, fmt.Errorf("there is no protocol %q", protocol)
	}
	p.UDP = protocol == "udp"
	last := strings.LastIndexByte(ports, ':')
	if last < 0 {
		return p, errors.New("two ports are needed")
	}
	if p.To, err = parsePort(ports[last+1:]); err != nil {
		return p, err
	}
	from := ports[:last]
	if i := strings.LastIndexByte(from, ':'); i >= 0 {
		if p.Host, err = netip.ParseAddr(strings.Trim(from[:i], "[]")); err != nil || p.Host.Zone() != "" {
			return p, fmt.Errorf("%q is no address", from[:i])
		}
		p.Host = p.Host.Unmap()
		from = from[i+1:]
	}
	p.From, err = parsePort(from)
	return p, err
}

func parsePort(s string) (uint16, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is no port (1 to 65535)", s)
	}
	return uint16(port), nil
}
