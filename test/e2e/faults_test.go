package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// Here and in faults_blocks_test.go is a test for each way in which a client, or a file on disk,
// breaks a native albatrossd. Ours answers, and nothing else changes. The tests in kill_test.go are
// about what a daemon leaves behind that is killed.

// victim returns a host that has something to lose.
func victim(t *testing.T) *host {
	h := newHost(t)
	h.requireText("added policy", "a:", messages.PolicyAdd{Policy: messages.Policy{
		Unikernels: 3, CPUIDs: []int{0}, Memory: 64, Block: messages.Some(10),
	}})
	for _, name := range []string{"canary", "a:b"} {
		h.create(name, guest("hello", "--quiet"))
	}
	h.requireText("added block device", "a:disk", messages.BlockOldAdd{Size: 1, Data: messages.Some([]byte("old contents"))})
	return h
}

// A state is all that can be seen of a host.
type state struct {
	daemon     int // its pid
	unikernels []messages.NamedInfo
	processes  map[string][]int
	policies   []messages.NamedPolicy
	blocks     []messages.NamedBlock
	files      map[string]string // of block devices, with the hash of their contents
}

func (h *host) state() state {
	h.t.Helper()
	s := state{
		daemon:     h.daemon.Process.Pid,
		unikernels: h.infos(":"),
		processes:  h.settledProcesses(),
		policies:   h.ask(":", messages.PolicyInfo{}).(messages.SuccessPolicies).List,
		blocks:     h.blocks(":"),
		files:      map[string]string{},
	}
	for _, name := range h.files("db/block") {
		contents, err := os.ReadFile(h.path("db/block", name))
		require.NoError(h.t, err)
		s.files[name] = fmt.Sprintf("%x", sha256.Sum256(contents))
	}
	return s
}

// unharmed checks that do changes nothing.
func (h *host) unharmed(do func()) {
	h.t.Helper()
	before := h.state()
	do()
	require.Equal(h.t, before, h.state())
}

func (h *host) requireText(text, name string, command messages.Command) {
	h.t.Helper()
	require.Equal(h.t, messages.SuccessText{Text: messages.Public(text)}, h.ask(name, command))
}

func (h *host) requireRefused(text, name string, command messages.Command) {
	h.t.Helper()
	require.Equal(h.t, messages.Failure{Text: messages.Public(text)}, h.ask(name, command))
}

// TestShortSequence: a header whose sequence has fewer than 8 bytes.
func TestShortSequence(t *testing.T) {
	h := victim(t)
	h.unharmed(func() {
		for _, socket := range sockets {
			for n := range 8 {
				c := h.dial(socket)
				_, err := c.Write(framed(withSequence(make([]byte, n))))
				require.NoError(t, err)
				answer, err := io.ReadAll(c)
				require.NoError(t, err)
				require.Empty(t, answer, "it is no message")
			}
		}
	})
}

// withSequence returns a request for all policies with any sequence.
func withSequence(sequence []byte) []byte {
	header := element(0x30, concat(element(0x02, []byte{5}), element(0x04, sequence), element(0x0c, []byte(":"))))
	return element(0x30, concat(header, element(0xa0, element(0xa4, element(0xa0, element(0x05, nil))))))
}

func concat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// TestGetAboveLevel9: a command asks for an image at a compression level that does not exist.
func TestGetAboveLevel9(t *testing.T) {
	h := victim(t)
	h.unharmed(func() {
		for _, level := range []int{10, 99, -1, messages.MaxInt, messages.MinInt} {
			h.requireRefused(fmt.Sprintf("cannot compress at level %d: 0 to 9 are possible", level),
				"canary", messages.UnikernelGet{Form: 3, Level: level})
		}
		image := h.ask("canary", messages.UnikernelGet{Form: 3, Level: 9}).(messages.SuccessImage)
		require.Equal(t, guest("hello").Image, unpack(image.Compressed, image.Image))
	})
}

// TestOldInfoOfSeveralCPUs: info in an older form when a unikernel uses several CPUs.
func TestOldInfoOfSeveralCPUs(t *testing.T) {
	h := victim(t)
	cpus := h.ask(":", messages.PolicyInfo{}).(messages.SuccessPolicies).List[0].Policy.CPUIDs
	if len(cpus) < 2 {
		t.Skip("this machine has one CPU only")
	}
	wide := guest("hello", "--quiet")
	wide.CPUIDs = []int{cpus[1], cpus[0]}
	h.create("wide", wide)
	h.unharmed(func() {
		config := h.ask("wide", messages.UnikernelInfo{Form: 1}).(messages.SuccessConfigs).List[0].Config
		require.Equal(t, cpus[:1], config.CPUIDs)
		for form := 2; form < 6; form++ {
			info := h.ask("wide", messages.UnikernelInfo{Form: form}).(messages.SuccessInfos).List[0].Info
			require.Equal(t, cpus[:1], info.CPUIDs)
		}
		require.Equal(t, cpus[:2], h.infos("wide")[0].Info.CPUIDs)
	})
}

// TestCreateOfAPath: a unikernel without a name of its own.
func TestCreateOfAPath(t *testing.T) {
	h := victim(t)
	h.unharmed(func() {
		for _, path := range []string{":", "a:", "a:b:"} {
			refusal := fmt.Sprintf("cannot create a unikernel at the path %s: give it a name", path)
			h.requireRefused(refusal, path, create(guest("hello")))
			h.requireRefused(refusal, path, messages.UnikernelCreate{Form: 5, Force: true, Config: guest("hello")})
			h.requireRefused("destroy: not found", path, messages.UnikernelRestart{Form: messages.RestartSame})
		}
	})
	h.create("a:after", guest("hello", "--quiet"))
	h.requireText("created unikernel", "a:b", messages.UnikernelRestart{Form: messages.RestartSame})
	require.Len(t, h.infos("a:"), 2)
}

