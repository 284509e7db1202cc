package netif

import (
	"errors"
	"math"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// ErrNoLink is the error for an interface that does not exist.
var ErrNoLink = errors.New("no such interface")

// Find returns the interface with exactly this name, or ErrNoLink. The kernel accepts more: it
// also knows alternative names, and ends a name at a NUL byte. But a policy allows a
// bridge by its one name.
func Find(name string) (netlink.Link, error) {
	if len(name) >= unix.IFNAMSIZ {
		return nil, ErrNoLink
	}
	link, err := existing(netlink.LinkByName(name))
	if err == nil && link.Attrs().Name != name {
		return nil, ErrNoLink
	}
	return link, err
}

// findTap returns the tap of a record, unless the interface is gone or is another one by
// now.
func findTap(record messages.Link) (*netlink.Tuntap, error) {
	if record.Index <= 0 || record.Index > math.MaxInt32 {
		return nil, ErrNoLink
	}
	link, err := existing(netlink.LinkByIndex(record.Index))
	if err != nil {
		return nil, err
	}
	tap, ok := link.(*netlink.Tuntap)
	if !ok || tap.Mode != netlink.TUNTAP_MODE_TAP || tap.Name != record.Name {
		return nil, ErrNoLink
	}
	return tap, nil
}

// existing converts the library's error for a missing interface to ours.
func existing(link netlink.Link, err error) (netlink.Link, error) {
	var notFound netlink.LinkNotFoundError
	if errors.As(err, &notFound) {
		return nil, ErrNoLink
	}
	return link, err
}
