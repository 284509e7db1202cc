package actors_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/tender"
	"albatross/test/guests"
	"albatross/test/netns"
)

// withTenders runs a test with each tender for each target that can be run here: our own,
// and those of Solo5.
func withTenders(t *testing.T, test func(t *testing.T, set func(*world), target string)) {
	for _, target := range guests.Targets() {
		for _, policy := range []tender.Policy{tender.Builtin, tender.Installed} {
			t.Run(target+" "+policy.String(), func(t *testing.T) {
				if _, err := exec.LookPath("solo5-" + target); err != nil && policy == tender.Installed {
					t.Skipf("solo5-%s is not installed", target)
				}
				if err := guests.KVM(); err != nil && target == "hvt" {
					t.Skipf("this machine cannot run hvt: %v", err)
				}
				test(t, func(w *world) {
					w.guests.Tenders = &tender.Finder{Dir: w.dir, Path: os.Getenv("PATH"), Builtin: builtin, Policy: policy}
				}, target)
			})
		}
	}
}

// TestTenders: a unikernel runs, outlives the daemon, and goes, under any tender.
func TestTenders(t *testing.T) {
	withTenders(t, func(t *testing.T, set func(*world), target string) {
		w := newWorld(t, set)
		config := guest("hello", "--quiet")
		config.Image = guests.Image("hello", target)
		w.succeeds("created unikernel", ":x", create(config))
		require.Equal(t, []string{"hello from albatross: --name=x --quiet"}, w.lines(":x", 1))
		pid := w.pid(":x")
		w.restart()
		require.Equal(t, pid, w.pid(":x"))
		w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
		w.requireNothing()
	})
}

// TestTendersUseDevices: what is made for a tender is what it expects.
func TestTendersUseDevices(t *testing.T) {
	withTenders(t, func(t *testing.T, set func(*world), target string) {
		w := newWorld(t, withBridge, withBlocks, set)
		port := netns.NewPort(t, bridge)
		net := echo()
		net.Image = guests.Image("net", target)
		w.succeeds("created unikernel", ":net", create(net))
		mac := messages.Network{Name: "service"}.Address(w.name(":net"))
		require.Equal(t, []string{mac.String() + " mtu 1500"}, w.lines(":net", 1))
		const ours, kind = "\x02ours!", "\x88\xb5"
		address := string(mac[:])
		port.Ask(address+ours+kind+"to the unikernel", ours+address+kind+"to the unikernel")

		w.succeeds("added block device", ":storage", messages.BlockAdd{Size: 1})
		disk := guest("disk", "write", "persisted")
		disk.AddName = false
		disk.Image = guests.Image("disk", target)
		disk.Blocks = []messages.BlockDevice{{Name: "storage"}}
		w.succeeds("created unikernel", ":disk", create(disk))
		require.Equal(t, []string{"1048576 bytes in sectors of 512", "persisted"}, w.lines(":disk", 2))
		w.until("the device is free", func() bool { return !w.blocks(":storage")[0].Active })
		contents := w.dump(":storage", 0)
		require.Equal(t, "persisted", string(contents[megabyte-512:megabyte-512+len("persisted")]))
		w.succeeds("destroyed unikernel", ":net", messages.UnikernelDestroy{})
		w.requireNothing()
		require.Len(t, netns.Ports(t, bridge), 1, "the one of the test")
	})
}
