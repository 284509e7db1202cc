package messages

import (
	"crypto/md5" // not for security: it spreads names
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// DefaultStartup is the startup priority of a unikernel without one. Lower ones start
// first.
const DefaultStartup = 50

// Type is the kind of virtual machine an image is for.
type Type int

// The known types; only Solo5 can be run.
const (
	Solo5 Type = iota
	BHyve
)

// String returns the name that listings show.
func (t Type) String() string {
	if t == BHyve {
		return "bhyve"
	}
	return "solo5"
}

// FailBehaviour says what happens when a unikernel exits by itself. The zero value quits.
type FailBehaviour struct {
	Restart bool  `cbor:"1,keyasint,omitempty"`
	Codes   []int `cbor:"2,keyasint,omitempty"` // exit codes that restart, a set; empty: any
}

// A MAC is an Ethernet address.
type MAC [6]byte

// String returns the address with colons.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Usable returns why no device can have the address. The texts are for clients.
func (m MAC) Usable() error {
	switch {
	case m == MAC{}:
		return fmt.Errorf("cannot use the MAC address %s: it is zero", m)
	case m == MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		return fmt.Errorf("cannot use the MAC address %s: it is for broadcasts", m)
	case m[0]&1 != 0:
		return fmt.Errorf("cannot use the MAC address %s: it is for multicasts, as the first byte is odd", m)
	}
	return nil
}

// LinkLocal is the subnet in which each device with IPv6 gives itself an address, to find its
// neighbours.
var LinkLocal = netip.MustParsePrefix("fe80::/64")

// Address6 returns the address in an IPv6 subnet of 64 bits that follows from a MAC address (RFC 4291,
// appendix A). The prefix may have the address of a host in it.
func (m MAC) Address6(subnet netip.Prefix) netip.Addr {
	bytes := subnet.Addr().As16()
	copy(bytes[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return netip.AddrFrom16(bytes)
}

// A Station is a MAC address on a bridge.
type Station struct {
	Bridge string
	MAC    MAC
}

// A BlockDevice connects a block device in an image's manifest to one of the
// host.
type BlockDevice struct {
	Name       string         `cbor:"1,keyasint"`          // in the manifest
	Device     Option[string] `cbor:"2,keyasint,omitzero"` // label on the host; absent: as in the manifest
	SectorSize Option[int]    `cbor:"3,keyasint,omitzero"` // bytes
}

// Of returns the block device of the host for a unikernel: at the path of the unikernel,
// or below it if the device is given with a path. An invalid name belongs to no device.
func (b BlockDevice) Of(owner Name) Name {
	text := b.Device.Or(b.Name)
	name, err := ParseName(string(owner.Path) + ":" + text)
	if err != nil || name.IsPath() {
		return Name{Path: owner.Path, Label: Label(strings.ToLower(text))}
	}
	return name
}

// A Network connects a network device in an image's manifest to a bridge.
type Network struct {
	Name   string         `cbor:"1,keyasint"`          // in the manifest
	Bridge Option[string] `cbor:"2,keyasint,omitzero"` // absent: as in the manifest
	MAC    Option[MAC]    `cbor:"3,keyasint,omitzero"` // absent: derived from the names
	// The rest is for named networks.
	IP     Option[netip.Addr] `cbor:"4,keyasint,omitzero"`  // that it asks for; absent: any free one
	Static bool               `cbor:"5,keyasint,omitempty"` // it gets its address as arguments of MirageOS
	Rate   int64              `cbor:"6,keyasint,omitempty"` // bytes per second that it may send; 0: any
	// Leases are the addresses that it has on the network, assigned by the host.
	Leases []netip.Addr `cbor:"7,keyasint,omitempty"`
}

// OnBridge returns the bridge that the network device is attached to.
func (n Network) OnBridge() string { return n.Bridge.Or(n.Name) }

// Address returns the MAC address of the network device. Without an explicit one it
// follows from the name of its unikernel, so that it stays the same.
func (n Network) Address(owner Name) MAC {
	if n.MAC.OK {
		return n.MAC.Value
	}
	sum := md5.Sum([]byte(n.Name + owner.String()))
	return MAC{0x00, 0x80, 0x41, sum[0], sum[1], sum[2]}
}

// Arguments are all that a unikernel is started with, besides its image.
type Arguments struct {
	Fail      FailBehaviour    `cbor:"1,keyasint,omitzero"`
	Startup   Option[int]      `cbor:"2,keyasint,omitzero"`  // priority; absent: DefaultStartup
	AddName   bool             `cbor:"3,keyasint,omitempty"` // put --name=LABEL before the arguments
	CPUIDs    []int            `cbor:"4,keyasint,omitempty"` // CPUs it is pinned to; a set
	Memory    int              `cbor:"5,keyasint"`           // MB
	Blocks    []BlockDevice    `cbor:"6,keyasint,omitempty"`
	Networks  []Network        `cbor:"7,keyasint,omitempty"`
	Argv      Option[[]string] `cbor:"8,keyasint,omitzero"`
	CPUs      int              `cbor:"9,keyasint,omitempty"` // number of virtual CPUs (bhyve); default 1
	LinuxBoot Option[string]   `cbor:"10,keyasint,omitzero"`
	Publish   []Publication    `cbor:"11,keyasint,omitempty"` // ports of the host that lead to its first network device
	// Health is how its health is checked after each start; absent: not at all.
	Health Option[HealthCheck] `cbor:"12,keyasint,omitzero"`
	// Origin is where its image is from; absent: nobody has said.
	Origin Option[Origin] `cbor:"13,keyasint,omitzero"`
}

// A Config is an image and what to start it with.
type Config struct {
	Type       Type
	Compressed bool   // the image is a zlib stream (RFC 1950)
	Image      []byte // a slice of its frame
	Arguments
}

// A NamedConfig is a configuration with a name.
type NamedConfig struct {
	Name   Name
	Config Config
}

// A BlockInfo describes a block device of a running unikernel. Older forms of Info omit
// the optional fields.
type BlockInfo struct {
	Name       string
	Device     Option[string]
	SectorSize Option[int] // bytes
	Size       int         // MB; 0 if the form omits it
}

// A NetworkInfo describes a network device of a running unikernel. Older forms of Info
// omit the optional fields.
type NetworkInfo struct {
	Name   string
	Bridge Option[string]
	MAC    Option[MAC]
}

// HostDevice returns the block device on the host: by default the one of that name.
func (b BlockInfo) HostDevice() string { return b.Device.Or(b.Name) }

// SectorBytes returns the size of a sector: by default that of Solo5.
func (b BlockInfo) SectorBytes() int { return b.SectorSize.Or(512) }

// HostBridge returns the bridge: by default the one of that name.
func (n NetworkInfo) HostBridge() string { return n.Bridge.Or(n.Name) }

// Address returns the MAC address; the broadcast address stands for an unknown one.
func (n NetworkInfo) Address() MAC {
	return n.MAC.Or(MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
}

// An Info describes a running unikernel.
type Info struct {
	Type      Type
	Startup   Option[int]
	Fail      FailBehaviour
	CPUIDs    []int
	Memory    int    // MB
	Digest    []byte // SHA-256 of the uncompressed image
	Blocks    []BlockInfo
	Networks  []NetworkInfo
	Argv      Option[[]string]
	Started   time.Time // when it was started; the epoch if the form omits it
	CPUs      int
	LinuxBoot Option[string]
}

// A NamedInfo is an Info with a name.
type NamedInfo struct {
	Name Name
	Info Info
}

// A NamedBlock describes a block device of the host.
type NamedBlock struct {
	Name   Name
	Size   int  // MB
	Active bool // in use by a unikernel
}
