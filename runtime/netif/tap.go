// Package netif owns the taps of unikernels and the bridges they are attached
// to, in the network namespace of this process.
//
// A tap is made for one run of a unikernel. Until it is kept it vanishes with
// the process that has made it, and it is to be kept once it is on record: so
// there is never one that nobody knows of. A tender opens a kept one by its
// name. The tap outlives both the tender and the daemon, until whoever reads
// the record removes it.
//
// Nothing is set but what is said here: what the host does with its bridges
// and taps otherwise is its own affair. Nothing is looked up by going through
// all interfaces, of which there may be thousands.
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

// names lets the kernel choose: the lowest number that is free, and it is taken
// in the same step.
const names = "vmmtap%d"

// A Tap is one that this process has made, to be kept or closed. Its methods
// are for one goroutine at a time.
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

// open makes a tap that is neither up nor attached to anything.
func open() (*Tap, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open /dev/net/tun: %w", err)
	}
	link, err := become(fd)
	if err != nil {
		_ = unix.Close(fd) // with which the tap vanishes, if there is one
		return nil, err
	}
	return &Tap{link: link, fd: fd}, nil
}

// become makes a descriptor of /dev/net/tun one of a new tap. Its flags are
// those with which tenders will open it.
func become(fd int) (link messages.Link, err error) {
	request, err := unix.NewIfreq(names)
	if err != nil {
		return link, fmt.Errorf("internal error: %w", err)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return link, err
	}
	found, err := findByName(request.Name())
	if err != nil {
		return link, err
	}
	return messages.Link{Name: request.Name(), Index: found.Attrs().Index}, nil
}

// hostAddress is the address that taps have on the side of the host, where
// nobody uses it. A bridge without an address of its own takes the lowest of its
// ports: this is the highest that there can be, and the same for all taps, so that
// none of them changes the bridge's when it comes or goes.
var hostAddress = net.HardwareAddr{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff}

// maxMTU is the largest MTU of a tap; a bridge can have a few bytes more.
const maxMTU = 65521

// adapt makes a tap one that changes nothing about the bridge that it is going to
// be attached to, which otherwise takes the lowest MTU of its ports, too.
func adapt(tap netlink.Link, bridge *netlink.LinkAttrs) error {
	if err := netlink.LinkSetHardwareAddr(tap, hostAddress); err != nil {
		return fmt.Errorf("cannot set its address: %w", err)
	}
	if err := netlink.LinkSetMTU(tap, min(bridge.MTU, maxMTU)); err != nil {
		return fmt.Errorf("cannot set its MTU to %d, which is that of the bridge: %w", bridge.MTU, err)
	}
	return nil
}

// attach puts a tap on a bridge and then up: the other way around it would for
// a moment be an interface of the host's own.
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

// Link returns how the tap is recorded.
func (t *Tap) Link() messages.Link { return t.link }

// Keep makes the tap outlive this process, and returns when a tender can open
// it. After an error the tap still vanishes with Close, but maybe not with the
// process.
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
	// unusedTimeout is far above what an exec takes unless its disk has gone.
	unusedTimeout = 10 * time.Second
	// unusedPoll is how often to look; most of the time once is enough.
	unusedPoll = time.Millisecond
)

// awaitUnused waits until nobody has the tap open, else a tender would be told
// that it is busy. Where another goroutine is starting a process that takes a
// moment: between fork and exec the child has a copy of every descriptor, and
// the kernel does not tell when the last one is closed.
func (t *Tap) awaitUnused() error {
	for end := time.Now().Add(unusedTimeout); ; time.Sleep(unusedPoll) {
		tap, err := findTap(t.link)
		if err != nil {
			return err
		}
		// A tap that is up has a carrier while somebody has it open.
		if tap.RawFlags&unix.IFF_LOWER_UP == 0 {
			return nil
		}
		if time.Now().After(end) {
			return unix.EBUSY
		}
	}
}

// Close makes the tap vanish, but does nothing where it is kept or closed
// already.
func (t *Tap) Close() error {
	if t.kept {
		return nil
	}
	err := Remove(t.link) // and not by closing it, for others may have copies: see awaitUnused
	if t.fd >= 0 {
		t.closeDescriptor()
	}
	return err
}

// Remove deletes the tap of a record, whoever uses it, and waits until the
// kernel has. Where the index, the name or the kind is another now, the tap is
// gone, and what is there is somebody else's and stays.
func Remove(record messages.Link) error {
	tap, err := findTap(record)
	if err == nil {
		err = netlink.LinkDel(tap)
	}
	if err != nil && !errors.Is(err, errNoLink) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cannot remove tap %s: %w", record.Name, err)
	}
	failpoint.Here("tap/removed")
	return nil
}
