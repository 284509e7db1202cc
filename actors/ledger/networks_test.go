package ledger

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// networked returns a ledger with a network.
func networked(t *testing.T, subnet string, backend messages.NetworkBackend) *Ledger {
	l := New()
	l.HoldNetwork(messages.NamedNetwork{Name: parse(t, "net"), Spec: messages.NetworkSpec{
		Backend: backend, Gateway: netip.MustParsePrefix(subnet), Gateway6: netip.MustParsePrefix("fd00::1/64"), MTU: 1500,
	}})
	return l
}

func parse(t *testing.T, name string) messages.Name {
	t.Helper()
	n, err := messages.ParseName(name)
	require.NoError(t, err)
	return n
}

func onNet(devices ...messages.Network) messages.Arguments {
	if len(devices) == 0 {
		devices = []messages.Network{{Name: "service", Bridge: messages.Some("net")}}
	}
	return messages.Arguments{CPUIDs: []int{0}, Memory: 16, Networks: devices}
}

// reserve is what the host does with a create.
func reserve(l *Ledger, name messages.Name, args messages.Arguments) (messages.Arguments, error) {
	args, err := l.Assign(name, args)
	if err == nil {
		err = l.Reserve(name, args)
	}
	return args, err
}

// TestAddressesAreFree, and stay the same for the same unikernel, whoever else comes and goes.
func TestAddressesAreFree(t *testing.T) {
	l := networked(t, "10.0.0.1/28", messages.KernelNetwork)
	seen, first := map[netip.Addr]bool{}, map[string]netip.Addr{}
	for i := range 13 {
		name := fmt.Sprintf("u%d", i)
		args, err := reserve(l, parse(t, name), onNet())
		require.NoError(t, err)
		leases := args.Networks[0].Leases
		require.Len(t, leases, 2)
		require.True(t, l.networks["net"].Spec.Contains(leases[0]), leases[0])
		require.False(t, seen[leases[0]])
		seen[leases[0]], first[name] = true, leases[0]
		require.True(t, netip.MustParsePrefix("fd00::/64").Contains(leases[1]))
	}
	_, err := reserve(l, parse(t, "late"), onNet())
	require.EqualError(t, err, "cannot use network :net: all addresses of its subnet 10.0.0.0/28 are taken")
	for name, address := range first {
		args, err := l.Assign(parse(t, name), onNet())
		require.NoError(t, err)
		require.Equal(t, address, args.Networks[0].Leases[0])
	}
	l.Release(parse(t, "u5"))
	args, err := reserve(l, parse(t, "late"), onNet())
	require.NoError(t, err)
	require.Equal(t, first["u5"], args.Networks[0].Leases[0])
}

// TestAnAddressStays when another one, which the unikernel would have got, has become free.
func TestAnAddressStays(t *testing.T) {
	l := networked(t, "10.0.0.1/28", messages.KernelNetwork)
	leases := map[messages.Name]netip.Addr{}
	for i := range 13 {
		name := parse(t, fmt.Sprintf("u%d", i))
		args, err := reserve(l, name, onNet())
		require.NoError(t, err)
		leases[name] = args.Networks[0].Leases[0]
	}
	for gone := range leases {
		l.Release(gone)
		for name, lease := range leases {
			if name == gone {
				continue
			}
			next, err := l.Assign(name, onNet()) // a successor, of which nobody has said an address
			require.NoError(t, err)
			require.Equal(t, lease, next.Networks[0].Leases[0])
		}
		_, err := reserve(l, gone, onNet(messages.Network{Name: "service", Bridge: messages.Some("net"), IP: messages.Some(leases[gone])}))
		require.NoError(t, err)
	}
}

func TestAddressesThatAreAskedFor(t *testing.T) {
	asked := func(address string) messages.Arguments {
		return onNet(messages.Network{Name: "service", Bridge: messages.Some("net"), IP: messages.Some(netip.MustParseAddr(address))})
	}
	l := networked(t, "10.0.0.1/24", messages.KernelNetwork)
	args, err := reserve(l, parse(t, "x"), asked("10.0.0.9"))
	require.NoError(t, err)
	require.Equal(t, "10.0.0.9", args.Networks[0].Leases[0].String())
	_, err = reserve(l, parse(t, "y"), asked("10.0.0.9"))
	require.EqualError(t, err, "cannot use the address 10.0.0.9: another unikernel has it on network :net")
	for _, bad := range []string{"10.0.0.0", "10.0.0.1", "10.0.0.255", "10.0.1.1", "::1"} {
		_, err = reserve(l, parse(t, "y"), asked(bad))
		require.ErrorContains(t, err, "cannot use the address "+bad+": no unikernel on network :net can have it")
	}
	_, err = reserve(l, parse(t, "y"), onNet(messages.Network{Name: "br0", Static: true}))
	require.EqualError(t, err, "cannot give device br0 an address or a rate: br0 is no named network (network create makes one)")
	twice := asked("10.0.0.10")
	twice.Networks = append(twice.Networks, twice.Networks[0])
	twice.Networks[1].Name = "other"
	_, err = reserve(l, parse(t, "y"), twice)
	require.ErrorContains(t, err, "cannot use the address 10.0.0.10")

	// A successor may have the address of the one that it replaces.
	next, err := l.Assign(parse(t, "x"), asked("10.0.0.9"))
	require.NoError(t, err)
	require.NoError(t, l.ReserveNext(parse(t, "x"), next))
	l.Commit(parse(t, "x"))
	l.Release(parse(t, "x"))
	_, err = reserve(l, parse(t, "y"), asked("10.0.0.9"))
	require.NoError(t, err)
}

