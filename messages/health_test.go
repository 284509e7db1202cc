package messages

import (
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestHealthChecks(t *testing.T) {
	asks := func(kind HealthKind, port uint16, target string) HealthCheck {
		return HealthCheck{Kind: kind, Port: port, Target: target}.Lasting(DefaultHealthTime)
	}
	at := func(host string, h HealthCheck) HealthCheck {
		h.Host = netip.MustParseAddr(host)
		return h
	}
	for text, want := range map[string]HealthCheck{
		"http://:80/":                    asks(HealthHTTP, 80, "/"),
		"http://:8080/a/b?c=d":           asks(HealthHTTP, 8080, "/a/b?c=d"),
		"http://10.0.0.5:80/":            at("10.0.0.5", asks(HealthHTTP, 80, "/")),
		"http://[fd00::5]:80/":           at("fd00::5", asks(HealthHTTP, 80, "/")),
		"tcp://:22":                      asks(HealthTCP, 22, ""),
		"dns://:53/example.org":          asks(HealthDNS, 53, "example.org"),
		"dns://10.0.0.5:5353/a.b.c.d.e.": at("10.0.0.5", asks(HealthDNS, 5353, "a.b.c.d.e.")),
		"exit-free=10s":                  HealthCheck{Kind: HealthRuns}.Lasting(10 * time.Second),
	} {
		h, err := ParseHealthCheck(text)
		require.NoError(t, err, text)
		require.Equal(t, want, h, text)
		require.Equal(t, text, h.String())
		require.NoError(t, h.Usable(), text)
	}
	for text, want := range map[string]string{
		"http://10.0.0.5": "http://10.0.0.5:80/", "http://:81": "http://:81/", "dns://10.0.0.5/x": "dns://10.0.0.5:53/x", "dns:///x": "dns://:53/x",
		"exit-free=90s": "exit-free=1m30s", "http://[::ffff:10.0.0.5]/": "http://10.0.0.5:80/",
	} {
		h, err := ParseHealthCheck(text)
		require.NoError(t, err, text)
		require.Equal(t, want, h.String())
	}
	for text, why := range map[string]string{
		"": "a port from 1 to 65535 is needed", "x:": "a port from 1 to 65535 is needed", "ftp://:21/": "there is no check", "https://:443/": "there is no check",
		"tcp://": "a port from 1 to 65535 is needed", "tcp://:0": `"0" is no port`, "tcp://:99999": "", "tcp://:22/x": "tcp has nothing to ask for",
		"http://example.org/": `"example.org" is no IP address`, "http://[fe80::1%25eth0]/": "its address has a zone",
		"http://user@:80/": "it has a user", "http://:80/#x": "it has a user or a fragment", "dns://:53/": "a name to ask for is needed", "dns://:53/a/b": "a name to ask for is needed",
		"exit-free=": "is no duration", "exit-free=1ms": "a check takes from 100ms", "exit-free=2h": "a check takes from 100ms",
		"http://:80/" + strings.Repeat("x", MaxHealthTarget): "at most 253 are possible",
	} {
		_, err := ParseHealthCheck(text)
		require.ErrorContains(t, err, why, text)
		require.ErrorContains(t, err, "(give http://:PORT/PATH, ", text)
	}
	bad := asks(HealthHTTP, 80, "/\r\nHost: x")
	require.EqualError(t, bad.Usable(), "cannot check the health of a unikernel: what it asks for has other characters than visible ones of ASCII")
}

// TestACauseIsText: a list with it can be read, whatever it was made of.
func TestACauseIsText(t *testing.T) {
	h := NewHealth(Unhealthy, Public("\xff"+strings.Repeat("é", 1000)))
	require.True(t, utf8.ValidString(string(h.Cause)))
	require.LessOrEqual(t, len(h.Cause), 256)
}

func FuzzHealthCheck(f *testing.F) {
	for _, text := range []string{"http://:80/", "tcp://[::1]:1", "dns://:53/x", "exit-free=1s", "http://10.0.0.1/?%0a"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHealthCheck(text)
		if err != nil {
			return
		}
		again, err := ParseHealthCheck(h.String())
		require.NoError(t, err)
		require.Equal(t, h, again)
	})
}

// TestWhereAUnikernelIsAsked: a published port is reached whatever the network is.
func TestWhereAUnikernelIsAsked(t *testing.T) {
	leased := []Network{{Name: "service", Leases: []netip.Addr{netip.MustParseAddr("10.0.0.7")}}}
	tcp, udp := HealthCheck{Kind: HealthHTTP, Port: 80}, HealthCheck{Kind: HealthDNS, Port: 53}
	given := tcp
	given.Host = netip.MustParseAddr("192.0.2.1")
	ports := []Publication{
		{From: 5353, To: 53}, {From: 8053, To: 53, UDP: true}, {From: 8080, To: 80, UDP: true}, {From: 8081, To: 80},
		{From: 8082, To: 81, Host: netip.MustParseAddr("192.0.2.2")},
	}
	for title, tc := range map[string]struct {
		check  HealthCheck
		args   Arguments
		want   string
		leased bool
	}{
		"a given address":       {given, Arguments{Networks: leased, Publish: ports}, "192.0.2.1:80", false},
		"a published port":      {tcp, Arguments{Networks: leased, Publish: ports}, "127.0.0.1:8081", false},
		"published for UDP":     {udp, Arguments{Networks: leased, Publish: ports}, "127.0.0.1:8053", false},
		"published somewhere":   {HealthCheck{Kind: HealthTCP, Port: 81}, Arguments{Publish: ports}, "192.0.2.2:8082", false},
		"an address of its own": {tcp, Arguments{Networks: leased}, "10.0.0.7:80", true},
	} {
		at, isLeased, err := tc.check.Address(tc.args)
		require.NoError(t, err, title)
		require.Equal(t, tc.want, at.String(), title)
		require.Equal(t, tc.leased, isLeased, title)
	}
	_, _, err := tcp.Address(Arguments{Networks: []Network{{Name: "br0"}}})
	require.Equal(t, tcp.Unreachable(), err)
}
