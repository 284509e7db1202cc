package usernet

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/network/wire"
	"albatross/test/station"
)

// newJudge returns one without IPv6, and a station that has an address of it.
func newJudge() (judge, wire.Station) {
	s := web
	s.Addresses = []netip.Addr{web.Addresses[0], addr("fd00::2")}
	return judge{config(), gatewayMAC(config())}, s
}

func datagram(to messages.MAC, source, dest string) []byte {
	return station.Datagram(web.MAC, to, netip.MustParseAddrPort(source), netip.MustParseAddrPort(dest), nil)
}

// changed returns a frame with another byte.
func changed(frame []byte, at int, to byte) []byte {
	frame[at] = to
	return frame
}

func TestFrames(t *testing.T) {
	j, s := newJudge()
	all, gateway := station.All, j.gateway
	for name, tc := range map[string]struct {
		frame []byte
		want  bool
	}{
		"to a station":             {datagram(db.MAC, "10.90.0.2:1", "10.90.0.3:2"), true},
		"to the gateway":           {datagram(gateway, "10.90.0.2:1", "10.90.0.1:53"), true},
		"to the outside":           {datagram(gateway, "10.90.0.2:1", "192.0.2.1:80"), true},
		"to all":                   {datagram(all, "10.90.0.2:1", "10.90.0.255:2"), true},
		"to really all":            {datagram(all, "10.90.0.2:1", "255.255.255.255:2"), true},
		"DHCP":                     {datagram(all, "0.0.0.0:68", "255.255.255.255:67"), true},
		"renewed by DHCP":          {datagram(gateway, "10.90.0.2:68", "10.90.0.1:67"), true},
		"ARP":                      {station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.3")), true},
		"a probe":                  {station.ARP(web.MAC, addr("0.0.0.0"), web.Addresses[0]), true},
		"the outside to all":       {datagram(all, "10.90.0.2:1", "192.0.2.1:80"), false},
		"another MAC":              {changed(datagram(db.MAC, "10.90.0.2:1", "10.90.0.3:2"), 11, 9), false},
		"another address":          {datagram(db.MAC, "10.90.0.4:1", "10.90.0.3:2"), false},
		"the gateway's":            {datagram(db.MAC, "10.90.0.1:53", "10.90.0.3:2"), false},
		"no address":               {datagram(db.MAC, "0.0.0.0:68", "10.90.0.3:67"), false},
		"no DHCP":                  {datagram(all, "0.0.0.0:68", "255.255.255.255:68"), false},
		"a DHCP server":            {datagram(all, "10.90.0.2:67", "255.255.255.255:68"), false},
		"a DHCP server to one":     {datagram(db.MAC, "10.90.0.2:67", "10.90.0.3:68"), false},
		"loopback":                 {datagram(gateway, "10.90.0.2:1", "127.0.0.1:80"), false},
		"the cloud":                {datagram(gateway, "10.90.0.2:1", "169.254.169.254:80"), false},
		"a detour":                 {datagram(gateway, "10.90.0.2:1", "10.90.0.3:2"), false},
		"a ping outside":           {changed(datagram(gateway, "10.90.0.2:1", "192.0.2.1:80"), etherHead+9, protocolICMP), false},
		"IPv4 of version 5":        {changed(datagram(db.MAC, "10.90.0.2:1", "10.90.0.3:2"), etherHead, 0x55), false},
		"IPv4 with a short head":   {changed(datagram(db.MAC, "10.90.0.2:1", "10.90.0.3:2"), etherHead, 0x44), false},
		"IPv4 with a long head":    {changed(datagram(db.MAC, "10.90.0.2:1", "10.90.0.3:2"), etherHead, 0x4f), false},
		"half of IPv4":             {datagram(db.MAC, "10.90.0.2:1", "10.90.0.3:2")[:etherHead+10], false},
		"a fragment of no one":     {changed(datagram(all, "0.0.0.0:68", "255.255.255.255:67"), etherHead+7, 1), false},
		"ARP of another":           {station.ARP(web.MAC, addr("10.90.0.1"), addr("10.90.0.3")), false},
		"ARP of another MAC":       {changed(station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.3")), etherHead+13, 9), false},
		"ARP of another kind":      {changed(station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.3")), etherHead+1, 6), false},
		"half of ARP":              {station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.3"))[:etherHead+20], false},
		"IPv6 where there is none": {solicitation(addr("::"), addr("fd00::2")), false},
		"a VLAN":                   {changed(changed(datagram(db.MAC, "10.90.0.2:1", "10.90.0.3:2"), 12, 0x81), 13, 0), false},
		"too long":                 {append(datagram(db.MAC, "10.90.0.2:1", "10.90.0.3:2"), make([]byte, 1500)...), false},
		"short":                    {[]byte{1, 2, 3}, false},
		"empty":                    {nil, false},
	} {
		require.Equal(t, tc.want, j.admits(s, tc.frame), name)
	}
	j.config.NAT = false
	require.False(t, j.admits(s, datagram(gateway, "10.90.0.2:1", "192.0.2.1:80")))
	require.True(t, j.admits(s, datagram(gateway, "10.90.0.2:1", "10.90.0.1:53")))
}

// FuzzFrames: what is admitted has the station's own addresses as the source.
func FuzzFrames(f *testing.F) {
	j, s := newJudge()
	j.config = config6()
	for _, frame := range [][]byte{
		datagram(db.MAC, "10.90.0.2:1", "10.90.0.3:2"), datagram(station.All, "0.0.0.0:68", "255.255.255.255:67"),
		station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.3")), solicitation(addr("::"), addr("fd00::2")),
	} {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if !j.admits(s, frame) {
			return
		}
		require.Equal(t, web.MAC, messages.MAC(frame[6:12]))
		if binary.BigEndian.Uint16(frame[12:]) == typeIPv4 {
			source := netip.AddrFrom4([4]byte(frame[26:30]))
			require.True(t, source.IsUnspecified() || source == web.Addresses[0])
		}
		if binary.BigEndian.Uint16(frame[12:]) == typeIPv6 {
			source := netip.AddrFrom16([16]byte(frame[22:38]))
			require.True(t, source.IsUnspecified() || source == s.Addresses[1] || source == web.MAC.Address6(messages.LinkLocal))
		}
	})
}