// TestPortsArePublishedOnce, and for unikernels on named networks only.
func TestPortsArePublishedOnce(t *testing.T) {
	l := networked(t, "10.0.0.1/24", messages.KernelNetwork)
	publishing := func(texts ...string) messages.Arguments {
		args := onNet()
		for _, text := range texts {
			p, err := messages.ParsePublication(text)
			require.NoError(t, err)
			args.Publish = append(args.Publish, p)
		}
		return args
	}
	_, err := reserve(l, parse(t, "x"), publishing("8080:80", "53:53/udp"))
	require.NoError(t, err)
	_, err = reserve(l, parse(t, "y"), publishing("127.0.0.1:8080:81"))
	require.EqualError(t, err, "cannot publish port 127.0.0.1:8080:81: it leads to another unikernel")
	_, err = reserve(l, parse(t, "y"), publishing("80:80", "127.0.0.1:80:81"))
	require.EqualError(t, err, "cannot publish port 127.0.0.1:80:81 twice")
	_, err = reserve(l, parse(t, "y"), publishing("53:53", "8080:80/udp"))
	require.NoError(t, err, "another protocol")
	require.NoError(t, l.ReserveNext(parse(t, "x"), publishing("8080:81")), "its own port")
	l.Commit(parse(t, "x"))
	l.Release(parse(t, "x"))
	_, err = reserve(l, parse(t, "z"), publishing("8080:80"))
	require.NoError(t, err)
	require.NotContains(t, l.ports, port{udp: true, number: 53}, "of x")

	none := publishing("1:1")
	none.Networks = nil
	_, err = reserve(l, parse(t, "n"), none)
	require.EqualError(t, err, "cannot publish a port: the unikernel has no network device")
	bridge := publishing("1:1")
	bridge.Networks[0].Bridge = messages.Some("br0")
	_, err = reserve(l, parse(t, "n"), bridge)
	require.EqualError(t, err, "cannot publish a port: br0 is no named network (network create makes one)")
	many := onNet()
	for i := range 65 {
		many.Publish = append(many.Publish, messages.Publication{From: uint16(10000 + i), To: 1})
	}
	_, err = reserve(l, parse(t, "n"), many)
	require.EqualError(t, err, "cannot publish 65 ports: at most 64 are possible")
}

func TestNetworksBesideEachOther(t *testing.T) {
	l := networked(t, "10.0.0.1/24", messages.KernelNetwork)
	make := func(name, gateway string) error {
		return l.CheckNetwork(messages.NamedNetwork{Name: parse(t, name), Spec: messages.NetworkSpec{Gateway: netip.MustParsePrefix(gateway)}})
	}
	require.EqualError(t, make("net", "10.0.1.1/24"), "cannot make network :net: it exists")
	require.EqualError(t, make("other", "10.0.0.129/25"), "cannot make network :other: its subnet overlaps that of network :net (10.0.0.0/24): choose another with --subnet")
	require.NoError(t, make("other", "10.0.1.1/24"))
	l.HoldNetwork(messages.NamedNetwork{Name: parse(t, "a:b"), Spec: messages.NetworkSpec{Gateway: netip.MustParsePrefix("10.0.2.1/24")}})
	require.EqualError(t, make("a.b", "10.0.3.1/24"), "cannot make network :a.b: network a:b has a bridge of the same name")
	require.Len(t, l.Networks(messages.Name{}), 2)
	require.Len(t, l.Networks(messages.Name{Path: "a"}), 1)
	_, err := reserve(l, parse(t, "a:x"), onNet())
	require.NoError(t, err)
	require.Equal(t, []messages.Name{parse(t, "a:x")}, l.UsersOf("net"))
	require.Empty(t, l.UsersOf("a.b"))
	l.DropNetwork("net")
	_, named := l.Network("net")
	require.False(t, named)
	l.Release(parse(t, "a:x")) // its network is gone
}

// TestUserNetworksAreAllowed where the machine decides, though it has no such bridge.
func TestUserNetworksAreAllowed(t *testing.T) {
	l := New()
	l.HoldMachine(messages.Policy{Unikernels: 10, CPUIDs: []int{0}, Memory: 1000})
	l.HoldNetwork(messages.NamedNetwork{Name: parse(t, "net"), Spec: messages.NetworkSpec{Backend: messages.UserNetwork, Gateway: netip.MustParsePrefix("10.0.0.1/24")}})
	_, err := reserve(l, parse(t, "x"), onNet())
	require.NoError(t, err)
	l.HoldMachine(messages.Policy{Unikernels: 10, CPUIDs: []int{0}, Memory: 1000, Bridges: []string{"br0"}})
	require.Equal(t, []string{"br0", "net"}, l.Machine().Bridges)
	l.Release(parse(t, "x"))
	l.DropNetwork("net")
	_, err = reserve(l, parse(t, "x"), onNet())
	require.EqualError(t, err, "interface net does not exist")
}
