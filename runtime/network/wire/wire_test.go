package wire

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

var (
	config = Config{Backend: messages.UserNetwork, Name: "service", Gateway: netip.MustParsePrefix("10.90.0.1/24"), MTU: 1500, NAT: true}
	web    = Station{Name: "a:web", MAC: messages.MAC{2, 1}, Addresses: []netip.Addr{netip.MustParseAddr("10.90.0.2"), netip.MustParseAddr("fd00::2")}, Rate: 5}
	port   = messages.Publication{UDP: true, Host: netip.MustParseAddr("::1"), From: 80, To: 8080}
)

func FuzzRequest(f *testing.F) {
	for _, r := range []Request{
		{ID: 1, Do: Hello, Protocol: Protocol, Build: "x"},
		{ID: 2, Do: Configure, Config: config},
		{ID: 3, Do: Admit, Station: web},
		{ID: 4, Do: Publish, Publication: port, Target: web.Addresses[0]},
		{ID: 5, Do: List, After: web.MAC, Published: 3},
	} {
		frame, err := Encode(r)
		require.NoError(f, err)
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var r, again Request
		if Decode(frame, &r) != nil || r.Check() != nil {
			return
		}
		if r.Do == Admit {
			_, _ = r.Station.IPv4()
			_ = r.Station.In(config)
		}
		frame, err := Encode(r)
		require.NoError(t, err)
		require.NoError(t, Decode(frame, &again))
		if len(r.Station.Addresses) == 0 {
			r.Station.Addresses = nil
		}
		require.Equal(t, r, again)
	})
}

func FuzzAnswer(f *testing.F) {
	frame, err := Encode(Answer{ID: 1, Config: config, Stations: []Admitted{{Station: web}}, Publications: []Published{{port, web.Addresses[0]}}})
	require.NoError(f, err)
	f.Add(frame)
	f.Fuzz(func(t *testing.T, frame []byte) {
		var a Answer
		_ = Decode(frame, &a) // it does not crash
	})
}

// TestTheKeysOfGreetings: other versions are met by these, for ever.
func TestTheKeysOfGreetings(t *testing.T) {
	frame, err := Encode(Request{ID: 1, Do: Hello, Protocol: 2, Build: "b"})
	require.NoError(t, err)
	require.Equal(t, "\xa4\x01\x01\x02\x65hello\x03\x02\x04\x61b", string(frame))
	frame, err = Encode(Answer{ID: 1, Err: "e", Protocol: 2, Build: "b"})
	require.NoError(t, err)
	require.Equal(t, "\xa4\x01\x01\x02\x61e\x03\x02\x04\x61b", string(frame))
}

func TestConfigs(t *testing.T) {
	require.NoError(t, config.Check())
	for want, change := range map[string]func(*Config){
		"cannot be the name of an interface":      func(c *Config) { c.Name = "a/b" },
		`there is no kind of network "x"`:         func(c *Config) { c.Backend = "x" },
		"a network needs an IPv4 subnet":          func(c *Config) { c.Gateway = netip.Prefix{} },
		"10.90.0.0/24 cannot be the gateway":      func(c *Config) { c.Gateway = netip.MustParsePrefix("10.90.0.0/24") },
		"10.90.0.255/24 cannot be the gateway":    func(c *Config) { c.Gateway = netip.MustParsePrefix("10.90.0.255/24") },
		"10.90.0.1/31 cannot be the gateway":      func(c *Config) { c.Gateway = netip.MustParsePrefix("10.90.0.1/31") },
		"10.90.0.2/24 is no IPv6 subnet":          func(c *Config) { c.Gateway6 = netip.MustParsePrefix("10.90.0.2/24") },
		"fd00::1/48 is no IPv6 subnet of 64 bits": func(c *Config) { c.Gateway6 = netip.MustParsePrefix("fd00::1/48") },
		"an MTU of 575 bytes cannot be used":      func(c *Config) { c.MTU = 575 },
		"an MTU of 65536 bytes cannot be used":    func(c *Config) { c.MTU = 65536 },
		"the IPv6 subnet is not valid":            func(c *Config) { c.Gateway6 = netip.PrefixFrom(netip.MustParseAddr("fd00::1"), 200) },
		"a network needs an IPv4 subnet, again":   func(c *Config) { c.Gateway = netip.MustParsePrefix("fd00::1/64") },
	} {
		c := config
		change(&c)
		want, _, _ := strings.Cut(want, ", again")
		require.ErrorContains(t, c.Check(), want)
	}
	kernel := config
	kernel.Backend, kernel.Gateway6 = messages.KernelNetwork, netip.MustParsePrefix("fd00::1/64")
	require.NoError(t, kernel.Check())
	require.Equal(t, "service.internal", config.Domain())
}

