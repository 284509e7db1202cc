package chaos

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/network/process"
	"albatross/runtime/network/wire"
	"albatross/sockets/client"
)

// The kinds of what there is of named networks.
const (
	networks         = "network in the list"
	networkProcesses = "process of network"
	networkDirs      = "directory of network"
	bridges          = "bridge"
	tables           = "table of nftables"
	filtered         = "tap that nftables knows"
	stations         = "station of a process"
	held             = "port that is held"
	served           = "port that is served"
	addresses        = "address"
	forwarding       = "interface that forwards"
	switchRecords    = "file of a network"
)

// networksThere adds to an inventory what there is of named networks.
func (h *host) networksThere(there map[string][]string) {
	for _, kind := range []string{networks, addresses} {
		there[kind] = nil
	}
	for _, n := range (&caller{h: h}).networks() {
		text := n.Name.String()
		if n.Trouble != "" {
			text += " with trouble: " + string(n.Trouble)
		}
		there[networks] = append(there[networks], text)
		for _, s := range n.Stations {
			there[addresses] = append(there[addresses], fmt.Sprint(s.Unikernel, s.MAC, s.Addresses))
		}
	}
	there[networkProcesses] = h.networkProcesses()
	there[networkDirs] = h.directories(h.path("db", "network"))
	there[bridges] = h.bridges()
	there[tables], there[filtered] = h.tables()
	there[stations], there[held] = h.askProcesses()
	there[served] = h.served()
	there[forwarding] = h.forwarding()
	dirs := h.directories(h.path("db", "network"))
	there[switchRecords] = slices.DeleteFunc(h.files("db", "network"), func(name string) bool { return slices.Contains(dirs, name) })
}

// networksRecorded adds what there must be.
func (h *host) networksRecorded(s messages.State, must map[string][]string) {
	backends := map[string]messages.NetworkBackend{}
	six := false
	for _, n := range s.Networks {
		bridge, err := messages.BridgeOf(n.Name)
		require.NoError(h.t, err)
		backends[bridge] = n.Spec.Backend
		must[networks] = append(must[networks], n.Name.String())
		must[networkProcesses] = append(must[networkProcesses], bridge)
		must[networkDirs] = append(must[networkDirs], bridge)
		if n.Spec.Backend == messages.KernelNetwork {
			must[bridges] = append(must[bridges], bridge)
			must[tables] = append(must[tables], "bridge albatross-"+bridge, "inet albatross-"+bridge)
			six = six || n.Spec.Gateway6.IsValid()
		}
	}
	if len(must[bridges]) > 0 {
		must[tables] = append(must[tables], "inet albatross") // confines what forwards
		must[switchRecords] = []string{"interfaces-that-forward"}
		must[forwarding] = forwards(four, h.outside())
	}
	if six {
		must[forwarding] = append(must[forwarding], forwards(sixth, h.outside())...)
	}
	for _, r := range s.Unikernels {
		recordStations(r, backends, must)
	}
}

// recordStations adds what there must be of the devices of a unikernel on named networks.
func recordStations(r messages.Record, backends map[string]messages.NetworkBackend, must map[string][]string) {
	for i, n := range r.Spec.Arguments.Networks {
		bridge := n.OnBridge()
		if backends[bridge] == "" {
			continue
		}
		must[addresses] = append(must[addresses], fmt.Sprint(r.Name, n.Address(r.Name), n.Leases))
		if !r.Runtime.OK {
			continue
		}
		must[stations] = append(must[stations], fmt.Sprint(bridge, n.Address(r.Name), n.Leases))
		if backends[bridge] == messages.KernelNetwork {
			must[filtered] = append(must[filtered], bridge+" "+r.Runtime.Value.Taps[i].Name)
		}
		if i > 0 {
			continue
		}
		for _, p := range r.Spec.Arguments.Publish {
			must[held] = append(must[held], bridge+" "+p.String())
			if isServed(p) {
				must[served] = append(must[served], fmt.Sprint(p.From, " by ", r.Name.Label))
			}
		}
	}
}

// networkProcesses are the names of the bridges that processes of networks serve.
func (h *host) networkProcesses() (names []string) {
	for name, pids := range h.networkPIDs() {
		for range pids {
			names = append(names, name)
		}
	}
	return names
}

// networkPIDs are the processes of networks of this host, by the names of their bridges.
func (h *host) networkPIDs() map[string][]int {
	found := map[string][]int{}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(h.t, err)
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !h.isNetworkProcess(line) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		require.NoError(h.t, err)
		arguments := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
		bridge := arguments[len(arguments)-1]
		found[bridge] = append(found[bridge], pid)
	}
	return found
}

func (h *host) isNetworkProcess(line []byte) bool {
	return bytes.Contains(line, []byte("\x00"+h.path("db", "network")+"/"))
}

