package actors_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/machine"
	"albatross/test/netns"
)

// withThisMachine makes a world look at the machine that it runs on.
func withThisMachine(w *world) {
	netns.Need(w.t)
	w.config.Measure = func() (messages.Policy, error) { return machine.RootPolicy(w.dir) }
	var err error
	w.config.RootPolicy, err = w.config.Measure()
	require.NoError(w.t, err)
}

// A hardware is what a machine has until a test changes it. The daemon gets no notice of the
// change.
type hardware struct {
	mu  sync.Mutex
	has messages.Policy
	err error
}

func (h *hardware) look() (messages.Policy, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.has, h.err
}

func (h *hardware) becomes(has messages.Policy, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.has, h.err = has, err
}

// withHardware gives a world a machine that the test can change.
func withHardware(h *hardware) func(*world) {
	return func(w *world) {
		h.becomes(w.config.RootPolicy, nil)
		w.config.Measure = h.look
	}
}

func (w *world) root() messages.Policy {
	w.t.Helper()
	return w.policies(":")[":"]
}

// TestABridgeThatComesLater: everybody can use it as soon as it exists, and no unikernel ends when
// it is removed.
func TestABridgeThatComesLater(t *testing.T) {
	w := newWorld(t, withThisMachine)
	w.fails("interface br0 does not exist", ":x", create(echo()))
	w.makeBridge(bridge)
	w.succeeds("created unikernel", ":x", create(echo()))
	w.until("the policy has it", func() bool { return len(w.root().Bridges) == 1 })
	w.makeBridge("br1")
	w.until("the policy has another one", func() bool { return len(w.root().Bridges) == 2 })

	w.deleteBridge(bridge)
	w.until("it is gone from the policy", func() bool { return len(w.root().Bridges) == 1 })
	w.fails("interface br0 does not exist", ":y", create(echo()))
	w.fails("interface br0 does not exist", ":x", messages.UnikernelRestart{})
	w.pid(":x")
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.requireNothing()
}

// TestACPUThatComesAndGoes: a mount namespace of the tests' own shows the daemon other files of the
// kernel.
func TestACPUThatComesAndGoes(t *testing.T) {
	w := newWorld(t, withThisMachine)
	online := filepath.Join(t.TempDir(), "online")
	const event, list = "/sys/devices/system/cpu/cpu0/uevent", "/sys/devices/system/cpu/online"
	require.NoError(t, os.WriteFile(online, []byte("0,77\n"), 0o600))
	require.NoError(t, unix.Mount(online, list, "", unix.MS_BIND, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(list, 0)) })
	if err := os.WriteFile(event, []byte("change"), 0); err != nil {
		t.Skipf("cannot make the kernel show a CPU: %v", err)
	}
	w.until("the policy has it", func() bool { return slices.Equal(w.root().CPUIDs, []int{0, 77}) })
	require.NoError(t, os.WriteFile(online, []byte("0\n"), 0o600))
	require.NoError(t, os.WriteFile(event, []byte("change"), 0))
	w.until("it is gone from the policy", func() bool { return len(w.root().CPUIDs) == 1 })
}

// TestTheMachineIsLookedAtBeforeItRefuses: a change without notice counts, too.
func TestTheMachineIsLookedAtBeforeItRefuses(t *testing.T) {
	for what, tc := range map[string]struct {
		refusal string
		now     messages.Policy
		command messages.Command
		answer  string
	}{
		"memory": {
			"maximum allowed memory (32, used 0) would be exceeded (requesting 100)",
			messages.Policy{Unikernels: messages.MaxInt, CPUIDs: []int{0}, Memory: 100},
			create(withMemory(100)), "created unikernel",
		},
		"a CPU": {
			"CPUids 1 are not allowed by policy",
			messages.Policy{Unikernels: messages.MaxInt, CPUIDs: []int{0, 1}, Memory: 32},
			create(onCPU(1)), "created unikernel",
		},
		"disk": {
			"block device policy limit of 5 MB (used 0 MB) would be exceeded by the request (6 MB)",
			messages.Policy{Unikernels: messages.MaxInt, CPUIDs: []int{0}, Memory: 32, Block: messages.Some(6)},
			messages.BlockAdd{Size: 6}, "added block device",
		},
	} {
		t.Run(what, func(t *testing.T) {
			h := &hardware{}
			w := newWorld(t, func(w *world) {
				w.config.RootPolicy = messages.Policy{Unikernels: messages.MaxInt, CPUIDs: []int{0}, Memory: 32, Block: messages.Some(5)}
			}, withHardware(h))
			w.fails(tc.refusal, ":x", tc.command)
			h.becomes(messages.Policy{}, errors.New("it cannot be looked at"))
			w.fails(tc.refusal, ":x", tc.command)
			h.becomes(tc.now, nil)
			w.succeeds(tc.answer, ":x", tc.command)
			require.Equal(t, tc.now, w.root())
		})
	}
}

