package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/guests"
)

// hvtGuest is a guest for hvt, and skips the test where none can run.
func hvtGuest(t *testing.T, program string, argv ...string) messages.Config {
	t.Helper()
	if err := guests.KVM(); err != nil {
		t.Skipf("this machine cannot run hvt: %v", err)
	}
	c := guest(program, argv...)
	c.Image = guests.Image(program, "hvt")
	return c
}

// TestHVT: the daemon creates, restarts, takes over and destroys a unikernel for hvt under
// our own tender.
func TestHVT(t *testing.T) {
	c := hvtGuest(t, "hello", "--quiet")
	h := newHost(t)
	h.create("one", c)
	first := h.pid("one")
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", first))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(line), bin+"/albatross-tender\x00hvt\x00--mem=16\x00--\x00"), "%q", line)
	require.Equal(t, "hello from albatross: --name=one --quiet", h.subscribe("one", 1).line())

	h.requireText("created unikernel", "one", messages.UnikernelRestart{Form: messages.RestartSame})
	second := h.pid("one")
	require.NotEqual(t, first, second)
	h.untilStored()
	h.kill()
	h.start()
	require.Equal(t, second, h.pid("one"), "it outlives the daemon")
	h.requireText("destroyed unikernel", "one", messages.UnikernelDestroy{})
	require.Empty(t, h.processes())
}

// TestHVTThatFails: what a unikernel dies of is on its console.
func TestHVTThatFails(t *testing.T) {
	c := hvtGuest(t, "fault", "null")
	h := newHost(t)
	h.create("one", c)
	h.until("its end is told", func() bool { ends := h.ends("one"); return len(ends) == 1 && ends[0].End != (messages.End{}) })
	require.Equal(t, messages.Exit{Known: true, Code: 1}, h.exit("one"))
	f := h.subscribe("one", 10)
	// On x86-64, or on arm64.
	require.Regexp(t, `^albatross-tender: cannot continue unikernel: (triple fault, .*: rip|an exception .*: pc)=0x[0-9a-f]+$`, f.line())
	require.Regexp(t, `^(rax|x0)=0x[0-9a-f]+ `, f.line())
}
