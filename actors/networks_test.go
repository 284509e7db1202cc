package actors_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/netns"
)

// withBridge makes a bridge for a world.
func withBridge(w *world) {
	netns.Bridge(w.t, bridge)
	w.config.RootPolicy.Bridges = []string{bridge, "br9"}
}

const bridge = "br0"

// echo returns a unikernel that sends back every frame, on the bridge.
func echo() messages.Config {
	config := guest("net")
	config.Networks = []messages.Network{{Name: "service", Bridge: messages.Some(bridge)}}
	return config
}

func TestNetworks(t *testing.T) {
	w := newWorld(t, withBridge)
	port := netns.NewPort(t, bridge)
	others := netns.Ports(t, bridge)
	w.succeeds("created unikernel", "a:echo", create(echo()))
	mac := messages.Network{Name: "service"}.Address(w.name("a:echo"))
	require.Equal(t, []messages.NetworkInfo{{Name: "service", Bridge: messages.Some(bridge), MAC: messages.Some(mac)}},
		w.infos("a:echo")[0].Info.Networks)
	require.Equal(t, append(others, "vmmtap0"), netns.Ports(t, bridge))
	require.Equal(t, []string{mac.String() + " mtu 1500"}, w.lines("a:echo", 1))

	const ours, kind = "\x02ours!", "\x88\xb5"
	address := string(mac[:])
	port.Ask(address+ours+kind+"to the unikernel", ours+address+kind+"to the unikernel")

	w.restart()
	port.Ask(address+ours+kind+"under another daemon", ours+address+kind+"under another daemon")
	given := echo()
	given.Networks[0].MAC = messages.Some(messages.MAC{2, 0, 0, 0, 0, 7})
	w.succeeds("created unikernel", "a:other", create(given))
	require.Equal(t, []string{"02:00:00:00:00:07 mtu 1500"}, w.lines("a:other", 1))
	require.Equal(t, append(others, "vmmtap0", "vmmtap1"), netns.Ports(t, bridge))

	w.succeeds("destroyed unikernel", "a:echo", messages.UnikernelDestroy{})
	require.Equal(t, append(others, "vmmtap1"), netns.Ports(t, bridge), "its own, and no other")
	w.kill("a:other")
	w.until("it is gone", func() bool { _, there := w.record("a:other"); return !there })
	require.Equal(t, others, netns.Ports(t, bridge))
	w.requireNothing()
}

func TestBridgesAreChecked(t *testing.T) {
	w := newWorld(t, withBridge)
	config := echo()
	config.Networks[0].Bridge = messages.Some("br9")
	w.fails("interface br9 does not exist", ":x", create(config))
	config.Networks[0].Bridge = messages.Some("elsewhere")
	w.fails("interface elsewhere does not exist", ":x", create(config))
	config.Networks[0].Bridge = messages.Option[string]{}
	w.fails("interface service does not exist", ":x", create(config))

	// A bridge that the policy does not allow has another refusal, whether or not it exists. So has
	// one that the operator does not allow to anybody.
	require.Equal(t, success("added policy"), w.addPolicy("a:", policy(2, 64)))
	for _, name := range []string{bridge, "br9", "elsewhere"} {
		config.Networks[0].Bridge = messages.Some(name)
		w.fails("bridges "+name+" not allowed by policy", "a:x", create(config))
	}
	require.Equal(t, success("added policy"), w.addPolicy(":", policy(2, 64)))
	w.fails("bridges elsewhere not allowed by policy", ":x", create(config))
	w.requireNothing()
}

// TestATapIsMadeAnewForEachRun: a unikernel that restarts gets a new tap, and the old one is
// removed.
func TestATapIsMadeAnewForEachRun(t *testing.T) {
	w := newWorld(t, withBridge)
	w.succeeds("created unikernel", ":x", create(echo()))
	w.succeeds("created unikernel", ":x", messages.UnikernelRestart{})
	require.Equal(t, []string{"vmmtap0"}, netns.Ports(t, bridge))
	w.succeeds("created unikernel", ":x", force(echo()))
	require.Equal(t, []string{"vmmtap0"}, netns.Ports(t, bridge))
	w.untilProven(":x")
	pid := w.pid(":x")
	w.shutdown()
	w.killAndReap(pid)
	require.Equal(t, []string{"vmmtap0"}, netns.Ports(t, bridge), "no daemon was there to free it")
	w.start()
	w.requireNothing()
	require.Empty(t, netns.Ports(t, bridge))
}