func withMemory(mb int) messages.Config {
	c := guest("hello", "--quiet")
	c.Memory = mb
	return c
}

func onCPU(cpu int) messages.Config {
	c := guest("hello", "--quiet")
	c.CPUIDs = []int{cpu}
	return c
}

// TestAMachineThatShrinks: no unikernel ends, and nothing more is given away.
func TestAMachineThatShrinks(t *testing.T) {
	h, log := &hardware{}, bytes.Buffer{}
	w := newWorld(t, withHardware(h), func(w *world) { w.log = &log })
	running := withMemory(100)
	running.CPUIDs = []int{0, 1}
	w.succeeds("created unikernel", ":x", create(running))
	pid := w.pid(":x")
	less := messages.Policy{Unikernels: messages.MaxInt, CPUIDs: []int{0}, Memory: 50}
	h.becomes(less, nil)
	w.fails("maximum allowed memory (50, used 100) would be exceeded (requesting 200)", ":y", create(withMemory(200)))
	require.Equal(t, less, w.root())
	require.Equal(t, pid, w.pid(":x"))
	w.fails("maximum allowed memory (50, used 100) would be exceeded (requesting 16)", ":y", create(withMemory(16)))
	require.Equal(t, success("added policy"), w.addPolicy("a:", policy(2, 64)))
	w.shutdown()
	require.Contains(t, log.String(), `beyond="CPU 1, 100 MB of memory (there are 50 MB)"`)
	require.Contains(t, log.String(), `path=a beyond="64 MB of memory (there are 50 MB)"`)
	w.start()
	require.Equal(t, pid, w.pid(":x"))
	w.until("the machine has been looked at", func() bool { return w.root().Memory == 50 })
	w.fails("CPUids 1 are not allowed by policy", ":x", messages.UnikernelRestart{})
	require.Equal(t, pid, w.pid(":x"))
	w.succeeds("created unikernel", ":x", force(withMemory(100))) // this needs no more than the former
}

// TestTheRootPolicyIsTheMachines: a policy that has been set for the root counts, whatever the
// machine has, until it is removed. The policy of the machine cannot be removed.
func TestTheRootPolicyIsTheMachines(t *testing.T) {
	h := &hardware{}
	w := newWorld(t, withHardware(h))
	refused := "cannot remove the policy of the root: it is what this machine has"
	w.fails(refused, ":", messages.PolicyRemove{})
	w.fails(refused, ":label", messages.PolicyRemove{})
	require.Equal(t, w.config.RootPolicy, w.root())

	require.Equal(t, success("added policy"), w.addPolicy(":", policy(5, 64)))
	more := messages.Policy{Unikernels: messages.MaxInt, CPUIDs: []int{0, 1, 2}, Memory: 512}
	h.becomes(more, nil)
	w.fails("maximum allowed memory (64, used 0) would be exceeded (requesting 100)", ":x", create(withMemory(100)))
	require.Equal(t, policy(5, 64), w.root())
	w.succeeds("removed policy", ":", messages.PolicyRemove{})
	w.succeeds("created unikernel", ":x", create(withMemory(500)))
	require.Equal(t, more, w.root())
	w.fails(refused, ":", messages.PolicyRemove{})
}

// TestManyWhoAreRefusedAtOnce share one look at the machine, and all get an answer.
func TestManyWhoAreRefusedAtOnce(t *testing.T) {
	w := newWorld(t)
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = w.connect(messages.AtVMMD)
		clients[i].send(":x", create(onCPU(9)))
	}
	for _, c := range clients {
		text := c.receive().Payload.(messages.Failure).Text
		require.True(t, strings.HasPrefix(string(text), "CPUids 9"), text)
	}
}