// TestDestroyOfAPath: destroy a:b: where a:b runs.
func TestDestroyOfAPath(t *testing.T) {
	h := victim(t)
	h.unharmed(func() {
		h.requireRefused("destroy: not found", "a:b:", messages.UnikernelDestroy{})
	})
}

// TestSecondDestroy: the second destroy of a unikernel that is already being destroyed. The first
// takes a while, since the process has been stopped.
func TestSecondDestroy(t *testing.T) {
	h := victim(t)
	h.unharmed(func() {
		f := h.subscribe("doomed", 0)
		h.create("doomed", guest("hello", "--quiet"))
		f.line() // a signal before the exec could get lost
		pid := h.pid("doomed")
		require.NoError(t, unix.Kill(pid, unix.SIGSTOP))
		h.until("it has stopped", func() bool { return statusOf(t, pid, "State") == "T (stopped)" })
		first, second := h.dial("vmmd"), h.dial("vmmd")
		say(t, first, "doomed", messages.UnikernelDestroy{})
		h.until("SIGTERM has been sent", func() bool { return pending(t, pid, unix.SIGTERM) })
		say(t, second, "doomed", messages.UnikernelDestroy{})
		require.True(t, isOpen(t, second))
		require.NoError(t, unix.Kill(pid, unix.SIGCONT))
		require.Equal(t, messages.SuccessText{Text: "destroyed unikernel"}, hear(t, first).Payload)
		require.NoError(t, second.SetReadDeadline(time.Now().Add(patience)))
		require.Equal(t, messages.Failure{Text: "destroy: not found"}, hear(t, second).Payload)
	})
}

// pending reports whether a signal waits for a process.
func pending(t *testing.T, pid int, signal unix.Signal) bool {
	t.Helper()
	set, err := strconv.ParseUint(statusOf(t, pid, "ShdPnd"), 16, 64)
	require.NoError(t, err)
	return set&(1<<(signal-1)) != 0
}

// TestRestartThatIsRefused: a restart with arguments that violate the policy, or name a busy
// device, leaves the former running. So does a forced create.
func TestRestartThatIsRefused(t *testing.T) {
	h := victim(t)
	held := h.set("a:disk", false)
	h.until("the device is busy", func() bool { return h.blocks("a:disk")[0].Active })
	for refusal, change := range map[string]func(*messages.Arguments){
		"maximum allowed memory (64, used 0) would be exceeded (requesting 65)": func(a *messages.Arguments) { a.Memory = 65 },
		"CPUids 7 are not allowed by policy":                                    func(a *messages.Arguments) { a.CPUIDs = []int{0, 7} },
		"cannot run without a CPU: give one at least":                           func(a *messages.Arguments) { a.CPUIDs = nil },
		"bridges service not allowed by policy":                                 func(a *messages.Arguments) { a.Networks = []messages.Network{{Name: "service"}} },
		"block device a:disk already in use":                                    func(a *messages.Arguments) { a.Blocks = []messages.BlockDevice{{Name: "disk"}} },
		"block device a:nowhere not found":                                      func(a *messages.Arguments) { a.Blocks = []messages.BlockDevice{{Name: "nowhere"}} },
		`cannot pass argument 1: it contains a zero byte`:                       func(a *messages.Arguments) { a.Argv = messages.Some([]string{"\x00"}) },
	} {
		config := guest("hello")
		change(&config.Arguments)
		h.unharmed(func() {
			h.requireRefused(refusal, "a:b", messages.UnikernelRestart{Form: messages.RestartArgs2, Args: messages.Some(config.Arguments)})
			h.requireRefused(refusal, "a:b", messages.UnikernelCreate{Form: 5, Force: true, Config: config})
		})
	}
	require.NoError(t, held.Close())
	h.untilFree("a:disk")
	h.unharmed(func() { // the manifest of the image does not have the device
		config := guest("hello")
		config.Blocks = []messages.BlockDevice{{Name: "disk"}}
		answer := h.ask("a:b", messages.UnikernelRestart{Form: messages.RestartArgs2, Args: messages.Some(config.Arguments)})
		require.Contains(t, answer.(messages.Failure).Text, "does not match with manifest")
	})
}

// TestUnusablePolicies come from a client that does not check them, as our clients do.
func TestUnusablePolicies(t *testing.T) {
	h := victim(t)
	usable := messages.Policy{Unikernels: 1, CPUIDs: []int{0}, Memory: 17}
	for refusal, change := range map[string]func(*messages.Policy){
		"Unusable policy with no unikernels":         func(p *messages.Policy) { p.Unikernels = 0 },
		"Unusable policy with no CPUids":             func(p *messages.Policy) { p.CPUIDs = nil },
		"Unusable policy with memory 16 MB <= 16 MB": func(p *messages.Policy) { p.Memory = 16 },
		"Unusable policy with block -1 MB < 0 MB":    func(p *messages.Policy) { p.Block = messages.Some(-1) },
	} {
		p := usable
		change(&p)
		h.unharmed(func() {
			for _, path := range []string{":", "a:", "new:"} {
				h.requireRefused(refusal, path, messages.PolicyAdd{Policy: p})
			}
		})
	}
	h.requireText("added policy", "new:", messages.PolicyAdd{Policy: usable})
}