// endNetworkProcesses kills those of all networks.
func (h *host) endNetworkProcesses() {
	h.until("no process of a network is left", func() bool {
		found := h.networkPIDs()
		for _, pids := range found {
			for _, pid := range pids {
				_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
			}
		}
		return len(found) == 0
	})
}

// bridges are those that a daemon has made: all that the host has besides those of the test.
func (h *host) bridges() (names []string) {
	for _, link := range h.space.Links() {
		if name := link.Attrs().Name; link.Type() == "bridge" && name != bridge && name != fullBridge {
			names = append(names, name)
		}
	}
	return names
}

// outside are the interfaces through which the outside could be reached.
func (h *host) outside() []string {
	if h.full {
		return []string{bridge, fullBridge}
	}
	return []string{bridge}
}

// Where the kernel has whether an interface forwards.
const (
	four  = "ipv4/conf/%s/forwarding"
	sixth = "ipv6/conf/%s/force_forwarding"
)

func forwards(version string, names []string) (list []string) {
	for _, name := range names {
		list = append(list, fmt.Sprintf(version, name))
	}
	return list
}

// forwarding are the interfaces to the outside that forward.
func (h *host) forwarding() (names []string) {
	h.space.Do(func() {
		for _, version := range []string{four, sixth} {
			for _, path := range forwards(version, h.outside()) {
				text, err := os.ReadFile(filepath.Join("/proc/sys/net", path))
				require.NoError(h.t, err)
				if strings.TrimSpace(string(text)) == "1" {
					names = append(names, path)
				}
			}
		}
	})
	return names
}

// tables are those of nftables, and the taps that may send by them.
func (h *host) tables() (names, taps []string) {
	h.space.Do(func() {
		conn, err := nftables.New()
		require.NoError(h.t, err)
		all, err := conn.ListTables()
		require.NoError(h.t, err)
		for _, t := range all {
			if t.Family == nftables.TableFamilyINet {
				names = append(names, "inet "+t.Name)
				continue
			}
			names = append(names, "bridge "+t.Name)
			elements, err := conn.GetSetElements(&nftables.Set{Table: t, Name: "stations"})
			if err != nil { // it is being removed, or written
				names = append(names, err.Error())
			}
			for _, e := range elements {
				tap, _, _ := bytes.Cut(e.Key, []byte{0})
				taps = append(taps, strings.TrimPrefix(t.Name, "albatross-")+" "+string(tap))
			}
		}
	})
	return names, taps
}

// askProcesses asks the processes of networks what they serve.
func (h *host) askProcesses() (stations, held []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, bridge := range h.directories(h.path("db", "network")) {
		admitted, published, err := h.askProcess(ctx, bridge)
		if err != nil { // it ends, or begins
			return []string{err.Error()}, nil
		}
		for _, a := range admitted {
			stations = append(stations, fmt.Sprint(bridge, a.Station.MAC, a.Station.Addresses))
		}
		for _, p := range published {
			held = append(held, bridge+" "+p.Publication.String())
		}
	}
	return stations, held
}

// askProcess asks one, and makes neither a process nor a directory where there is none.
func (h *host) askProcess(ctx context.Context, bridge string) ([]wire.Admitted, []wire.Published, error) {
	dir, err := os.Open(h.path("db", "network", bridge))
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	p, err := process.Connect(ctx, process.Config{
		Dir: fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), Bridge: bridge, Program: h.path("none"), Log: func(string) {},
	})
	if err != nil {
		return nil, nil, err
	}
	defer p.Close()
	return p.List(ctx)
}

// The ports of the host that scenarios publish. Somebody answers at the first of them; at the
// others nobody may, since a network has been harmed.
const (
	firstPort     = 8000
	servedPorts   = 16
	unservedPorts = firstPort + servedPorts
)

// httpPort is where the unikernel that serves HTTP does.
const httpPort = 80

func isServed(p messages.Publication) bool {
	return !p.UDP && p.To == httpPort && p.From < unservedPorts
}

// at publishes a port.
func at(port uint16) messages.Publication { return messages.Publication{From: port, To: httpPort} }

// served are the ports at which a unikernel answers, and which it is.
func (h *host) served() (list []string) {
	for port := firstPort; port < unservedPorts; port++ {
		h.space.Do(func() {
			if name, ok := ask(port); ok {
				list = append(list, fmt.Sprint(port, " by ", name))
			}
		})
	}
	return list
}

// answerWithin is how long an answer may take before it is asked again.
const answerWithin = time.Second

