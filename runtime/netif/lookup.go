package netif

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"albatross/messages"
)

// FindTap finds a tap that somebody else has made and put on a bridge.
func FindTap(name, bridge string) (messages.Link, error) {
	link, err := findTapOn(name, bridge)
	if err != nil {
		return messages.Link{}, fmt.Errorf("cannot use interface %s: %w", name, err)
	}
	return link, nil
}

func findTapOn(name, bridge string) (messages.Link, error) {
	link, err := Find(name)
	if err != nil {
		return messages.Link{}, err
	}
	if tap, ok := link.(*netlink.Tuntap); !ok || tap.Mode != netlink.TUNTAP_MODE_TAP {
		return messages.Link{}, errors.New("it is not a tap")
	}
	master, err := findBridge(bridge)
	if err != nil {
		return messages.Link{}, err
	}
	if link.Attrs().MasterIndex != master.Index {
		return messages.Link{}, fmt.Errorf("it is not on bridge %s", bridge)
	}
	return messages.Link{Name: name, Index: link.Attrs().Index}, nil
}
