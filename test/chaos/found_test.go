package chaos

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/test/inject"
	"albatross/test/netns"
)

// What sieges have found is in FOUND.md. These are tests of what needs real programs.

// rough is a host whose daemon injects the faults that it is told, and whose system calls can fail.
func rough(t *testing.T) *host {
	netns.Need(t)
	h := newHost(t, kept)
	h.calls = inject.New(1)
	h.arguments = []string{"--chaos", h.path("chaos.toml")}
	h.rough = true
	h.writeChaos("")
	t.Cleanup(func() {
		h.wipe()
		require.Empty(t, h.calls.Wait())
	})
	return h
}

// TestADeviceOfAStartThatIsCutOffLeavesItsNetwork: the host's actor fails while a tender is being
// launched for a stopped unikernel, which stays stopped then.
func TestADeviceOfAStartThatIsCutOffLeavesItsNetwork(t *testing.T) {
	for _, backend := range []messages.NetworkBackend{messages.KernelNetwork, messages.UserNetwork} {
		t.Run(string(backend), func(t *testing.T) {
			h := rough(t)
			h.settleIn()
			c := &caller{h: h}
			c.makeNetwork("n:0", netToMake{backend: backend, number: 1})
			c.deploy("one", web("n.0"))
			c.halt("one")
			h.check()

			h.calls.Set(inject.Fault{Call: inject.Exec, Delay: time.Second, Probability: 1})
			starting, asking := newRoughCaller(h), newRoughCaller(h)
			defer starting.leave()
			defer asking.leave()
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				starting.goOnRoughly("one", []string{web("n.0").state()})
			}()
			h.until("it is plugged in", func() bool {
				stations, _ := h.askProcesses()
				return len(stations) == 1
			})
			h.faulty("[[fault]]\nkind = 'crash-before'\nactor = 'host'\nmessage = 'messages.Ask'\nnth = 1",
				func() { asking.say("vmmd", command(messages.Name{}, messages.PolicyInfo{})) })
			<-answered
			h.calls.Set()
			h.check()
			require.Equal(t, []string{halted}, h.journal.all(thing{unikernel, parse("one")}), "it was cut off")
			h.end()
		})
	}
}

// faulty does something while the daemon injects faults into itself.
func (h *host) faulty(rules string, do func()) {
	h.t.Helper()
	log := &logReader{path: h.path("log")}
	h.writeChaos(rules)
	h.readChaosAgain(log)
	do()
	h.writeChaos("")
	h.readChaosAgain(log)
}

// TestABadMomentAtTheStartCostsNoLimits: a daemon that cannot make a cgroup because the machine has
// something too little does not go on without.
func TestABadMomentAtTheStartCostsNoLimits(t *testing.T) {
	h := rough(t)
	h.start()
	h.stop()
	h.calls.Set(inject.Fault{Call: inject.Mkdir, Path: "/sys/fs/cgroup/", Errno: unix.ENOSPC, Probability: 1})
	h.mayGiveUp = true
	h.launch(nothing)
	h.until("the daemon gives up", h.died)
	said, err := os.ReadFile(h.path("log"))
	require.NoError(t, err)
	require.Contains(t, string(said), "cannot use cgroups: ")
	h.calls.Set()
	h.start()
	h.end()
}
