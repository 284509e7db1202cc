// Package spt runs Solo5 images of the target spt: it turns a unikernel into an ordinary
// Linux process that may do next to nothing.
//
// No tender is left beside or inside that process. Prepare checks everything that can be
// refused, opens the devices and writes an executable into a file in memory: all of guest
// memory as its segments, with the boot info filled in, and a stub of a few dozen
// instructions. The process that executes that file becomes the guest: Linux maps the
// segments with their protections; the stub maps the image over them where unikernels share
// it, closes all other descriptors, forbids itself new privileges, loads the seccomp filter
// and jumps to the guest.
//
// The guest then has its memory, a console (descriptor 1), a set to wait on, a timer, and
// its devices; rules says what it may do with them. It can also read what Linux maps into
// any process: the vdso, which only tells the time; and the stack that Linux made, which
// holds the arguments of the command line, as seen by ps, and no environment. Neither
// helps it, since the filter judges every system call, wherever it is made.
//
// RLIMIT_CORE governs core dumps, and the rules for all processes of a user govern
// ptrace, as with Solo5's tender: a unikernel that crashes can be debugged like any
// program.
//
// Linux 5.9 is needed, for close_range(2).
package spt

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/seccomp"
	"albatross/runtime/solo5"
)

// ABIVersion is the version of the interface to the guest.
const ABIVersion = 2

// The descriptors of the guest. They are the same for each guest and consecutive, so that
// everything after the last one can be closed: that of a device, or the other end of one, which
// the guest may not use.
const (
	fdConsole = 1
	fdEpoll   = 3
	fdTimer   = 4
	fdDevices = 5
)

// Peer returns the descriptor that a guest with a number of devices has for the other end of a
// network. The index counts those ends, in the order of their numbers on the command line.
func Peer(devices, index int) int { return fdDevices + devices + index }

// timerEvent is the data in the event of the timer; the event of a network has its index
// in the manifest.
const timerEvent = 0xfffffffe

// Guest is an image with everything it needs, ready to be executed.
type Guest struct {
	executable int
	image      int
	epoll      int
	timer      int
	devices    []solo5.Device
}

// Prepare makes a guest of an image. It refuses everything that can be refused.
func Prepare(c solo5.Config) (*Guest, error) {
	i, file, err := c.OpenImage(image.SPT, ABIVersion)
	if err != nil {
		return nil, err
	}
	g := &Guest{image: file, executable: -1, epoll: -1, timer: -1}
	if err := g.prepare(i, c); err != nil {
		_ = g.Close()
		return nil, err
	}
	return g, nil
}

// prepare acquires everything. If it fails, Close frees what it has acquired.
func (g *Guest) prepare(i *image.Image, c solo5.Config) (err error) {
	if err := checkMemory(i, c.Memory); err != nil {
		return err
	}
	if err := c.CheckDevices(i); err != nil {
		return err
	}
	if g.devices, err = c.OpenDevices(i.Devices); err != nil {
		return err
	}
	if err := g.openEvents(); err != nil {
		return fmt.Errorf("cannot prepare events: %w", err)
	}
	info, err := bootInfo(c.Memory, i.End, g.devices, c.Arguments)
	if err != nil {
		return err
	}
	regions := layout(i, c.Memory, info, solo5.Shareable(g.image, unix.PROT_READ|unix.PROT_EXEC))
	s := stub{
		entry:       i.Entry,
		stack:       c.Memory - stackGap,
		bootInfo:    bootInfoBase,
		mapped:      regions,
		descriptors: fdEpoll + len(g.Descriptors()) - 1,
		secret:      c.Secret,
		filter:      seccomp.Compile(rules(g.devices)),
	}
	g.executable, err = writeExecutable(placeInFile(append(regions, stubRegion(s.bytes()))), g.image)
	return err
}

// openEvents makes the timer and the set that the guest waits on.
func (g *Guest) openEvents() (err error) {
	if g.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return err
	}
	if g.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if err := g.watch(g.timer, timerEvent); err != nil {
		return err
	}
	for i, d := range g.devices {
		if d.Kind != image.Net {
			continue
		}
		if err := g.watch(d.File, uint32(i+1)); err != nil {
			return err
		}
	}
	return nil
}

// watch adds a descriptor to the set; its events contain data, in 64 bits of which the
// upper half is zero.
func (g *Guest) watch(fd int, data uint32) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(data)}
	return unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, fd, &event)
}

// Close frees what Prepare acquired. A process that was started is not affected.
func (g *Guest) Close() error {
	var errs []error
	for _, fd := range append(g.Descriptors(), g.executable) {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	*g = Guest{image: -1, executable: -1, epoll: -1, timer: -1}
	return errors.Join(errs...)
}

// Executable returns the descriptor of the file to execute. To start the guest as a
// child, execute /proc/self/fd/N in it and then close the Guest; Exec works without a
// child.
func (g *Guest) Executable() int { return g.executable }

// Descriptors returns what the executed file must find open, in this order, from
// descriptor 3 on; 0 to 2 are the guest's console. The guest keeps all but the last, the
// image.
func (g *Guest) Descriptors() []int {
	fds := []int{g.epoll, g.timer}
	for _, d := range g.devices {
		fds = append(fds, d.File)
	}
	return append(append(fds, solo5.Peers(g.devices)...), g.image)
}
