// Package wire defines what a daemon and the process of a network say to each other, over one
// connection.
//
// The process, albatross-network, listens at DBDIR/network/BRIDGE/socket, a Unix socket that
// preserves messages (SOCK_SEQPACKET). Each message is one Request or one Answer in CBOR, of at
// most MaxFrame bytes. It may carry a descriptor (SCM_RIGHTS). Each side checks with SO_PEERCRED
// that the other is root or its own user.
//
// The daemon sends requests; the process answers each once, in their order. An Answer with the
// ID 0 answers nothing: its Text is for the log.
//
//	do          with                      answer             what the process does
//	hello       Protocol, Build           Protocol, Build,   nothing
//	                                      Config?
//	configure   Config                                       begins to serve the network; only once
//	admit       Station                                      serves a station, instead of one with the same MAC address
//	dismiss     MAC                                          serves it no more, and closes its descriptor
//	publish     Publication, Target                          holds the port of the host, and forwards it in user mode
//	unpublish   Publication                                  gives the port back, and ends its connections
//	attach      MAC; descriptor                              in user mode: exchanges frames with the station,
//	                                                         through the switch's end of a pair of sockets
//	descriptor  MAC                       descriptor         returns the attached descriptor
//	list        After, Published          Stations,          lists stations and publications, a part at a time
//	                                      Publications, More
//	quit                                                     ends
//
// A process understands hello and quit in every version of the protocol: the keys 1 to 4 of a
// Request, and those of an Answer, never change their meaning. It refuses a hello in another
// version, and changes nothing.
//
// Whatever is repeated has no effect. What the process no longer needs, and does not know, is
// gone already: no error.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"albatross/messages"
	"albatross/runtime/seqpacket"
)

// Protocol is the version of the protocol.
const Protocol = 1

const (
	// MaxFrame bounds a message, in bytes.
	MaxFrame = 32 << 10
	// MaxText bounds a text in a message, in bytes.
	MaxText = 4 << 10
	// MaxAddresses bounds the addresses of a station.
	MaxAddresses = 8
	// PerList bounds the stations and the publications in one Answer.
	PerList = 64
	// MinMTU and MaxMTU bound the MTU of a network, in bytes: each host must accept so
	// many (RFC 791), and IPv4 has no more.
	MinMTU = 576
	MaxMTU = 65535
)

// Taken is the exit code of a process that ends because another one serves the network.
const Taken = 3

// The files in the directory of a process.
const (
	Socket = "socket" // where it listens
	Lock   = "lock"   // locked while it runs
	Crash  = "crash"  // its stack, if it has crashed
	Empty  = "empty"  // its root directory, if root has started it
)

// A Verb says what to do.
type Verb string

const (
	Hello      Verb = "hello"
	Configure  Verb = "configure"
	Admit      Verb = "admit"
	Dismiss    Verb = "dismiss"
	Publish    Verb = "publish"
	Unpublish  Verb = "unpublish"
	Attach     Verb = "attach"
	Descriptor Verb = "descriptor"
	List       Verb = "list"
	Quit       Verb = "quit"
)

// A Config is what a process has to know of its network.
type Config struct {
	Backend  messages.NetworkBackend `cbor:"1,keyasint"`
	Name     string                  `cbor:"2,keyasint"` // of the bridge
	Gateway  netip.Prefix            `cbor:"3,keyasint"`
	Gateway6 netip.Prefix            `cbor:"4,keyasint,omitzero"`
	MTU      int                     `cbor:"5,keyasint"`
	NAT      bool                    `cbor:"6,keyasint,omitempty"`
	// Index is that of the bridge: a process serves one bridge, and not another that has its
	// name later.
	Index int `cbor:"7,keyasint,omitempty"`
}

