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

// withSolo5 has a world use the tender of Solo5, where that can be run.
func withSolo5(t *testing.T, target string) func(*world) {
	if _, err := exec.LookPath("solo5-" + target); err != nil {
		t.Skipf("solo5-%s is not installed", target)
	}
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		require.NoError(t, f.Close())
	} else if target == "hvt" {
		t.Skipf("this machine cannot run hvt: %v", err)
	}
	return func(w *world) {
		w.guests.Tenders = &tender.Finder{Dir: w.dir, Path: os.Getenv("PATH"), Policy: tender.Installed}
	}
}

// TestSolo5TendersUseDevices: what is made for a tender of Solo5 is what it
// expects.
func TestSolo5TendersUseDevices(t *testing.T) {
	for _, target := range guests.Targets() {
		t.Run(target, func(t *testing.T) {
			w := newWorld(t, withBridge, withBlocks, withSolo5(t, target))
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
}
