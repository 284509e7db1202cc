package messages

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParsePublication(t *testing.T) {
	for text, want := range map[string]Publication{
		"8080:80":                {From: 8080, To: 80},
		"8080:80/tcp":            {From: 8080, To: 80},
		"53:5353/udp":            {UDP: true, From: 53, To: 5353},
		"127.0.0.1:8080:80":      {Host: netip.MustParseAddr("127.0.0.1"), From: 8080, To: 80},
		"[::1]:8080:80/udp":      {UDP: true, Host: netip.MustParseAddr("::1"), From: 8080, To: 80},
		"[::ffff:127.0.0.1]:1:2": {Host: netip.MustParseAddr("127.0.0.1"), From: 1, To: 2},
		"0.0.0.0:65535:65535":    {Host: netip.MustParseAddr("0.0.0.0"), From: 65535, To: 65535},
	} {
		p, err := ParsePublication(text)
		require.NoError(t, err, text)
		require.Equal(t, want, p, text)
		again, err := ParsePublication(p.String())
		require.NoError(t, err, p.String())
		require.Equal(t, p, again)
	}
	for text, want := range map[string]string{
		"":                   "two ports are needed",
		"80":                 "two ports are needed",
		"0:80":               `"0" is no port (1 to 65535)`,
		"80:65536":           `"65536" is no port (1 to 65535)`,
		"-1:80":              `"-1" is no port (1 to 65535)`,
		"80:":                `"" is no port (1 to 65535)`,
		"80:80/sctp":         `there is no protocol "sctp"`,
		"80:80/":             `there is no protocol ""`,
		"host:80:80":         `"host" is no address`,
		"[fe80::1%lo]:80:80": `"[fe80::1%lo]" is no address`,
	} {
		_, err := ParsePublication(text)
		require.ErrorContains(t, err, want, text)
	}
}

func FuzzParsePublication(f *testing.F) {
	f.Add("127.0.0.1:8080:80/udp")
	f.Add("[::1]:1:2")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePublication(text)
		if err != nil {
			return
		}
		again, err := ParsePublication(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}

func TestPublicationsOverlap(t *testing.T) {
	parse := func(s string) Publication {
		p, err := ParsePublication(s)
		require.NoError(t, err)
		return p
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"80:1", "80:2", true},
		{"80:1", "81:1", false},
		{"80:1", "80:1/udp", false},
		{"80:1", "127.0.0.1:80:1", true},
		{"0.0.0.0:80:1", "127.0.0.1:80:1", true},
		{"127.0.0.2:80:1", "127.0.0.1:80:1", false},
	} {
		require.Equal(t, c.want, parse(c.a).Overlaps(parse(c.b)), "%s %s", c.a, c.b)
		require.Equal(t, c.want, parse(c.b).Overlaps(parse(c.a)), "%s %s", c.b, c.a)
	}
}

func TestBridgeOf(t *testing.T) {
	for text, want := range map[string]string{"service": "service", "t:web": "t.web", ":a:b:c": "a.b.c"} {
		name, err := ParseName(text)
		require.NoError(t, err)
		bridge, err := BridgeOf(name)
		require.NoError(t, err)
		require.Equal(t, want, bridge)
	}
	for _, text := range []string{"a:", ":", "a-name-that-is-too-long", ".", ".."} {
		name, err := ParseName(text)
		require.NoError(t, err)
		_, err = BridgeOf(name)
		require.ErrorContains(t, err, "cannot name a network "+name.String())
	}
}

func TestAddressesOfANetwork(t *testing.T) {
	s := NetworkSpec{Gateway: netip.MustParsePrefix("10.90.0.3/29")}
	require.Equal(t, "10.90.0.0/29", s.Subnet().String())
	for text, want := range map[string]bool{
		"10.90.0.0": false, "10.90.0.1": true, "10.90.0.3": false, "10.90.0.6": true, "10.90.0.7": false, "10.90.0.8": false, "::1": false,
	} {
		require.Equal(t, want, s.Contains(netip.MustParseAddr(text)), text)
	}
	for subnet, last := range map[string]string{
		"10.90.0.0/24": "10.90.0.255", "10.90.0.1/29": "10.90.0.7", "10.0.0.0/8": "10.255.255.255", "10.0.0.4/30": "10.0.0.7",
	} {
		require.Equal(t, last, Broadcast(netip.MustParsePrefix(subnet)).String())
	}
}