// ask asks who answers at a port. Whoever accepts a connection and says nothing is "nobody".
func ask(port int) (name string, listens bool) {
	conn, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", port), answerWithin)
	if err != nil {
		return "", false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(answerWithin))
	_, err = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n")
	if err != nil {
		return "nobody", true
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "nobody", true
	}
	defer answer.Body.Close()
	name, err = bufio.NewReader(answer.Body).ReadString('\n')
	if err != nil {
		return "nobody", true
	}
	return strings.TrimSpace(name), true
}

// networks are those that the daemon tells.
func (c *caller) networks() []messages.NetworkStatus { return listOf(c, (*client.Conn).Networks) }

// do is a talk on the control socket.
func do(name messages.Name, command messages.Command) talk {
	return func(ctx context.Context, conn *client.Conn) (messages.Success, error) {
		return nil, conn.Do(ctx, name, command)
	}
}

// usualMTU is that of networks for which none is asked.
const usualMTU = 1500

// stateOfNetwork is that which the daemon tells.
func stateOfNetwork(s messages.NetworkSpec) string {
	return fmt.Sprintf("%s %s %v MTU %d NAT %t", s.Backend, s.Gateway, s.Gateway6, s.MTU, s.NAT)
}

// A netToMake is a network to make.
type netToMake struct {
	backend messages.NetworkBackend
	number  byte // of its subnet
	six     bool
}

func (n netToMake) asked() messages.NetworkAsk {
	asked := messages.NetworkAsk{Backend: n.backend, Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 90, n.number, 0}), 24)}
	if n.six {
		asked.Subnet6 = netip.MustParsePrefix("fd90::/64")
	}
	return asked
}

func (n netToMake) state() string {
	spec := messages.NetworkSpec{Backend: n.backend, MTU: usualMTU, NAT: true}
	asked := n.asked()
	spec.Gateway = netip.PrefixFrom(asked.Subnet.Addr().Next(), asked.Subnet.Bits())
	if n.six {
		spec.Gateway6 = netip.PrefixFrom(asked.Subnet6.Addr().Next(), asked.Subnet6.Bits())
	}
	return stateOfNetwork(spec)
}

func (c *caller) makeNetwork(name string, n netToMake) {
	c.changeBy("control", thing{network, parse(name)}, n.state(), do(parse(name), messages.NetworkCreate{Asked: n.asked()}))
}

// refusedNetwork asks for a network that cannot be made, which is found out when it is on record.
func (c *caller) refusedNetwork(name string, n netToMake) {
	if c.dead {
		return
	}
	t := thing{network, parse(name)}
	c.h.journal.may(t, n.state())
	_, refusal := c.say("control", do(parse(name), messages.NetworkCreate{Asked: n.asked()}))
	if c.dead {
		return
	}
	c.h.journal.is(t, absent)
	if refusal == "" {
		c.h.t.Errorf("%s: network %s is not refused", c.h.doing, name)
	}
}

func (c *caller) removeNetwork(name messages.Name) {
	c.changeBy("control", thing{network, name}, absent, do(name, messages.NetworkRemove{}))
}

// web serves HTTP on a network, at ports of the host.
func web(bridge string, ports ...uint16) guest {
	g := run("web").networkedOn(bridge, "service")
	for _, port := range ports {
		g.Publish = append(g.Publish, at(port))
	}
	return g
}

// deploy creates or replaces a unikernel with published ports, of which native messages do not say
// anything.
func (c *caller) deploy(name string, g guest) {
	n := parse(name)
	c.end(n)
	c.h.journal.moves(n, false)
	c.changeBy("control", thing{unikernel, n}, g.state(), deployment(n, g))
	c.noteProcess(n)
}

func deployment(name messages.Name, g guest) talk {
	return do(name, messages.UnikernelDeploy{Create: messages.UnikernelCreate{Form: 5, Force: true, Config: g.config()}})
}

// publications are the published ports of unikernels.
func publications(networks []messages.NetworkStatus) map[messages.Name][]messages.Publication {
	ports := map[messages.Name][]messages.Publication{}
	for _, n := range networks {
		for _, s := range n.Stations {
			ports[s.Unikernel] = append(ports[s.Unikernel], s.Publish...)
		}
	}
	return ports
}

// publish has one more port lead to a unikernel that is that of a guest, and returns what it is
// now.
func (c *caller) publish(name string, g guest, port uint16) guest {
	g.Publish = append(g.Publish[:len(g.Publish):len(g.Publish)], at(port))
	c.changeBy("control", thing{unikernel, parse(name)}, g.state(), do(parse(name), messages.PublishAdd{Publication: at(port)}))
	return g
}

// unpublish undoes that of the last port.
func (c *caller) unpublish(name string, g guest) guest {
	last := len(g.Publish) - 1
	p := g.Publish[last]
	g.Publish = g.Publish[:last]
	c.changeBy("control", thing{unikernel, parse(name)}, g.state(), do(parse(name), messages.PublishRemove{Publication: p}))
	return g
}
