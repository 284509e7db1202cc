package solo5

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
)

// DefaultMTU is that of a network without a tap, whose interface would have one.
const DefaultMTU = 1500

// FirstDescriptor is the first that can be a network: those before it are the console.
const FirstDescriptor = 3

var errNoDescriptor = errors.New("there is no such descriptor: whoever starts the unikernel has to pass it on")

// openSocket takes over the descriptors of a network without a tap.
func openSocket(n Network) (Device, error) {
	d := Device{Name: n.Name, Kind: image.Net, File: n.Descriptor, Peer: n.Peer, MAC: n.MAC, MTU: n.MTU}
	if err := d.adopt(); err != nil {
		return Device{}, fmt.Errorf("cannot attach network %s: Could not attach interface: %w", n.Name, err)
	}
	return d, nil
}

func (d *Device) adopt() error {
	for _, fd := range d.descriptors() {
		if err := CheckSocket(fd); err != nil {
			return fmt.Errorf("@%d: %w", fd, err)
		}
		unix.CloseOnExec(fd) // spt places copies
	}
	if err := unix.SetNonblock(d.File, true); err != nil {
		return fmt.Errorf("@%d: %w", d.File, err)
	}
	if d.MTU == 0 {
		d.MTU = DefaultMTU
	}
	return d.setMAC()
}

// CheckSocket refuses what is no end of a pair of sockets that keeps frames apart. A stream
// would join them.
func CheckSocket(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case err == unix.EBADF:
		return errNoDescriptor
	case err == unix.ENOTSOCK:
		return errors.New("it is no socket")
	case err != nil:
		return err
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	if domain != unix.AF_UNIX || kind != unix.SOCK_SEQPACKET {
		return errors.New("it is no Unix socket of the type SOCK_SEQPACKET, of which each message is a frame")
	}
	if _, err := unix.Getpeername(fd); err != nil {
		return errors.New("the socket is not connected")
	}
	return nil
}

// descriptors returns those that the process keeps for a device.
func (d *Device) descriptors() []int {
	if d.Peer == 0 {
		return []int{d.File}
	}
	return []int{d.File, d.Peer}
}

// Close closes the descriptors of a device.
func (d *Device) Close() error {
	var errs []error
	for _, fd := range d.descriptors() {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// Peers returns the descriptors that a guest keeps open, and may not use, in the order of their
// numbers.
func Peers(devices []Device) (list []int) {
	for _, d := range devices {
		if d.Peer != 0 {
			list = append(list, d.Peer)
		}
	}
	slices.Sort(list)
	return list
}
