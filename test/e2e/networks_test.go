package e2e

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/test/netns"
)

// withBridges makes bridges. No tap may be left when the host that is made next has ended.
func withBridges(t *testing.T, names ...string) {
	for _, name := range names {
		netns.Bridge(t, name)
	}
	t.Cleanup(func() {
		var left []string
		links, err := netlink.LinkList()
		require.NoError(t, err)
		for _, l := range links {
			if strings.HasPrefix(l.Attrs().Name, "vmmtap") {
				left = append(left, l.Attrs().Name)
				require.NoError(t, netlink.LinkDel(l))
			}
		}
		if !t.Failed() {
			require.Empty(t, left, "taps that are left")
		}
	})
}

// echo returns a unikernel that sends back every frame.
func echo(bridge string) messages.Config {
	c := guest("net")
	c.Networks = []messages.Network{{Name: "service", Bridge: messages.Some(bridge)}}
	return c
}

// TestNetwork: frames reach a unikernel on its bridge, whichever daemon has started it, until it is
// destroyed.
func TestNetwork(t *testing.T) {
	withBridges(t, "service")
	h := newHost(t)
	port := netns.NewPort(t, "service")
	others := netns.Ports(t, "service")
	f := h.subscribe("echo", 0)
	h.create("echo", echo("service"))
	mac := h.infos("echo")[0].Info.Networks[0].Address()
	require.Equal(t, mac.String()+" mtu 1500", f.line())
	requireEcho(t, port, mac)
	require.Equal(t, append(others, "vmmtap0"), netns.Ports(t, "service"))
	tap, err := netlink.LinkByName("vmmtap0")
	require.NoError(t, err)
	h.untilStored()

	for _, end := range []func(){func() { require.NoError(t, h.stop()) }, h.kill} {
		end()
		requireEcho(t, port, mac)
		h.start()
		requireEcho(t, port, mac)
		require.Equal(t, append(others, "vmmtap0"), netns.Ports(t, "service"))
		same, err := netlink.LinkByName("vmmtap0")
		require.NoError(t, err)
		require.Equal(t, tap.Attrs().Index, same.Attrs().Index)
	}
	h.requireText("destroyed unikernel", "echo", messages.UnikernelDestroy{})
	require.Equal(t, others, netns.Ports(t, "service"))
}

// requireEcho checks that a frame comes back to a port.
func requireEcho(t *testing.T, port *netns.Port, mac messages.MAC) {
	t.Helper()
	const ours, kind = "\x02ours!", "\x88\xb5"
	theirs := string(mac[:])
	port.Ask(theirs+ours+kind+"hello", ours+theirs+kind+"hello")
}

// TestSeveralDevices: a unikernel gets a block device and two networks, and all are free again when
// it ends by itself.
func TestSeveralDevices(t *testing.T) {
	withBridges(t, "service", "br1")
	h := newHost(t)
	h.requireText("added block device", "storage", messages.BlockAdd{Size: 1})
	seen := watchTaps(t)
	c := guest("several")
	c.Blocks = []messages.BlockDevice{{Name: "storage"}}
	c.Networks = []messages.Network{{Name: "service"}, {Name: "management", Bridge: messages.Some("br1")}}
	h.create("several", c)
	require.Equal(t, map[string]string{"vmmtap0": "service", "vmmtap1": "br1"}, seen(2))
	h.until("it has ended", func() bool { return len(h.infos("several")) == 0 })
	require.Equal(t, 0, h.exit("several").Code)
	h.untilFree("storage")
	require.Empty(t, netns.Ports(t, "service"))
	require.Empty(t, netns.Ports(t, "br1"))
}

