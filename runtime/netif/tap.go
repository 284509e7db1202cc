// Package netif owns the taps of unikernels and their attachment to bridges, in the
// network namespace of this process.
//
// A tap is made for one run of a unikernel. It vanishes with the process that has made it
// until it is kept, which is done once it is on record: so every tap is either on record
// or temporary. A tender opens a kept tap by its name. The tap outlives both the tender
// and the daemon, until the reader of the record removes it.
//
// The package changes nothing else about the bridges and taps of the host. It never lists
// all interfaces, of which there may be thousands, except at the start.
package netif

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/failpoint"
)

// names makes the kernel choose and take the lowest free number in one step.
const names = "vmmtap%d"

// A Tap is one that this process has made, to be kept or closed. Its methods are for one
// goroutine at a time.
type Tap struct {
	link messages.Link
	fd   int // -1: closed
	kept bool
}

// Create makes a tap that is up and attached to a bridge.
func Create(bridge string) (*Tap, error) {
	t, err := create(bridge)
	if err != nil {
		return nil, fmt.Errorf("cannot make a tap on bridge %s: %w", bridge, err)
	}
	return t, nil
}

func create(bridge string) (*Tap, error) {
	master, err := findBridge(bridge)
	if err != nil {
		return nil, err
	}
	t, err := open()
	if err != nil {
		return nil, err
	}
	failpoint.Here("tap/made")
	if err := attach(t.link.Index, master); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	failpoint.Here("tap/up")
	return t, nil
}

// open makes a tap that is down and not attached.
func open() (*Tap, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open /dev/net/tun: %w", err)
	}
	link, err := become(fd)
	if err != nil {
		_ = unix.Close(fd) // the tap vanishes with it, if it exists
		return nil, err
	}
	return &Tap{link: link, fd: fd}, nil
}

// become attaches a descriptor of /dev/net/tun to a new tap, with the flags with which
// tenders will open it. Nobody but our user may, and who can administer networks: a tap without
// an owner is for everybody who can open that file, which are all users of most machines.
func become(fd int) (link messages.Link, err error) {
	request, err := unix.NewIfreq(names)
	if err != nil {
		return link, fmt.Errorf("internal error: %w", err)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return link, err
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, unix.Geteuid()); err != nil {
		return link, err
	}
	found, err := Find(request.Name())
	if err != nil {
		return link, err
	}
	return messages.Link{Name: request.Name(), Index: found.Attrs().Index}, nil
}

// hostAddress is the address of the host's side of all taps, which nothing uses. A bridge
// without an address of its own takes the lowest of its ports: this is the highest
// possible one, so that no tap changes the bridge's when it comes or goes.
var hostAddress = net.HardwareAddr{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff}

// maxMTU is the largest MTU of a tap; a bridge can have a few bytes more.
const maxMTU = 65521

// adapt prepares a tap so that it changes neither the address nor the MTU of its future
// bridge, which otherwise takes the lowest of its ports. It gives it the group of the
// bridge: the host's filter knows by it on which bridge a frame arrives.
func adapt(tap netlink.Link, bridge *netlink.LinkAttrs) error {
	if err := netlink.LinkSetHardwareAddr(tap, hostAddress); err != nil {
		return fmt.Errorf("cannot set its address: %w", err)
	}
	if err := netlink.LinkSetMTU(tap, min(bridge.MTU, maxMTU)); err != nil {
		return fmt.Errorf("cannot set its MTU to %d, which is that of the bridge: %w", bridge.MTU, err)
	}
	if bridge.Group == 0 {
		return nil // a new tap has that
	}
	if err := netlink.LinkSetGroup(tap, int(bridge.Group)); err != nil {
		return fmt.Errorf("cannot set its group to %d, which is that of the bridge: %w", bridge.Group, err)
	}
	return nil
}

// attach puts a tap on a bridge first and then up: otherwise the host would use it as its
// own interface for a moment.
func attach(tap int, bridge *netlink.LinkAttrs) error {
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: tap}}
	if err := adapt(link, bridge); err != nil {
		return err
	}
	err := netlink.LinkSetMasterByIndex(link, bridge.Index)
	if errors.Is(err, unix.EXFULL) {
		return errors.New("all its ports are taken")
	}
	if err != nil {
		return err
	}
	failpoint.Here("tap/attached")
	return netlink.LinkSetUp(link)
}

// Attach attaches the tap of a record to a bridge, if it is not attached to that. It is fine if the
// tap is gone.
func Attach(record messages.Link, bridge string) error {
	master, err := findBridge(bridge)
	if err != nil {
		return err
	}
	tap, err := findTap(record)
	if err == nil && tap.MasterIndex != master.Index {
		err = attach(record.Index, master)
	}
	if err != nil && !errors.Is(err, ErrNoLink) {
		return fmt.Errorf("cannot attach tap %s to bridge %s again: %w", record.Name, bridge, err)
	}
	return nil
}

// Link returns the record of the tap.
func (t *Tap) Link() messages.Link { return t.link }

// Keep makes the tap outlive this process, and returns when a tender can open it. After
// an error the tap still vanishes with Close, but maybe not with the process.
func (t *Tap) Keep() error {
	if err := t.keep(); err != nil {
		return fmt.Errorf("cannot keep tap %s: %w", t.link.Name, err)
	}
	t.kept = true
	return nil
}

func (t *Tap) keep() error {
	if err := unix.IoctlSetInt(t.fd, unix.TUNSETPERSIST, 1); err != nil {
		return err
	}
	failpoint.Here("tap/kept")
	t.closeDescriptor()
	failpoint.Here("tap/closed")
	return t.awaitUnused()
}

func (t *Tap) closeDescriptor() {
	_ = unix.Close(t.fd) // closed whatever this returns
	t.fd = -1
}

const (
	// unusedTimeout is far longer than an exec takes, unless its disk has gone.
	unusedTimeout = 10 * time.Second
	// unusedPoll is the polling interval; most of the time one look is enough.
	unusedPoll = time.Millisecond
)

// awaitUnused waits until no process has the tap open; otherwise the kernel would answer a
// tender that it is busy. Another goroutine may be starting a process: between fork and
// exec the child has a copy of every descriptor, and the kernel does not report when the
// last one is closed.
func (t *Tap) awaitUnused() error {
	for end := time.Now().Add(unusedTimeout); ; time.Sleep(unusedPoll) {
		tap, err := findTap(t.link)
		if err != nil {
			return err
		}
		// A tap that is up has a carrier while a process has it open.
		if tap.RawFlags&unix.IFF_LOWER_UP == 0 {
			return nil
		}
		if time.Now().After(end) {
			return unix.EBUSY
		}
	}
}

// Close removes the tap, unless it is kept or closed already.
func (t *Tap) Close() error {
	if t.kept {
		return nil
	}
	err := Remove(t.link) // closing may not do, since others may have copies: see awaitUnused
	if t.fd >= 0 {
		t.closeDescriptor()
	}
	return err
}

// Remove deletes the tap of a record, whoever uses it, and waits for the kernel. If the
// index, the name or the kind differs, the tap is gone; the interface belongs to somebody
// else and stays.
func Remove(record messages.Link) error {
	tap, err := findTap(record)
	if err == nil {
		err = netlink.LinkDel(tap)
	}
	if err != nil && !errors.Is(err, ErrNoLink) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cannot remove tap %s: %w", record.Name, err)
	}
	failpoint.Here("tap/removed")
	return nil
}
