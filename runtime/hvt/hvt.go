// Package hvt runs Solo5 images of the target hvt: a unikernel alone in a virtual machine,
// which the processor confines with the help of KVM.
//
// Prepare checks everything that can be refused, opens the devices, and makes the machine:
// guest memory with the image in it, page tables, and one virtual CPU. Run lets it run. The
// guest asks for something by a hypercall, an OUT to a port or a store to an address behind all
// memory, which returns control to us.
// Each hypercall is first decoded (decode.go): every pointer, length, handle and offset is
// checked against guest memory and the devices. What remains is carried out (perform.go).
//
// The guest is hostile. It owns its CPU, with control registers and page tables, and so
// whatever it reads as addresses; only what KVM enforces confines it. KVM maps the memory
// of this process into the machine, with the protections that it has here, so that not even
// other page tables make code writable.
//
// One CPU means that guest memory does not change while we look at it. Nevertheless the
// argument of a hypercall is read once, before it is checked.
//
// Run needs no file system and no new privilege, and gives up both before the guest
// executes its first instruction (rules.go).
package hvt

import (
	"errors"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/solo5"
)

// ABIVersion is the version of the interface to the guest.
const ABIVersion = 2

// Config says how to run an image.
type Config struct {
	solo5.Config
	DumpCore string // directory for a core file of a guest that fails; empty: none

	kvm int // what Acquire has opened; 0: nothing
}

// Acquire opens all files, as that of solo5.Config does.
func (c *Config) Acquire() (err error) {
	if c.kvm, err = openKVM(); err != nil {
		return err
	}
	return c.Config.Acquire()
}

// Guest is an image in a virtual machine, ready to run.
type Guest struct {
	memory  memory
	machine machine
	devices []solo5.Device
	waiting []unix.PollFd // of the networks, in the order of the manifest
	core    core
}

// Prepare makes a guest of an image. It refuses everything that can be refused.
func Prepare(c Config) (*Guest, error) {
	i, file, err := c.OpenImage(image.HVT, ABIVersion)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(file) }()
	if err := i.CheckMemory(c.Memory); err != nil {
		return nil, err
	}
	if err := c.CheckDevices(i); err != nil {
		return nil, err
	}
	g := &Guest{machine: noMachine, core: noCore}
	if err := g.prepare(i, file, c); err != nil {
		_ = g.Close()
		return nil, err
	}
	return g, nil
}

// prepare acquires everything. If it fails, Close frees what it has acquired.
func (g *Guest) prepare(i *image.Image, file int, c Config) (err error) {
	if g.core, err = openCore(c.DumpCore); err != nil {
		return err
	}
	if g.devices, err = c.OpenDevices(i.Devices); err != nil {
		return err
	}
	for _, d := range g.devices {
		if d.Kind == image.Net {
			g.waiting = append(g.waiting, unix.PollFd{Fd: int32(d.File), Events: unix.POLLIN})
		}
	}
	if g.memory, err = newMemory(i.Usable(c.Memory)); err != nil {
		return err
	}
	if g.machine, err = newMachine(g.memory.all, c.kvm); err != nil {
		return err
	}
	info, err := bootInfo(g.memory.size(), i.End, g.machine.frequency, g.devices, c.Arguments)
	if err != nil {
		return err
	}
	copy(g.memory.bytes[bootInfoBase:], info)
	if err := g.memory.load(i, file); err != nil {
		return err
	}
	g.memory.writePageTables(i)
	g.memory.writeTables()
	return g.machine.reset(i.Entry, g.memory.stack-stackGap)
}

// Run runs the guest to its end, and returns its exit status. An error is a failure of the
// guest, or of what it runs on. Afterwards the process can do little but exit.
func (g *Guest) Run() (status int, err error) {
	runtime.LockOSThread()
	// Nothing is allocated from here on, unless the guest fails.
	debug.SetGCPercent(-1)
	if err := g.confine(); err != nil {
		return 0, err
	}
	return g.run()
}

// run runs the guest without giving up anything before.
func (g *Guest) run() (status int, err error) {
	for {
		r, err := g.next()
		switch {
		case err != nil:
			return 0, g.fail(err)
		case r.call == callHalt:
			return g.halt(r), nil
		}
		g.perform(r)
	}
}

// next runs the guest until its next hypercall.
func (g *Guest) next() (request, error) {
	o, err := g.machine.run()
	if err != nil {
		return request{}, err
	}
	return decode(&g.memory, g.devices, o)
}

// halt ends a guest that has asked for it.
func (g *Guest) halt(r request) (status int) {
	if r.status == statusAbort {
		g.core.dump(g.memory.bytes, g.machine.state(), r.data)
	}
	return int(r.status)
}

// fail completes an error that ends the guest.
func (g *Guest) fail(err error) error {
	s := g.machine.state()
	g.core.dump(g.memory.bytes, s, nil)
	return &failure{err, s}
}

// Close frees what Prepare acquired.
func (g *Guest) Close() error {
	errs := []error{g.core.close(), g.machine.close(), g.memory.close()}
	for _, d := range g.devices {
		errs = append(errs, d.Close())
	}
	*g = Guest{machine: noMachine, core: noCore}
	return errors.Join(errs...)
}
