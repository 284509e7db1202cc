package ledger

import (
	"errors"
	"fmt"
	"slices"

	"albatross/messages"
)

// A device is a block device of the host.
type device struct {
	size int  // MB
	busy bool // it is being made, written, read or removed
}

// active reports whether anybody uses a block device.
func (l *Ledger) active(name messages.Name) bool {
	_, used := l.users[name]
	return used || l.devices[name].busy
}

// HoldDevice records an existing block device, whatever the policies say.
func (l *Ledger) HoldDevice(name messages.Name, size int) {
	l.devices[name] = device{size: size}
	l.count(name.Path, usage{block: size})
}

// ReserveDevice reserves room for a new block device of size MB, or returns why not. The
// device is busy until it is freed or dropped.
func (l *Ledger) ReserveDevice(name messages.Name, size int) error {
	if _, ok := l.devices[name]; ok {
		return errors.New("block device with same name already exists")
	}
	if size <= 0 {
		return fmt.Errorf("cannot make a block device of %d MB: 1 is the smallest", size)
	}
	for path, p := range l.above(name.Path) {
		if err := allowsBlock(p, l.used[path].block, size); err != nil {
			return l.refusal(path, err)
		}
	}
	l.HoldDevice(name, size)
	l.setBusy(name, true)
	return nil
}

func allowsBlock(p messages.Policy, used, size int) error {
	if p.Damaged {
		return errDamaged
	}
	if !p.Block.OK {
		return errors.New("no block devices are allowed by policy")
	}
	if size > p.Block.Value-used {
		return fmt.Errorf("block device policy limit of %d MB (used %d MB) would be exceeded by the request (%d MB)",
			p.Block.Value, used, size)
	}
	return nil
}

// Device reports whether there is a block device, and whether a command about it is under way.
func (l *Ledger) Device(name messages.Name) (exists, busy bool) {
	d, exists := l.devices[name]
	return exists, d.busy
}

// TakeDevice makes an unused block device busy. what begins the text of a refusal: "set
// block".
func (l *Ledger) TakeDevice(name messages.Name, what string) (size int, err error) {
	d, ok := l.devices[name]
	switch {
	case !ok:
		return 0, fmt.Errorf("%s: not found", what)
	case l.active(name):
		return 0, fmt.Errorf("%s: is in use", what)
	}
	l.setBusy(name, true)
	return d.size, nil
}

// FreeDevice ends a TakeDevice or ReserveDevice.
func (l *Ledger) FreeDevice(name messages.Name) { l.setBusy(name, false) }

func (l *Ledger) setBusy(name messages.Name, busy bool) {
	d := l.devices[name]
	d.busy = busy
	l.devices[name] = d
}

// DropDevice removes a block device.
func (l *Ledger) DropDevice(name messages.Name) {
	d := l.devices[name]
	delete(l.devices, name)
	l.count(name.Path, usage{block: -d.size})
}

// DeviceSize returns the size of a block device in MB; 0 if there is none.
func (l *Ledger) DeviceSize(name messages.Name) int { return l.devices[name].size }

// Blocks returns the block devices that a query for name shows, in the order of listings:
// the one of that name, or those at and below a path with names relative to it.
func (l *Ledger) Blocks(name messages.Name) []messages.NamedBlock {
	if d, ok := l.devices[name]; ok && !name.IsPath() { // native makes some that are named like a path
		return []messages.NamedBlock{{Name: name, Size: d.size, Active: l.active(name)}}
	}
	var list []messages.NamedBlock
	for n, d := range l.devices {
		if name.IsPath() && name.Covers(n) {
			list = append(list, messages.NamedBlock{Name: name.Relative(n), Size: d.size, Active: l.active(n)})
		}
	}
	slices.SortFunc(list, func(a, b messages.NamedBlock) int { return a.Name.Compare(b.Name) })
	return list
}

// Devices returns the block devices of a unikernel. They are at its own path, or below it
// if they are given with a path.
func Devices(name messages.Name, args messages.Arguments) []messages.Name {
	devices := make([]messages.Name, len(args.Blocks))
	for i, b := range args.Blocks {
		devices[i] = b.Of(name)
	}
	return devices
}

func (l *Ledger) checkDevices(name messages.Name, args messages.Arguments) error {
	devices := Devices(name, args)
	for i, n := range devices {
		d, ok := l.devices[n]
		if !ok || n.IsPath() { // native makes some that are named like a path, and cannot use them either
			return fmt.Errorf("block device %s not found", n)
		}
		user, used := l.users[n]
		if d.busy || used && user != name || slices.Contains(devices[:i], n) {
			return fmt.Errorf("block device %s already in use", n)
		}
	}
	return nil
}
