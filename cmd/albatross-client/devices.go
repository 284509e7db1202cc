package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"albatross/messages"
)

var (
	errDeviceFormat = errors.New("format is 'name' or 'name:device-name'")
	errSectorSize   = errors.New("sector size must be a power of two greater than or equal 512")
)

// smallestSector is the smallest possible sector size.
const smallestSector = 512

// parseBlock parses NAME[:DEVICE][@SECTORSIZE].
func parseBlock(s string) (messages.BlockDevice, error) {
	names, size, sized := strings.Cut(s, "@")
	name, device, err := parseDevice(names)
	b := messages.BlockDevice{Name: name, Device: device}
	if err != nil || !sized {
		return b, err
	}
	n, err := strconv.Atoi(size)
	if err != nil || n < smallestSector || n > messages.MaxInt || n&(n-1) != 0 {
		return b, errSectorSize
	}
	b.SectorSize = messages.Some(n)
	return b, nil
}

// parseNetwork parses NAME[:BRIDGE][@MAC], and for a named network [,address=auto|ADDRESS] and
// [,rate=SIZE].
func parseNetwork(s string) (messages.Network, error) {
	s, settings, _ := strings.Cut(s, ",")
	n, err := parseAttachment(s)
	for setting := range strings.SplitSeq(settings, ",") {
		if err == nil && setting != "" {
			err = parseNetworkSetting(&n, setting)
		}
	}
	return n, err
}

// parseNetworkSetting parses KEY=VALUE.
func parseNetworkSetting(n *messages.Network, s string) (err error) {
	switch key, value, _ := strings.Cut(s, "="); {
	case key == "address" && value == "auto":
		n.Static = true
		return nil
	case key == "address":
		address, err := netip.ParseAddr(value)
		if err != nil || !address.Is4() {
			return fmt.Errorf("'%s' is no IPv4 address, and not auto", escape(value))
		}
		n.Static, n.IP = true, messages.Some(address)
		return nil
	case key == "rate":
		n.Rate, err = parseRate(value)
		return err
	}
	return fmt.Errorf("'%s' is not address=auto, address=ADDRESS or rate=SIZE", escape(s))
}

// parseAttachment parses NAME[:BRIDGE][@MAC].
func parseAttachment(s string) (messages.Network, error) {
	names, address, addressed := strings.Cut(s, "@")
	name, bridge, err := parseDevice(names)
	n := messages.Network{Name: name, Bridge: bridge}
	if err == nil && bridge.OK {
		err = messages.CheckInterface(bridge.Value)
	}
	if err != nil || !addressed {
		return n, err
	}
	mac, err := parseMAC(address)
	if err != nil {
		return n, err
	}
	n.MAC = messages.Some(mac)
	return n, mac.Usable()
}

// parseDevice parses the name of a device in the manifest and the host's name for it,
// which follows the first ':' and may contain others: storage:web:disk is the block
// device disk at the path web.
func parseDevice(s string) (name string, host messages.Option[string], err error) {
	name, other, given := strings.Cut(s, ":")
	if name == "" || given && slices.Contains(strings.Split(other, ":"), "") {
		return "", host, errDeviceFormat
	}
	if err = messages.CheckText(name); given && err == nil {
		host = messages.Some(other)
		err = messages.CheckText(other)
	}
	return name, host, err
}

// parseMAC parses six bytes in hexadecimal, with ':' or '-' between them.
func parseMAC(s string) (mac messages.MAC, err error) {
	whole := s
	for i := range len(s) {
		if !strings.ContainsRune("0123456789abcdefABCDEF:-", rune(s[i])) {
			return mac, macError("invalid character '%s' at %d", escape(s[i:i+1]), i)
		}
	}
	for i := range mac {
		n, rest, ok := hexByte(s, i == len(mac)-1)
		if !ok {
			return mac, macError("'%s' is not six bytes like 00:80:41:12:34:56", escape(whole))
		}
		mac[i], s = n, rest
	}
	return mac, nil
}

// macError begins as native's does.
func macError(format string, args ...any) error {
	return errors.New("Macaddr: " + fmt.Sprintf(format, args...))
}

// hexByte parses two digits, and a separator unless they are the last.
func hexByte(s string, last bool) (b byte, rest string, ok bool) {
	length := 3
	if last {
		length = 2
	}
	if len(s) < length || last && len(s) > length || !last && s[2] != ':' && s[2] != '-' {
		return 0, "", false
	}
	n, err := strconv.ParseUint(s[:2], 16, 8)
	return byte(n), s[length:], err == nil
}

// distinct refuses a device that is given twice.
func distinct(blocks []messages.BlockDevice, networks []messages.Network) error {
	if repeats(networkNames(networks)) {
		return inputError("Bridge names must be a set")
	}
	if repeats(blockNames(blocks)) {
		return inputError("Block devices must be a set")
	}
	return nil
}

func repeats(names []string) bool {
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if seen[name] {
			return true
		}
		seen[name] = true
	}
	return false
}

func blockNames(l []messages.BlockDevice) []string {
	names := make([]string, len(l))
	for i, b := range l {
		names[i] = b.Name
	}
	return names
}

func networkNames(l []messages.Network) []string {
	names := make([]string, len(l))
	for i, n := range l {
		names[i] = n.Name
	}
	return names
}