func TestStations(t *testing.T) {
	kernel := config
	kernel.Backend, kernel.Gateway6 = messages.KernelNetwork, netip.MustParsePrefix("fd00::1/64")
	require.NoError(t, web.Check())
	require.NoError(t, web.In(kernel))
	a := netip.MustParseAddr
	for want, change := range map[string]func(*Station){
		"the MAC address":                     func(s *Station) { s.MAC = messages.MAC{1} },
		`"a:" is not the name of a unikernel`: func(s *Station) { s.Name = "a:" },
		"a name is too long":                  func(s *Station) { s.Name = strings.Repeat("a:", 200) + "b" },
		"a rate cannot be negative":           func(s *Station) { s.Rate = -1 },
		"at most 8 addresses":                 func(s *Station) { s.Addresses = make([]netip.Addr, 9) },
		"invalid IP cannot be":                func(s *Station) { s.Addresses = make([]netip.Addr, 1) },
		"127.0.0.1 cannot be":                 func(s *Station) { s.Addresses[0] = a("127.0.0.1") },
		"fe80::1%x cannot be":                 func(s *Station) { s.Addresses[0] = a("fe80::1%x") },
		"has one IPv4 address":                func(s *Station) { s.Addresses = []netip.Addr{a("10.90.0.2"), a("10.90.0.3")} },
	} {
		s := web
		s.Addresses = []netip.Addr{a("10.90.0.2")}
		change(&s)
		require.ErrorContains(t, s.Check(), want)
	}
	for want, address := range map[string]string{
		"that of the gateway":                        "10.90.0.1",
		"10.91.0.1 is not in the subnet":             "10.91.0.1",
		"10.90.0.0 is not one of a host":             "10.90.0.0",
		"10.90.0.255 is not one of a host":           "10.90.0.255",
		"fd00:0:0:1::1 is not in the subnet":         "fd00:0:0:1::1",
		"the address fd00::1 is that of the gateway": "fd00::1",
	} {
		s := web
		s.Addresses = []netip.Addr{a(address)}
		require.ErrorContains(t, s.In(kernel), want)
	}
	require.ErrorContains(t, web.In(config), "fd00::2 is not in the subnet", "it has no IPv6")
}

func TestRequests(t *testing.T) {
	for want, r := range map[string]Request{
		"needs an ID":                        {Do: Hello},
		"a text of a request is too long":    {ID: 1, Build: strings.Repeat("x", MaxText+1)},
		"a negative number":                  {ID: 1, Published: -1},
		"it is zero":                         {ID: 1, Do: Dismiss},
		"port 0 cannot be published":         {ID: 1, Do: Publish},
		"a port cannot be published at ff02": {ID: 1, Do: Publish, Publication: messages.Publication{From: 1, To: 1, Host: netip.MustParseAddr("ff02::1")}},
	} {
		require.ErrorContains(t, r.Check(), want)
	}
	for _, frame := range []string{"", "nonsense", "\xa1\x01\x61x", "\xa1\x07\x45hello", "\xa1\x07\x47helloyo", "\xa1\x09\x43abc"} {
		var r Request
		err := Decode([]byte(frame), &r)
		require.True(t, err != nil || r.Check() != nil, "%q", frame)
	}
}

// TestTheLongestList fits into a message.
func TestTheLongestList(t *testing.T) {
	s := Station{Name: strings.Repeat("x", messages.MaxFileName), MAC: messages.MAC{2}, Rate: 1 << 62}
	for range MaxAddresses {
		s.Addresses = append(s.Addresses, netip.MustParseAddr("fd00::1"))
	}
	var a Answer
	for range PerList {
		a.Stations = append(a.Stations, Admitted{s, true, 1 << 63, 1 << 63})
		a.Publications = append(a.Publications, Published{port, s.Addresses[0]})
	}
	_, err := Encode(a)
	require.NoError(t, err)
}