// A Station is one network device of a unikernel on the network.
type Station struct {
	// Name is that of the unikernel. DNS knows it as its labels, joined by dots; an empty name
	// is not known.
	Name      string       `cbor:"1,keyasint,omitempty"`
	MAC       messages.MAC `cbor:"2,keyasint"`
	Addresses []netip.Addr `cbor:"3,keyasint,omitempty"` // at most one of IPv4
	Rate      int64        `cbor:"4,keyasint,omitempty"` // bytes per second that it may send in user mode; 0: any number
}

// IPv4 returns the address for DHCP, if there is one.
func (s Station) IPv4() (a netip.Addr, found bool) {
	for _, a := range s.Addresses {
		if a.Is4() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// A Request comes from the daemon.
type Request struct {
	ID          uint64               `cbor:"1,keyasint"` // not 0
	Do          Verb                 `cbor:"2,keyasint"`
	Protocol    int                  `cbor:"3,keyasint,omitempty"`
	Build       string               `cbor:"4,keyasint,omitempty"`
	Config      Config               `cbor:"5,keyasint,omitzero"`
	Station     Station              `cbor:"6,keyasint,omitzero"`
	MAC         messages.MAC         `cbor:"7,keyasint,omitzero"`
	Publication messages.Publication `cbor:"8,keyasint,omitzero"`
	Target      netip.Addr           `cbor:"9,keyasint,omitzero"`  // of the unikernel that is published
	After       messages.MAC         `cbor:"10,keyasint,omitzero"` // the last station of the previous part
	Published   int                  `cbor:"11,keyasint,omitzero"` // how many publications the previous parts had
}

// An Answer comes from the process. If the ID is 0, it has a Text for the log.
type Answer struct {
	ID           uint64      `cbor:"1,keyasint"`
	Err          string      `cbor:"2,keyasint,omitempty"` // why the request has failed
	Protocol     int         `cbor:"3,keyasint,omitempty"`
	Build        string      `cbor:"4,keyasint,omitempty"`
	Config       Config      `cbor:"5,keyasint,omitzero"` // zero: there is none yet
	Stations     []Admitted  `cbor:"6,keyasint,omitempty"`
	Publications []Published `cbor:"7,keyasint,omitempty"`
	More         bool        `cbor:"8,keyasint,omitempty"` // another part follows
	Text         string      `cbor:"9,keyasint,omitempty"`
	Descriptors  int         `cbor:"10,keyasint,omitempty"` // how many come with it
}

// An Admitted is a station that is served.
type Admitted struct {
	Station  Station `cbor:"1,keyasint"`
	Attached bool    `cbor:"2,keyasint,omitempty"`
	// Refused counts the frames that the station must not send, and Lost those for which it
	// had no room, since it has been admitted.
	Refused uint64 `cbor:"3,keyasint,omitempty"`
	Lost    uint64 `cbor:"4,keyasint,omitempty"`
}

// A Published is a port that is held.
type Published struct {
	Publication messages.Publication `cbor:"1,keyasint"`
	Target      netip.Addr           `cbor:"2,keyasint"`
}

var codec = seqpacket.NewCodec(MaxFrame, PerList)

// Encode returns the bytes of a message.
func Encode(message any) ([]byte, error) { return codec.Encode(message) }

// Decode reads a message into a pointer to one.
func Decode(frame []byte, message any) error { return codec.Decode(frame, message) }

// Check refuses what no daemon sends.
func (r Request) Check() error {
	if err := r.checkEnvelope(); err != nil {
		return err
	}
	switch r.Do {
	case Configure:
		return r.Config.Check()
	case Admit:
		return r.Station.Check()
	case Dismiss, Attach, Descriptor:
		return r.MAC.Usable()
	case Publish, Unpublish:
		return checkPublication(r.Publication)
	}
	return nil
}

func (r Request) checkEnvelope() error {
	switch {
	case r.ID == 0:
		return errors.New("a request needs an ID")
	case len(r.Build) > MaxText, len(r.Do) > MaxText:
		return errors.New("a text of a request is too long")
	case r.Published < 0:
		return errors.New("a request continues with a negative number")
	}
	return nil
}

// Check returns why a network cannot be served.
func (c Config) Check() error {
	if err := messages.CheckInterface(c.Name); err != nil {
		return err
	}
	switch {
	case c.Backend != messages.KernelNetwork && c.Backend != messages.UserNetwork:
		return fmt.Errorf("there is no kind of network %.20q", string(c.Backend))
	case !c.Gateway.IsValid() || !c.Gateway.Addr().Is4():
		return errors.New("a network needs an IPv4 subnet")
	case !isHost(c.Gateway):
		return fmt.Errorf("%s cannot be the gateway: it is not an address of a host in its subnet", c.Gateway)
	case c.Gateway6.IsValid() && (!c.Gateway6.Addr().Is6() || c.Gateway6.Addr().Is4In6() || c.Gateway6.Addr().Zone() != ""):
		return fmt.Errorf("%s is no IPv6 subnet", c.Gateway6)
	case !c.Gateway6.IsValid() && c.Gateway6 != netip.Prefix{}:
		return errors.New("the IPv6 subnet is not valid")
	case c.Gateway6.IsValid() && c.Gateway6.Bits() != 64:
		return fmt.Errorf("%s is no IPv6 subnet of 64 bits, in which addresses follow from MAC addresses", c.Gateway6)
	case c.MTU < MinMTU || c.MTU > MaxMTU:
		return fmt.Errorf("an MTU of %d bytes cannot be used (%d to %d)", c.MTU, MinMTU, MaxMTU)
	}
	return nil
}

// isHost reports whether the address of an IPv4 prefix can be that of a host: neither the first
// nor the last of its subnet.
func isHost(p netip.Prefix) bool {
	if p.Bits() > 30 {
		return false
	}
	return p.Addr() != p.Masked().Addr() && p.Addr() != messages.Broadcast(p)
}

// Check returns why a station cannot be served on any network.
func (s Station) Check() error {
	if err := s.MAC.Usable(); err != nil {
		return err
	}
	if s.Name != "" {
		if n, err := messages.ParseName(s.Name); err != nil || n.IsPath() {
			return fmt.Errorf("%.100q is not the name of a unikernel", s.Name)
		}
	}
	switch {
	case s.Rate < 0:
		return errors.New("a rate cannot be negative")
	case len(s.Name) > messages.MaxFileName:
		return errors.New("a name is too long")
	case len(s.Addresses) > MaxAddresses:
		return fmt.Errorf("a station has at most %d addresses", MaxAddresses)
	}
	fours := 0
	for _, a := range s.Addresses {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
			return fmt.Errorf("%s cannot be the address of a station", a)
		}
		if a.Is4() {
			fours++
		}
	}
	if fours > 1 {
		return errors.New("a station has one IPv4 address")
	}
	return nil
}

// In returns why a station cannot be on a network.
func (s Station) In(c Config) error {
	for _, a := range s.Addresses {
		switch {
		case a == c.Gateway.Addr() || a == c.Gateway6.Addr():
			return fmt.Errorf("the address %s is that of the gateway", a)
		case a.Is4() && !c.Gateway.Contains(a), a.Is6() && !c.Gateway6.Contains(a):
			return fmt.Errorf("the address %s is not in the subnet of the network", a)
		case a.Is4() && (a == c.Gateway.Masked().Addr() || a == messages.Broadcast(c.Gateway.Masked())):
			return fmt.Errorf("the address %s is not one of a host", a)
		}
	}
	return nil
}

func checkPublication(p messages.Publication) error {
	switch {
	case p.From == 0 || p.To == 0:
		return errors.New("port 0 cannot be published")
	case p.Host.Zone() != "" || p.Host.IsMulticast():
		return fmt.Errorf("a port cannot be published at %s", p.Host)
	}
	return nil
}

// Domain returns the domain of the names on a network, without a dot at its end.
func (c Config) Domain() string { return strings.ToLower(c.Name) + ".internal" }

// Compare orders stations in lists.
func Compare(a, b messages.MAC) int { return bytes.Compare(a[:], b[:]) }
