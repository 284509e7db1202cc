// Package spt runs Solo5 images of the target spt: it turns a unikernel into an ordinary
// Linux process that may do next to nothing.
//
// No tender is left beside or inside that process. Prepare checks everything that can be
// refused, opens the devices and writes an executable into a file in memory: all of guest
// memory as its segments, with the boot info filled in, and a stub of a few dozen
// instructions. The process that executes that file becomes the guest: Linux maps the
// segments with their protections; the stub closes all other descriptors, forbids itself
// new privileges, loads the seccomp filter and jumps to the guest.
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
	"path/filepath"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
)

// ABIVersion is the version of the interface to the guest.
const ABIVersion = 2

// The descriptors of the guest. They are the same for each guest and consecutive, so that
// everything after the last device can be closed.
const (
	fdConsole = 1
	fdEpoll   = 3
	fdTimer   = 4
	fdDevices = 5
)

// timerEvent is the data in the event of the timer; the event of a network has its index
// in the manifest.
const timerEvent = 0xfffffffe

// Config says how to run an image.
type Config struct {
	Image     string // path
	Memory    uint64 // bytes, counted from address 0
	Arguments []string
	Networks  []Network
	Blocks    []Block
}

// Guest is an image with everything it needs, ready to be executed.
type Guest struct {
	executable int
	epoll      int
	timer      int
	devices    []device
}

// Prepare makes a guest of an image. It refuses everything that can be refused. Its
// errors omit the directories of files: they are printed on the console of the unikernel,
// which its owner reads.
func Prepare(c Config) (*Guest, error) {
	// O_NONBLOCK: the open of a FIFO in place of the image would block.
	file, err := open(c.Image, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot open image: %s: %w", filepath.Base(c.Image), err)
	}
	defer func() { _ = unix.Close(file) }()
	i, err := readImage(file)
	if err != nil {
		return nil, err
	}
	if err := check(i, c); err != nil {
		return nil, err
	}
	g := &Guest{executable: -1, epoll: -1, timer: -1}
	if err := g.prepare(i, file, c); err != nil {
		_ = g.Close()
		return nil, err
	}
	return g, nil
}

func readImage(file int) (*image.Image, error) {
	var s unix.Stat_t
	if err := unix.Fstat(file, &s); err != nil {
		return nil, fmt.Errorf("cannot read image: %w", err)
	}
	if s.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errors.New("cannot read image: not a regular file")
	}
	i, err := image.Read(reader(file), s.Size)
	if err != nil {
		return nil, err
	}
	return i, i.CheckABI(image.SPT, ABIVersion)
}

// reader is a descriptor as an io.ReaderAt.
type reader int

func (r reader) ReadAt(b []byte, offset int64) (int, error) {
	n, err := retry(func() (int, error) { return unix.Pread(int(r), b, offset) })
	if err == nil && n < len(b) {
		err = errors.New("end of file")
	}
	return n, err
}

// open opens a file with close-on-exec, so that no guest inherits it by accident.
func open(path string, flags int) (int, error) {
	return retry(func() (int, error) { return unix.Open(path, flags|unix.O_CLOEXEC, 0) })
}

// retry repeats what a signal interrupted; the runtime sends itself some, and they
// interrupt some file systems.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// check refuses an image and a configuration that do not fit together.
func check(i *image.Image, c Config) error {
	if err := checkMemory(i, c.Memory); err != nil {
		return err
	}
	var blocks, networks []string
	for _, b := range c.Blocks {
		blocks = append(blocks, b.Name)
	}
	for _, n := range c.Networks {
		networks = append(networks, n.Name)
	}
	if err := i.MatchDevices(blocks, networks); err != nil {
		return fmt.Errorf("cannot attach devices: %w", err)
	}
	return nil
}

// prepare acquires everything. If it fails, Close frees what it has acquired.
func (g *Guest) prepare(i *image.Image, file int, c Config) error {
	if err := g.openDevices(i.Devices, c); err != nil {
		return err
	}
	if err := g.openEvents(); err != nil {
		return fmt.Errorf("cannot prepare events: %w", err)
	}
	info, err := bootInfo(c.Memory, i.End, g.devices, c.Arguments)
	if err != nil {
		return err
	}
	s := stub{
		entry:       i.Entry,
		stack:       c.Memory - 8, // as after a call: aligned to 16 minus 8
		bootInfo:    bootInfoBase,
		descriptors: fdDevices + len(g.devices),
		filter:      compileFilter(rules(g.devices)),
	}
	g.executable, err = writeExecutable(layout(i, c.Memory, info, s.bytes()), file)
	return err
}

// openDevices opens the devices of the manifest, in its order.
func (g *Guest) openDevices(declared []image.Device, c Config) error {
	for _, d := range declared {
		opened, err := c.openDevice(d)
		if err != nil {
			return err
		}
		g.devices = append(g.devices, opened)
	}
	return nil
}

func (c Config) openDevice(d image.Device) (device, error) {
	for _, b := range c.Blocks {
		if d.Kind == image.Block && d.Name == b.Name {
			return openBlock(b)
		}
	}
	for _, n := range c.Networks {
		if d.Kind == image.Net && d.Name == n.Name {
			return openNetwork(n)
		}
	}
	return device{}, fmt.Errorf("internal error: device %v is not attached though all were checked", d)
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
		if d.kind != image.Net {
			continue
		}
		if err := g.watch(d.file, uint32(i+1)); err != nil {
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
	*g = Guest{executable: -1, epoll: -1, timer: -1}
	return errors.Join(errs...)
}

// Executable returns the descriptor of the file to execute. To start the guest as a
// child, execute /proc/self/fd/N in it and then close the Guest; Exec works without a
// child.
func (g *Guest) Executable() int { return g.executable }

// Descriptors returns what the executed file must find open, in this order, from
// descriptor 3 on; 0 to 2 are the guest's console.
func (g *Guest) Descriptors() []int {
	fds := []int{g.epoll, g.timer}
	for _, d := range g.devices {
		fds = append(fds, d.file)
	}
	return fds
}
