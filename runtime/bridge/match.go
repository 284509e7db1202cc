package bridge

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"albatross/runtime/confine"
)

// This file has the words in which rules are written here. Each is a list of expressions for
// the kernel; a rule is several of them. Register 1 and those after it hold what is compared.

type words []expr.Any

const (
	neq     = expr.CmpOpNeq
	iifname = expr.MetaKeyIIFNAME
)

// rule joins what has to match and what is done then.
func rule(parts ...words) words { return slices.Concat(parts...) }

// The registers: 1, 2, 3 have 16 bytes, and the same bytes are also numbered in words of 4,
// from firstWord on.
const (
	firstWord  = unix.NFT_REG32_00
	targetWord = unix.NFT_REG32_08 // where a map writes the target of a publication
)

func accept() words { return words{&expr.Verdict{Kind: expr.VerdictAccept}} }
func drop() words   { return words{&expr.Verdict{Kind: expr.VerdictDrop}} }

func jump(chain string) words {
	return words{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

// leave continues in another chain and does not come back.
func leave(chain string) words {
	return words{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
}

func compare(op expr.CmpOp, data []byte) words {
	return words{&expr.Cmp{Op: op, Register: 1, Data: data}}
}

func meta(key expr.MetaKey) words { return words{&expr.Meta{Key: key, Register: 1}} }

func number(n uint32) []byte { return binaryutil.NativeEndian.PutUint32(n) }

// from and to match the group of the interface where a packet arrives, or leaves.
func from(group uint32) words { return groupIs(expr.MetaKeyIIFGROUP, expr.CmpOpEq, group) }
func to(group uint32) words   { return groupIs(expr.MetaKeyOIFGROUP, expr.CmpOpEq, group) }

func notFrom(group uint32) words { return groupIs(expr.MetaKeyIIFGROUP, neq, group) }
func notTo(group uint32) words   { return groupIs(expr.MetaKeyOIFGROUP, neq, group) }

func groupIs(key expr.MetaKey, op expr.CmpOp, group uint32) words {
	return rule(meta(key), compare(op, number(group)))
}

// fromOurs and toOurs match all networks.
func fromOurs() words { return oursIs(expr.MetaKeyIIFGROUP) }
func toOurs() words   { return oursIs(expr.MetaKeyOIFGROUP) }

func oursIs(key expr.MetaKey) words {
	return rule(meta(key), masked(number(groupMask)), compare(expr.CmpOpEq, number(ourGroups)))
}

// masked keeps some bits of register 1.
func masked(mask []byte) words {
	return words{&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(mask)),
		Mask: mask, Xor: make([]byte, len(mask))}}
}

// anyBit matches if register 1 has one of these bits.
func anyBit(bits uint32) words {
	return rule(masked(number(bits)), compare(neq, number(0)))
}

// answers match what belongs to a connection, or is an error about it.
func answers() words {
	return rule(words{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}},
		anyBit(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED))
}

// begins matches the first packet of a connection.
func begins() words {
	return rule(words{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}}, anyBit(expr.CtStateBitNEW))
}

// published matches what came to a published port.
func published() words {
	const destinationChanged = 1 << 5 // IPS_DST_NAT
	return rule(words{&expr.Ct{Key: expr.CtKeySTATUS, Register: 1}}, anyBit(destinationChanged))
}

// byProcessOfNetwork matches what a user sends that is of one process alone; see confine.Own.
func byProcessOfNetwork() words {
	const users = ^uint32(1<<confine.PIDBits - 1)
	return rule(meta(expr.MetaKeySKUID), masked(number(users)), compare(expr.CmpOpEq, number(confine.FirstUser)))
}

// A version is one of IP.
type version struct {
	suffix      string // of the names of sets
	family      byte
	size        uint32 // of an address
	source      uint32 // offset in the header
	destination uint32
	icmp        byte
	redirect    byte // the message of icmp
}

var (
	ip4 = version{"", unix.NFPROTO_IPV4, 4, 12, 16, unix.IPPROTO_ICMP, 5}
	ip6 = version{"6", unix.NFPROTO_IPV6, 16, 8, 24, unix.IPPROTO_ICMPV6, 137}
)

