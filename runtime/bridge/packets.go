package bridge

import (
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// raw is before connections are recognised.
const raw = -300

// writePackets writes the rules for what the host routes into a network, and out of it.
func writePackets(t table, n Network, group uint32) {
	writeLoopback(t, group)
	writeConnections(t, n, group)
	writePublished(t, n)
	writeForward(t, n, group)
	writeInput(t, n, group)
	writeOutput(t, group)
	writePostrouting(t, n, group)
}

// loopback matches one of the two addresses of an IPv4 packet.
func loopback(offset uint32) words {
	return rule(ip4.is(), header(offset, 1), equal([]byte{127}))
}

// writeLoopback keeps stations from the loopback addresses of the host. For the bridge the
// kernel does not do so by itself, as elsewhere, since connections from there are published.
func writeLoopback(t table, group uint32) {
	t.hook("loopback", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, raw,
		rule(from(group), loopback(ip4.source), drop()),
		rule(from(group), loopback(ip4.destination), drop()),
	)
}

// afterTracking is after connections are recognised, and before destinations are changed.
const afterTracking = -150

// writeConnections bounds the connections that a station may have at the same time by way of the
// host, which has a table for those of all. Its sets are filled by the kernel.
func writeConnections(t table, n Network, group uint32) {
	var rules []words
	for _, v := range versionsOf(n) {
		count := &expr.Connlimit{Count: maxConnections(), Flags: expr.NFT_CONNLIMIT_F_INV}
		rules = append(rules, rule(from(group), v.is(), begins(), header(v.source, v.size),
			words{&expr.Dynset{SrcRegKey: 1, SetName: v.connections(), Operation: unix.NFT_DYNSET_OP_ADD, Exprs: []expr.Any{count}}},
			drop()))
	}
	t.hook("connections", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, afterTracking, rules...)
}

// usualConnections is the size of the table on a machine with little memory.
const usualConnections = 65536

// maxConnections is a quarter of what the host can have.
var maxConnections = func() uint32 {
	text, err := read("net/netfilter/nf_conntrack_max")
	if n, parseErr := strconv.ParseUint(text, 10, 32); err == nil && parseErr == nil && n >= 4 {
		return uint32(n / 4)
	}
	return usualConnections / 4
}

// writePublished changes the destination of the first packet of a connection; the kernel does
// the same to the others. What arrives for a loopback address from outside is not for anybody:
// the kernel would drop it, if its destination were not changed before.
func writePublished(t table, n Network) {
	var rules []words
	for _, v := range versionsOf(n) {
		rules = append(rules, v.toTarget(v.hosts(), hostKey(v)), v.toTarget(v.ports(), portKey()))
	}
	t.chain("published", rules...)
	t.hook("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, *nftables.ChainPriorityNATDest,
		rule(loopback(ip4.destination), accept()), jump("published"))
	t.hook("here", nftables.ChainTypeNAT, nftables.ChainHookOutput, *nftables.ChainPriorityNATDest,
		jump("published"))
}

// portKey loads protocol and port.
func portKey() words {
	return words{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: firstWord},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, DestRegister: firstWord + 1},
	}
}

// hostKey loads address, protocol and port.
func hostKey(v version) words {
	next := firstWord + v.size/4
	return words{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: v.destination, Len: v.size, DestRegister: firstWord},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: next},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, DestRegister: next + 1},
	}
}

// anyLocal matches if the destination is an address of the host.
func anyLocal() words {
	return rule(words{&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true}}, equal(number(unix.RTN_LOCAL)))
}

// toTarget looks a key up in a map, and sends what is for the host to the target in it.
func (v version) toTarget(set string, key words) words {
	return rule(v.is(), key,
		words{&expr.Lookup{SourceRegister: firstWord, DestRegister: targetWord, IsDestRegSet: true, SetName: set}},
		anyLocal(),
		words{&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(v.family),
			RegAddrMin: targetWord, RegProtoMin: targetWord + v.size/4, Specified: true}})
}

// writeForward decides what is routed into the network. What leaves it is decided where it
// goes. What stays on the bridge may come by, too, where the host filters bridges as if they
// were routed.
func writeForward(t table, n Network, group uint32) {
	inbound := []words{
		rule(answers(), accept()),
		rule(published(), accept()),
		rule(fromOurs(), drop()),
	}
	if n.NAT {
		inbound = append(inbound, drop())
	}
	t.chain("inbound", inbound...)
	t.hook("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter,
		rule(from(group), to(group), accept()),
		rule(to(group), jump("inbound")),
	)
}

// writeInput keeps others from the address of the gateway, where the host may serve its
// stations. Without NAT it is an address like any other.
func writeInput(t table, n Network, group uint32) {
	rules := []words{
		rule(from(group), accept()),
		rule(arrivesAt("lo"), accept()),
		rule(answers(), accept()),
	}
	for _, gateway := range gateways(n) {
		v := versionOf(gateway.Addr())
		toGateway := rule(v.is(), v.to(gateway.Addr()))
		if n.NAT {
			rules = append(rules, rule(toGateway, drop()))
		} else {
			rules = append(rules, rule(toGateway, fromOurs(), drop()))
		}
	}
	t.hook("input", nftables.ChainTypeFilter, nftables.ChainHookInput, *nftables.ChainPriorityFilter, rules...)
}

// writeOutput keeps out what networks in user mode send: their processes connect from the host, as
// users of their own. The process of this network is such a user, too, and serves its stations.
func writeOutput(t table, group uint32) {
	t.hook("output", nftables.ChainTypeFilter, nftables.ChainHookOutput, *nftables.ChainPriorityFilter,
		rule(to(group), byProcessOfNetwork(), answers(), accept()),
		rule(to(group), byProcessOfNetwork(), published(), accept()),
		rule(to(group), byProcessOfNetwork(), carries(unix.IPPROTO_UDP), sourcePort(dhcpServer), accept()),
		rule(to(group), byProcessOfNetwork(), drop()),
	)
}

// writePostrouting gives packets the address of the host as their source: what leaves the
// network, if it is to be hidden, and what a station or a loopback address sends to a published
// port, so that the answer comes back to the host.
func writePostrouting(t table, n Network, group uint32) {
	rules := []words{
		rule(to(group), loopback(ip4.source), masquerade()),
		rule(from(group), to(group), published(), masquerade()),
	}
	if n.NAT {
		rules = append(rules, rule(from(group), notTo(group), masquerade()))
	}
	t.hook("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, *nftables.ChainPriorityNATSource, rules...)
}