// TestACreateThatFailsGivesEverythingBack, at whichever step it fails.
func TestACreateThatFailsGivesEverythingBack(t *testing.T) {
	config := guest("several")
	config.Networks = []messages.Network{{Name: "service", Bridge: messages.Some(bridge)}, {Name: "management", Bridge: messages.Some("br1")}}
	config.Blocks = []messages.BlockDevice{{Name: "storage"}}
	for step, tc := range map[string]struct {
		before any // the message that is handled just after the machine breaks
		broken func(*world)
		says   string
	}{
		"check":      {messages.UnikernelPrepare{}, func(w *world) { w.deleteBridge("br1") }, "interface br1 does not exist"},
		"FIFO":       {messages.UnikernelStart{}, func(w *world) { w.hide(w.guests.FIFODir) }, "cannot create console"},
		"console":    {messages.ConsoleOpen{}, func(w *world) { require.NoError(w.t, os.Remove(filepath.Join(w.guests.FIFODir, ":x"))) }, "cannot open console"},
		"cgroup":     {messages.ConsoleOpen{}, func(w *world) { w.breakCgroups() }, "cannot make cgroup :x"},
		"first tap":  {messages.ConsoleOpen{}, func(w *world) { w.deleteBridge(bridge) }, "cannot make a tap on bridge br0"},
		"second tap": {messages.ConsoleOpen{}, func(w *world) { w.deleteBridge("br1") }, "cannot make a tap on bridge br1"},
		"process":    {messages.ConsoleOpen{}, func(w *world) { w.hide(w.guests.Launcher[0]) }, "cannot execute"},
		"exec":       {messages.StoreWrite{}, func(w *world) { w.hide(w.guests.Tenders.Builtin) }, "cannot execute"},
	} {
		t.Run(step, func(t *testing.T) {
			sabotage := &sabotage{before: tc.before}
			w := newWorld(t, withCgroups, withBlocks, withOwnPrograms, func(w *world) {
				w.makeBridge(bridge)
				w.makeBridge("br1")
				w.config.RootPolicy.Bridges = []string{bridge, "br1"}
				w.fault = sabotage.at
			})
			w.succeeds("added block device", ":storage", messages.BlockAdd{Size: 1})
			w.requireEvents(":storage", "block-created: the command create-block") // no other write follows
			sabotage.arm(t, func() { tc.broken(w) })
			answer := w.ask(":x", create(config))
			require.IsType(t, messages.Failure{}, answer)
			require.Contains(t, answer.(messages.Failure).Text, tc.says)
			w.repair()
			w.requireNothing()
			require.Empty(t, netns.Ports(t, bridge))
			require.Empty(t, netns.Ports(t, "br1"))
			require.Empty(t, w.cgroups())
			require.False(t, w.blocks(":storage")[0].Active)
			config := config
			config.Memory = w.config.RootPolicy.Memory
			w.succeeds("created unikernel", ":x", create(config))
		})
	}
}

// TestAddressesAreChecked: a device can have the address, and no other device on its bridge has it.
// A unikernel that is started again keeps it.
func TestAddressesAreChecked(t *testing.T) {
	w := newWorld(t, withBridge)
	with := func(mac messages.MAC) messages.Config {
		config := echo()
		config.Networks[0].MAC = messages.Some(mac)
		return config
	}
	for mac, text := range map[messages.MAC]string{
		{}:                                   "cannot use the MAC address 00:00:00:00:00:00: it is zero",
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}: "cannot use the MAC address ff:ff:ff:ff:ff:ff: it is for broadcasts",
		{3}:                                  "cannot use the MAC address 03:00:00:00:00:00: it is for multicasts, as the first byte is odd",
	} {
		w.fails(text, ":x", create(with(mac)))
	}
	const ours, kind = "\x02ours!", "\x88\xb5"
	port := netns.NewPort(t, bridge)
	ask := func(address string) { port.Ask(address+ours+kind+"hello", ours+address+kind+"hello") }

	w.succeeds("created unikernel", ":x", create(echo()))
	mac := messages.Network{Name: "service"}.Address(w.name(":x"))
	ask(string(mac[:])) // the bridge has both addresses in its table now
	w.fails("cannot use the MAC address "+mac.String()+": another unikernel has it on bridge br0 (give one with --net NAME:BRIDGE@MAC)",
		":y", create(with(mac)))
	heard := messages.MAC([]byte(ours))
	w.fails("cannot use the MAC address "+heard.String()+": something else has it on bridge br0 (give another one with --net NAME:BRIDGE@MAC; one that has gone is forgotten within minutes)",
		":y", create(with(heard)))

	w.succeeds("created unikernel", ":x", messages.UnikernelRestart{})
	w.succeeds("created unikernel", ":x", force(with(mac)))
	ask(string(mac[:]))
	w.restart()
	w.succeeds("created unikernel", ":x", force(echo()))
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.succeeds("created unikernel", ":y", create(with(mac)))
	w.succeeds("destroyed unikernel", ":y", messages.UnikernelDestroy{})
	w.requireNothing()
}
