package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/runtime/tender"
	"albatross/sockets/wire"
	"albatross/test/netns"
)

// asNativeTender stands for solo5-spt if the test binary was started under that name. It is one
// process, as solo5-spt is.
func asNativeTender() {
	if filepath.Base(os.Args[0]) != "solo5-spt" {
		return
	}
	fmt.Println("from native")
	n := 0
	for range time.Tick(50 * time.Millisecond) {
		n++
		if _, err := fmt.Println("tick", n); err != nil {
			os.Exit(1)
		}
	}
}

// leaveNative makes what a native albatross leaves that is killed: its state, and in its directory
// images and pipes.
func (h *host) leaveNative(unikernels ...messages.NamedConfig) {
	h.t.Helper()
	for _, dir := range []string{"fifo", "db/block", "bin"} {
		require.NoError(h.t, os.MkdirAll(h.path(dir), 0o700))
	}
	itself, err := os.ReadFile("/proc/self/exe")
	require.NoError(h.t, err)
	require.NoError(h.t, os.WriteFile(h.path("bin", "solo5-spt"), itself, 0o700))
	state, err := wire.AppendState(nil, wire.State{Choice: wire.StateSince27, Unikernels: unikernels})
	require.NoError(h.t, err)
	require.NoError(h.t, os.WriteFile(h.path("db", "state"), state, 0o600))
	for _, u := range unikernels {
		require.NoError(h.t, os.WriteFile(h.nativeImage(u.Name), u.Config.Image, 0o600))
		require.NoError(h.t, fifo.Create(fifo.Path(h.path("fifo"), u.Name)))
	}
}

func (h *host) nativeImage(n messages.Name) string { return tender.NativeImage(h.dir, n) }

// runNative runs a unikernel as native albatross does. The channel is closed when it has ended.
func (h *host) runNative(name messages.Name, guest tender.Guest) (pid int, ended chan struct{}) {
	h.t.Helper()
	console, err := fifo.OpenWriter(fifo.Path(h.path("fifo"), name))
	require.NoError(h.t, err)
	defer console.Close()
	guest.Image, guest.Name = h.nativeImage(name), string(name.Label)
	c := exec.Command(h.path("bin", "solo5-spt"), tender.Args(guest)...)
	c.Stdout = console
	c.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	require.NoError(h.t, c.Start())
	ended = make(chan struct{})
	go func() { defer close(ended); _ = c.Wait() }()
	return c.Process.Pid, ended
}

// TestNativeLeftRunning: a daemon takes over what a native albatross runs that was killed, with all
// that it has. It ends as if it had been ours.
func TestNativeLeftRunning(t *testing.T) {
	withBridges(t, "service")
	h := emptyHost(t)
	name := messages.Name{Path: "a", Label: "x"}
	config := echo("service")
	config.Blocks = []messages.BlockDevice{{Name: "storage", Device: messages.Some("disk")}}
	config.Argv = messages.Some([]string{"one"})
	h.leaveNative(messages.NamedConfig{Name: name, Config: config})
	require.NoError(t, os.WriteFile(h.path("db", "block", "a:disk"), make([]byte, 1<<20), 0o600))
	tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "vmmtap7"}, Mode: netlink.TUNTAP_MODE_TAP}
	require.NoError(t, netlink.LinkAdd(tap))
	bridge, err := netlink.LinkByName("service")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetMaster(tap, bridge))
	pid, ended := h.runNative(name, tender.Guest{
		Memory: 16, Argv: []string{"one"},
		Networks: []tender.Network{{Name: "service", Tap: "vmmtap7", MAC: config.Networks[0].Address(name)}},
		Blocks:   []tender.Block{{Name: "storage", File: h.path("db", "block", "a:disk"), SectorSize: messages.Some(512)}},
	})

	h.start()
	require.Contains(t, h.log(), "Unikernel taken over")
	require.Len(t, h.infos("a:x"), 1)
	require.Equal(t, map[string][]int{"x": {pid}}, h.processes(), "nothing runs twice")
	h.subscribe("a:x", 0).line()
	require.NoFileExists(t, h.nativeImage(name))
	h.untilStored()
	h.kill()
	h.start()
	require.Equal(t, map[string][]int{"x": {pid}}, h.processes())
	h.subscribe("a:x", 0).line()
	require.Contains(t, netns.Ports(t, "service"), "vmmtap7")
	h.requireText("destroyed unikernel", "a:x", messages.UnikernelDestroy{})
	<-ended
	require.NotContains(t, netns.Ports(t, "service"), "vmmtap7")
	require.NoError(t, os.RemoveAll(h.path("bin")))
}

// TestNativeLeftRunningOtherwise: no daemon starts a unikernel beside a process that it cannot take
// over. It starts the unikernel when that process has ended.
func TestNativeLeftRunningOtherwise(t *testing.T) {
	h := emptyHost(t)
	other, x := messages.Name{Label: "other"}, messages.Name{Label: "x"}
	config := guest("disk", "hold")
	config.Blocks = []messages.BlockDevice{{Name: "storage", Device: messages.Some("disk")}}
	h.leaveNative(messages.NamedConfig{Name: x, Config: guest("hello")}, messages.NamedConfig{Name: other, Config: guest("hello")})
	disk := h.path("db", "block", ":disk")
	require.NoError(t, os.WriteFile(disk, make([]byte, 1<<20), 0o600))
	pid, ended := h.runNative(x, tender.Guest{Memory: 17, Blocks: []tender.Block{{Name: "storage", File: disk}}})

	refusal := func(what string) messages.Failure {
		return messages.Failure{Text: messages.Publicf("cannot run it beside process %d (solo5-spt of %s), which is none of this daemon's and uses %s: end that first (kill %d)",
			pid, h.nativeImage(x), what, pid)}
	}
	for range 2 { // the next daemon does the same
		h.start()
		h.until("the other one runs", func() bool { return len(h.infos("other")) == 1 })
		require.Empty(t, h.infos("x"))
		require.Equal(t, []int{pid}, h.processes()["x"])
		require.Equal(t, refusal("the block device "+disk), h.ask("new", create(config)))
		h.requireRefused(fmt.Sprintf("remove block: is in use by process %d, which is none of this daemon's", pid), "disk", messages.BlockRemove{})
		ends := h.ends("x")
		require.Len(t, ends, 1)
		require.True(t, ends[0].Wait.OK)
		h.until("the list of ends has the reason", func() bool {
			return h.ends("x")[0].Wait.Value.Cause == "it could not be started: "+refusal("the console :x").Text
		})
		require.Contains(t, h.log(), "it has 17 MB of memory, and not 16")
		require.NoError(t, h.stop())
	}
	h.start()
	require.NoError(t, unix.Kill(pid, unix.SIGTERM))
	<-ended
	h.until("it runs", func() bool { return len(h.infos("x")) == 1 })
	require.Len(t, h.settledProcesses()["x"], 1)
	h.requireText("created unikernel", "new", create(config))
	h.until("it has ended by itself", func() bool { return len(h.infos("new")) == 0 })
	require.NoError(t, os.RemoveAll(h.path("bin")))
	for _, f := range []string{h.nativeImage(x), h.nativeImage(other)} {
		require.NoError(t, os.Remove(f))
	}
	require.True(t, slices.Contains(h.files("db/block"), filepath.Base(disk)))
}
