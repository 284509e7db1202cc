package guest

import (
	"context"
	"errors"
	"os"
	"slices"

	"albatross/messages"
	"albatross/runtime/block"
	"albatross/runtime/failpoint"
	"albatross/runtime/fifo"
	"albatross/runtime/netif"
)

// Free removes what exists of a unikernel: its cgroup, its places in networks, the taps that are on record, and the
// name of its console pipe, which a start that has failed may have left, or an older daemon.
func (m *Machine) Free(name messages.Name, taps []messages.Link) error {
	err := fifo.Remove(m.Console(name))
	failpoint.Here("equip/fifo-removed")
	ctx, cancel := context.WithTimeout(context.Background(), plugTimeout)
	defer cancel()
	m.Networks.Unplug(ctx, name)
	for _, link := range taps {
		if link == (messages.Link{}) { // of a network without taps
			continue
		}
		err = errors.Join(err, netif.Remove(link))
		failpoint.Here("equip/tap-removed")
	}
	if m.Cgroups != nil {
		err = errors.Join(err, m.Cgroups.Remove(name))
	}
	failpoint.Here("equip/all-removed")
	return err
}

// Sweep removes what a crash has left behind: images, console pipes and cgroups that no
// record mentions. It returns the block devices. All that is in these directories is
// ours.
func (m *Machine) Sweep(names map[messages.Name]bool, images map[messages.Digest]bool) (devices []block.Device, errs []error) {
	devices, errs, err := m.Blocks.Scan()
	errs = append(errs, err)
	failpoint.Here("boot/devices-found")
	_, err = m.Images.Collect(func(d messages.Digest) bool { return images[d] || m.KeepImages })
	errs = append(errs, err)
	failpoint.Here("boot/images-collected")
	errs = append(errs, m.sweepConsoles(names)...)
	failpoint.Here("boot/fifos-swept")
	if m.Cgroups != nil {
		errs = append(errs, m.Cgroups.Sweep(func(n messages.Name) bool { return names[n] }))
	}
	failpoint.Here("boot/cgroups-swept")
	return devices, slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

func (m *Machine) sweepConsoles(keep map[messages.Name]bool) (errs []error) {
	entries, err := os.ReadDir(m.FIFODir)
	errs = append(errs, err)
	for _, e := range entries {
		if n, err := messages.ParseName(e.Name()); err == nil && !keep[n] {
			errs = append(errs, fifo.Remove(m.Console(n)))
		}
	}
	return errs
}