// watchTaps begins to watch. It returns a function that waits until n taps have come and gone, and
// returns the bridge of each.
func watchTaps(t *testing.T) func(n int) map[string]string {
	updates, done := make(chan netlink.LinkUpdate, 1000), make(chan struct{})
	require.NoError(t, netlink.LinkSubscribe(updates, done))
	return func(n int) map[string]string {
		defer close(done)
		bridges := map[string]string{}
		for deadline := time.After(patience); n > 0; {
			select {
			case u := <-updates:
				tap := u.Link.Attrs()
				if !strings.HasPrefix(tap.Name, "vmmtap") {
					continue
				}
				if bridge, err := netlink.LinkByIndex(tap.MasterIndex); err == nil {
					bridges[tap.Name] = bridge.Attrs().Name
				}
				if u.Header.Type == unix.RTM_DELLINK && u.Link.Type() == "tuntap" {
					n--
				}
			case <-deadline:
				require.FailNow(t, "taps do not come and go", "so far there were %v", bridges)
			}
		}
		return bridges
	}
}

// exit returns that of the last run of a unikernel that has ended.
func (h *host) exit(name string) messages.Exit {
	h.t.Helper()
	ends := h.ends(name)
	require.Len(h.t, ends, 1)
	return ends[0].End.Exit
}

// ends returns how the last runs ended.
func (h *host) ends(name string) []messages.NamedEnd {
	h.t.Helper()
	c, err := client.Dial(context.Background(), h.socket("control"))
	require.NoError(h.t, err)
	defer c.Close()
	ends, err := c.Ends(context.Background(), parse(h.t, name))
	require.NoError(h.t, err)
	requirePublic(h.t, messages.SuccessEnds{List: ends})
	return ends
}

// churned are the unikernels that TestKillLeavesNoTaps creates and destroys.
var churned = []string{"one", "two"}

// churnsFor is how long a daemon lives at most while a client churns.
const churnsFor = 200 * time.Millisecond

// TestKillLeavesNoTaps kills the daemon at random moments while a client creates and destroys
// unikernels with a network. Each next daemon has as many taps as unikernels. A process that waits
// for a daemon that is gone ends by itself.
func TestKillLeavesNoTaps(t *testing.T) {
	withBridges(t, "service")
	h := newHost(t)
	for range 10 {
		working := make(chan struct{})
		go func() {
			defer close(working)
			h.churn()
		}()
		<-time.After(time.Duration(rand.Int64N(int64(churnsFor))))
		h.kill()
		<-working
		h.start()
		h.until("each unikernel has its tap and its process", func() bool {
			running := len(h.infos(":"))
			return len(netns.Ports(t, "service")) == running && count(h.processes()) == running
		})
	}
	for _, name := range churned { // also one that waits to be started again
		h.ask(name, messages.UnikernelDestroy{})
	}
	require.Empty(t, netns.Ports(t, "service"))
}

// churn creates, replaces and destroys unikernels until the daemon is gone.
func (h *host) churn() {
	for {
		for _, name := range churned {
			if _, err := h.tryAsk(name, messages.UnikernelCreate{Form: 5, Force: true, Config: echo("service")}); err != nil {
				return
			}
		}
		if _, err := h.tryAsk(churned[0], messages.UnikernelDestroy{}); err != nil {
			return
		}
	}
}

// TestABridgeThatIsMadeWhileTheDaemonRuns can be used at once by those whose policy allows it, and
// by nobody any more when it is gone.
func TestABridgeThatIsMadeWhileTheDaemonRuns(t *testing.T) {
	netns.Need(t)
	h := newHost(t)
	h.requireRefused("interface later does not exist", "web:x", create(echo("later")))
	withBridges(t, "later")
	h.requireText("added policy", "web:", messages.PolicyAdd{Policy: messages.Policy{
		Unikernels: 1, Memory: 64, CPUIDs: []int{0}, Bridges: []string{"later"},
	}})
	h.create("web:x", echo("later"))
	h.until("the policy of the root has it", func() bool { return slices.Contains(h.rootPolicy().Bridges, "later") })
	require.Contains(t, h.log(), "The machine has changed")
	h.requireText("destroyed unikernel", "web:x", messages.UnikernelDestroy{})
	h.requireRefused("cannot remove the policy of the root: it is what this machine has", ":", messages.PolicyRemove{})
}

func (h *host) rootPolicy() messages.Policy {
	h.t.Helper()
	return h.ask(":", messages.PolicyInfo{}).(messages.SuccessPolicies).List[0].Policy
}