// ports and hosts name the maps of what is published: at any address of the host, and at one.
func (v version) ports() string { return "ports" + v.suffix }
func (v version) hosts() string { return "hosts" + v.suffix }

// connections names the set with the connections of each station.
func (v version) connections() string { return "connections" + v.suffix }

func versionsOf(n Network) []version {
	if n.Gateway6.IsValid() {
		return []version{ip4, ip6}
	}
	return []version{ip4}
}

func versionOf(a netip.Addr) version {
	if a.Is4() {
		return ip4
	}
	return ip6
}

// is matches packets of this version.
func (v version) is() words {
	return rule(meta(expr.MetaKeyNFPROTO), compare(expr.CmpOpEq, []byte{v.family}))
}

func field(base expr.PayloadBase, offset, size, register uint32) words {
	return words{&expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: size}}
}

// frame, header and transport load a field of a frame: that of Ethernet, of what it carries,
// and of what that carries.
func frame(offset, size uint32) words {
	return field(expr.PayloadBaseLLHeader, offset, size, 1)
}

func header(offset, size uint32) words {
	return field(expr.PayloadBaseNetworkHeader, offset, size, 1)
}

func transport(offset, size uint32) words {
	return field(expr.PayloadBaseTransportHeader, offset, size, 1)
}

func equal(data []byte) words { return compare(expr.CmpOpEq, data) }

// to matches the destination of a packet.
func (v version) to(a netip.Addr) words {
	return rule(header(v.destination, v.size), equal(a.AsSlice()))
}

// carries matches a protocol above IP.
func carries(protocol byte) words {
	return rule(meta(expr.MetaKeyL4PROTO), equal([]byte{protocol}))
}

func sourcePort(port uint16) words {
	return rule(transport(0, 2), equal(binaryutil.BigEndian.PutUint16(port)))
}

func destinationPort(port uint16) words {
	return rule(transport(2, 2), equal(binaryutil.BigEndian.PutUint16(port)))
}

// message matches the type of a message of ICMP.
func (v version) message(kind byte) words {
	return rule(carries(v.icmp), transport(0, 1), equal([]byte{kind}))
}

// fromSender loads the name of the tap at which a frame arrives, and what a field says who has
// sent it, and matches if a set has both.
func fromSender(fieldOf words, set string) words { return sender(fieldOf, set, false) }

// fromNoSender matches if the set does not have both.
func fromNoSender(fieldOf words, set string) words { return sender(fieldOf, set, true) }

func sender(fieldOf words, set string, invert bool) words {
	load := *fieldOf[0].(*expr.Payload)
	load.DestRegister = 2
	return rule(meta(iifname), words{&load},
		words{&expr.Lookup{SourceRegister: 1, SetName: set, Invert: invert}})
}

// in matches if a set has what register 1 holds.
func in(set string) words {
	return words{&expr.Lookup{SourceRegister: 1, SetName: set}}
}

// passes matches if a set has the names of the interfaces where a packet arrives and leaves.
func passes(set string) words {
	return words{&expr.Meta{Key: iifname, Register: 1}, &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 2},
		&expr.Lookup{SourceRegister: 1, SetName: set}}
}

func masquerade() words { return words{&expr.Masq{}} }

// name returns the name of an interface as the kernel compares it.
func name(s string) []byte {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, s)
	return data
}

// arrivesAt matches the name of the interface where a packet arrives.
func arrivesAt(link string) words {
	return rule(meta(iifname), equal(name(link)))
}

// A table collects what is written in one transaction.
type table struct {
	*nftables.Table
	conn *nftables.Conn
}

// chain adds a chain with its rules. All that it jumps to must exist.
func (t table) chain(name string, rules ...words) {
	t.fill(t.conn.AddChain(&nftables.Chain{Name: name, Table: t.Table}), rules)
}

// hook adds a chain that the kernel calls.
func (t table) hook(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority, rules ...words) {
	t.fill(t.conn.AddChain(&nftables.Chain{Name: name, Table: t.Table, Type: kind, Hooknum: hook, Priority: &priority}), rules)
}

func (t table) fill(chain *nftables.Chain, rules []words) {
	for _, r := range rules {
		t.conn.AddRule(&nftables.Rule{Table: t.Table, Chain: chain, Exprs: r})
	}
}
