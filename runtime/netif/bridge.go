package netif

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
)

// Bridges returns the names of all bridges, in order. Only here all interfaces are
// listed, which is for the start of the daemon.
func Bridges() ([]string, error) {
	links, err := list()
	if err != nil {
		return nil, fmt.Errorf("cannot list interfaces: %w", err)
	}
	names := []string{}
	for _, link := range links {
		if link.Type() == "bridge" {
			names = append(names, link.Attrs().Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func list() (links []netlink.Link, err error) {
	err = Uninterrupted(func() error {
		links, err = netlink.LinkList()
		return err
	})
	return links, err
}

// listTries is far more than are needed.
const listTries = 100

// Uninterrupted repeats a listing during which something has changed: the kernel reports
// that such a list may contain one interface twice and lack another.
func Uninterrupted(ask func() error) (err error) {
	for range listTries {
		if err = ask(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return err
}

// Index returns the index of a bridge, which the kernel gives to one interface per boot.
func Index(bridge string) (int, error) {
	link, err := findBridge(bridge)
	if err != nil {
		return 0, err
	}
	return link.Index, nil
}

// CheckBridge refuses a name that is not that of a bridge. Clients read its errors as
// they are; the first is native's.
func CheckBridge(name string) error {
	_, err := findBridge(name)
	return err
}

func findBridge(name string) (*netlink.LinkAttrs, error) {
	link, err := Find(name)
	switch {
	case errors.Is(err, ErrNoLink):
		return nil, fmt.Errorf("interface %s does not exist", name)
	case err != nil:
		return nil, fmt.Errorf("cannot look up interface %s: %w", name, err)
	case link.Type() != "bridge":
		return nil, fmt.Errorf("interface %s is not a bridge", name)
	}
	return link.Attrs(), nil
}
