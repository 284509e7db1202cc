package chaos

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/wire"
)

// A scenario is a part of what a daemon does.
type scenario struct {
	name string
	// before is done while another daemon runs.
	before func(*caller)
	// offline is done while none does. In the mode with a keeper, one runs if seen says so.
	offline func(*host)
	seen    bool
	// do is done, until the daemon dies; before that it starts.
	do func(*caller)
	// fresh: on a host that has never had a daemon, nor what must not be disturbed.
	fresh bool
	// arguments of the daemon.
	arguments []string
}

// scenarios touch everything that can be left half done.
var scenarios = slices.Concat(unikernelScenarios, networkScenarios)

var unikernelScenarios = []scenario{
	{name: "create", do: func(c *caller) {
		c.create("one", run("hello", "--quiet"))
		c.create("two", run("chatty", "3").compressed())
		c.create("same", run("chatty", "3").compressed()) // that is known when it has been unpacked
		c.create("a:three", run("net").networked("service"))
		c.refused("broken", messages.UnikernelCreate{Form: 5, Config: messages.Config{Image: []byte("no image"), Arguments: run("hello").Arguments}})
	}},
	{name: "destroy", before: func(c *caller) {
		c.create("one", run("chatty", "1"))
		c.create("a:two", run("net").networked("service"))
	}, do: func(c *caller) {
		c.create("three", run("chatty", "2"))
		c.destroy("a:two")
		c.destroy("one")
		c.destroy("three")
	}},
	{name: "force-create", before: func(c *caller) {
		c.create("one", run("chatty", "1"))
	}, do: func(c *caller) {
		c.force("one", run("net").networked("service"))
		c.force("one", run("hello", "--quiet"))
		c.force("new", run("chatty", "2"))
	}},
	{name: "restart", before: func(c *caller) {
		c.create("one", run("net").networked("service"))
	}, do: func(c *caller) {
		c.restart("one", run("net", "other").networked("service"))
	}},
	{name: "comebacks", before: func(c *caller) {
		c.h.makeFullBridge()
		c.create("one", run("hello", "--quiet"))
		c.create("two", run("chatty", "1").again())
	}, do: func(c *caller) {
		c.refusedStart("one", run("net").networkedOn(fullBridge, "service"))
		c.refusing("two", run("chatty", "1").again(), run("exit", "1", "10"))
		c.force("one", run("chatty", "2"))
		c.waitProven("one")
	}},
	{name: "health", before: func(c *caller) {
		c.create("one", run("hello", "--quiet"))
		c.create("two", run("chatty", "1").again())
	}, do: func(c *caller) {
		c.failing("one", run("hello", "--quiet"), run("chatty", "2").unhealthy(), asked)
		c.deploy("two", run("chatty", "3").healthy())
		c.waitProven("two")
	}},
	{name: "rollback", before: func(c *caller) {
		c.create("one", run("chatty", "1"))
		c.force("one", run("hello", "--quiet"))
		c.waitProven("one")
	}, do: func(c *caller) {
		c.rollBack("one", run("chatty", "1").state())
		c.waitProven("one")
		c.rollBack("one", run("hello", "--quiet").state())
	}},
	{name: "stops", before: func(c *caller) {
		c.create("one", run("hello", "--quiet"))
		c.create("a:two", run("net").networked("service").again())
		c.create("three", run("chatty", "1"))
		c.create("four", run("chatty", "2"))
		c.halt("three")
		c.halt("four")
	}, do: func(c *caller) {
		c.halt("one")
		c.halt("a:two")
		c.goOn("one", run("hello", "--quiet").state())
		c.goOn("a:two", run("net").networked("service").again().state())
		c.force("three", run("hello", "--quiet", "instead"))
		c.destroy("four")
		c.createMoving("fails", run("exit", "3", "10").again(), exits(3), asked)
		c.waitRestarts("fails", 2)
		c.haltMoving("fails", exits(3))
	}},
	{name: "renames", before: func(c *caller) {
		c.create("one", run("net").networked("service"))
		c.create("two", run("chatty", "1"))
		c.halt("one")
		c.halt("two")
	}, do: func(c *caller) {
		c.rename("one", "a:three")
		c.goOn("a:three", run("net").networked("service").state())
		c.rename("two", "one")
		c.rename("one", "two")
	}},
	{name: "devices", do: func(c *caller) {
		c.addDevice("a:disk", "old")
		c.createMoving("a:several", run("several").with("disk").networked("service", "management"), exits(0))
		c.waitEnd("a:several", exits(0))
		c.setDevice("a:disk", "new", false)
		c.dumpDevice("a:disk", "new")
		c.setDevice("a:disk", "newer", true)
		c.removeDevice("a:disk")
		c.addDevice("a:empty", "")
	}},
	{name: "owners", before: func(c *caller) {
		c.addDevice("old", "")
	}, do: func(c *caller) {
		c.changeBy("control", thing{device, parse("a:owned")}, filled(""), do(parse("a:owned"), messages.BlockDeploy{Size: 1, Owner: "me"}))
		c.changeBy("control", thing{device, parse("old")}, filled(""), do(parse("old"), messages.OwnRequest{Kind: messages.KindBlock, Owner: "me"}))
		c.requireOwner("a:owned", "me")
		c.requireOwner("old", "me")
		c.removeDevice("a:owned")
		c.requireOwner("a:owned", "")
		c.addDevice("a:owned", "")
		c.requireOwner("a:owned", "")
	}},
	{name: "ends", do: func(c *caller) {
		c.createMoving("fails", run("exit", "3", "10").again(), exits(3), asked)
		c.createMoving("ends", run("exit", "7", "10"), exits(7))
		c.createMoving("nameless", run("exit", "8", "10", "refuse-name"), exits(64), exits(8))
		c.waitEnd("ends", exits(7))
		c.waitEnd("nameless", exits(8))
		c.waitRestarts("fails", 2)
		c.destroy("fails")
	}},
	{name: "policies", do: func(c *caller) {
		c.addPolicy("p:", messages.Policy{Unikernels: 3, CPUIDs: []int{0}, Memory: 64})
		c.addPolicy("p:", messages.Policy{Unikernels: 4, CPUIDs: []int{0}, Memory: 32, Block: messages.Some(5)})
		c.addPolicy("q:", messages.Policy{Unikernels: 1, CPUIDs: []int{0}, Memory: 32})
		c.removePolicy("p:")
	}},
	{name: "start", before: func(c *caller) {
		c.create("killed", run("hello", "--quiet"))
		c.createMoving("comes-back", run("chatty", "5").again(), exits(0), asked)
		c.createMoving("later", run("net").networked("service").again().startingAt(90), asked)
		c.create("rests", run("chatty", "6").again())
		c.halt("rests")
	}, offline: leaveRubbish, do: func(c *caller) {
		c.waitFor("all that should run", func() bool { return c.count(5) })
	}},
	{name: "absence", before: func(c *caller) {
		c.createMoving("ends", run("exit", "7", "500"), exits(7))
	}, offline: waitWithoutDaemon, seen: true, do: func(c *caller) {
		c.waitGone("ends")
		c.upgrade()
	}},
	{name: "import", fresh: true, offline: leaveNative, do: func(c *caller) {
		c.waitFor("what was imported", func() bool { return c.count(2) })
	}},
	{name: "stop of all", fresh: true, arguments: []string{"--stop-unikernels"}, do: func(c *caller) {
		c.create("one", run("hello", "--quiet"))
		c.create("two", run("chatty", "1"))
		c.createMoving("fails", run("exit", "3", "10").again(), exits(3), asked)
		c.create("rests", run("chatty", "2"))
		c.halt("rests")
		c.stop("one", "two")
	}},
}

// fullBridge is a bridge that nothing can be attached to.
const fullBridge = "full"

// makeFullBridge makes it on hosts that need it: that takes long.
func (h *host) makeFullBridge() {
	if !h.full {
		h.space.FullBridge(fullBridge)
		h.full = true
	}
}

// count tells whether so many unikernels have processes; it finds out whether the
// daemon lives.
func (c *caller) count(n int) bool {
	c.infos()
	return len(c.h.processes()) == n
}

// stop asks the daemon to stop, and with it the unikernels. They stay on record.
func (c *caller) stop(names ...string) {
	for _, name := range names {
		c.end(parse(name))
	}
	if !c.dead {
		c.h.stop()
		c.dead = true
	}
}

// startingAt has a startup priority.
func (g guest) startingAt(priority int) guest {
	g.Startup = messages.Some(priority)
	return g
}

// leaveRubbish kills unikernels, whose ends nobody sees, and leaves behind what a
// daemon might that dies at any moment.
func leaveRubbish(h *host) {
	for _, name := range []string{"killed", "comes-back", "later"} {
		h.endUnseen(parse(name))
	}
	killed := parse("killed")
	h.journal.is(thing{unikernel, killed}, absent)
	h.journal.is(thing{end, killed}, unseen)
	for _, path := range []string{"db/images/tmp-1", "db/block/tmp_1", "db/images/" + messages.Digest{}.String()} {
		require.NoError(h.t, os.WriteFile(h.path(path), []byte("rubbish"), 0o600))
	}
	require.NoError(h.t, unix.Mkfifo(h.path("fifo", "left:over"), 0o600))
	for _, parent := range h.cgroupParents() {
		require.NoError(h.t, os.Mkdir(filepath.Join(parent, "left:over"), 0o755))
	}
}

// waitWithoutDaemon waits until a unikernel has ended and another one has said something,
// which a keeper sees and hears.
func waitWithoutDaemon(h *host) {
	h.until("it ends", func() bool { return len(h.processes()[parse("ends").Label]) == 0 })
	if h.mode == kept {
		before := h.historySize(ticking)
		h.until("the keeper hears something", func() bool { return h.keeperDied() || h.historySize(ticking) > before })
	}
}

// leaveNative leaves the state of native albatross.
func leaveNative(h *host) {
	require.NoError(h.t, os.MkdirAll(h.path("db"), 0o700))
	plain, packed := run("hello", "--quiet"), run("chatty", "1").compressed()
	limit := messages.Policy{Unikernels: 3, CPUIDs: []int{0}, Memory: 64}
	state, err := wire.AppendState(nil, wire.State{
		Choice: wire.StateSince27,
		Unikernels: []messages.NamedConfig{
			{Name: parse("native"), Config: plain.config()},
			{Name: parse("p:native2"), Config: packed.config()},
		},
		Policies: []messages.NamedPolicy{{Name: parse("p:"), Policy: limit}},
	})
	require.NoError(h.t, err)
	require.NoError(h.t, os.WriteFile(h.path("db", "state"), state, 0o600))
	h.journal.is(thing{unikernel, parse("native")}, plain.state())
	h.journal.is(thing{unikernel, parse("p:native2")}, packed.state())
	h.journal.is(thing{policy, parse("p:")}, stateOfPolicy(limit))
}
