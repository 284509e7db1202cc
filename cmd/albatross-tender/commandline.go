package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"albatross/runtime/hvt"
	"albatross/runtime/image"
	"albatross/runtime/solo5"
)

const usage = `usage: albatross-tender [spt | hvt] [OPTIONS] [--] IMAGE [ARGUMENTS]

Runs a Solo5 image of the target spt, or of hvt, passing it the arguments. Under
the name solo5-spt or solo5-hvt it is a replacement for Solo5's tender.

  --mem=MB                         memory of the unikernel (512)
  --net:NAME=TAP                   attach a tap interface as network NAME
  --net:NAME=@FD[,@PEER]           or an open descriptor: a Unix socket, SOCK_SEQPACKET, of
                                   which each message is a frame; PEER, the other end, is
                                   kept open
  --net-mac:NAME=MAC               its hardware address (random)
  --net-mtu:NAME=BYTES             the largest packet, where there is no tap (1500)
  --block:NAME=FILE                attach a file as block device NAME
  --block-sector-size:NAME=BYTES   its sector size (512)
  --dumpcore=DIR                   hvt: where to write a core file if it fails
  --version                        show version and ABI version
  --help                           show this help

Unikernels of one image share what they do not write to, if nobody may write to
its file either (chmod a-w IMAGE).

Exit status: that of the unikernel, or 1 if it could not be started, or if hvt
could not go on with it.
`

type action int

const (
	runGuest action = iota
	showHelp
	showVersion
)

// command is a parsed command line.
type command struct {
	action action
	target image.Target
	config hvt.Config // for spt without what is only in it
}

const (
	malformed     = "Malformed argument to --mem" // Solo5's words
	defaultMemory = 512
	maxMemory     = 1 << 24 // more than can be addressed; keeps it from overflowing
	minMTU        = 68      // that of IPv4
)

// parse parses a command line, including the name of the program. Its errors have Solo5's words in
// them.
func parse(argv []string) (*command, error) {
	target, arguments := chooseTarget(argv[0], argv[1:])
	p := parser{target: target, config: hvt.Config{Config: solo5.Config{Memory: defaultMemory << 20}}}
	for len(arguments) > 0 && strings.HasPrefix(arguments[0], "-") {
		option := arguments[0]
		arguments = arguments[1:]
		switch option {
		case "--":
			return p.finish(arguments)
		case "--help":
			return &command{action: showHelp}, nil
		case "--version":
			return &command{action: showVersion, target: target}, nil
		}
		if err := p.option(option); err != nil {
			return nil, fmt.Errorf("cannot run: Invalid option: `%s': %w, see --help", option, err)
		}
	}
	return p.finish(arguments)
}

// chooseTarget returns for which target the program is called, and the arguments behind
// that.
func chooseTarget(name string, arguments []string) (image.Target, []string) {
	if target, called := calledAsSolo5(name); called {
		return target, arguments
	}
	if len(arguments) > 0 {
		switch arguments[0] {
		case "spt":
			return image.SPT, arguments[1:]
		case "hvt":
			return image.HVT, arguments[1:]
		}
	}
	return image.SPT, arguments
}

// calledAsSolo5 reports whether the program has the name of a tender of Solo5, with or
// without the ABI version. Then it can run an image named spt, as Solo5's can.
func calledAsSolo5(name string) (target image.Target, called bool) {
	switch base := filepath.Base(name); {
	case strings.HasPrefix(base, "solo5-spt"):
		return image.SPT, true
	case strings.HasPrefix(base, "solo5-hvt"):
		return image.HVT, true
	}
	return 0, false
}

// parser collects options; a property of a device may precede the device.
type parser struct {
	target      image.Target
	config      hvt.Config
	macs        []setting[solo5.MAC]
	mtus        []setting[uint16]
	sectorSizes []setting[uint16]
	descriptors []int // of networks
}

// setting is a property of the device with that name.
type setting[T any] struct {
	device string
	value  T
}

func (p *parser) option(option string) error {
	key, value, found := strings.Cut(option, "=")
	if !found {
		return errors.New("no such option")
	}
	switch {
	case key == "--mem":
		return p.memory(value)
	case key == "--dumpcore" && p.target == image.HVT && value != "":
		p.config.DumpCore = value
		return nil
	}
	kind, name, _ := strings.Cut(key, ":")
	if name == "" || value == "" {
		return errors.New("no such option, or nothing behind it")
	}
	return p.deviceOption(kind, name, value)
}

func (p *parser) memory(value string) error {
	mb, err := strconv.ParseUint(value, 10, 64)
	if err != nil || mb == 0 || mb > maxMemory {
		return fmt.Errorf("%s: not a number of megabytes", malformed)
	}
	p.config.Memory = mb << 20
	return nil
}

func (p *parser) deviceOption(kind, name, value string) error {
	switch kind {
	case "--net":
		return p.network(name, value)
	case "--block":
		p.config.Blocks = append(p.config.Blocks, solo5.Block{Name: name, Path: value})
	case "--net-mac":
		mac, err := parseMAC(value)
		p.macs = append(p.macs, setting[solo5.MAC]{name, mac})
		return err
	case "--net-mtu":
		mtu, err := strconv.ParseUint(value, 10, 16)
		p.mtus = append(p.mtus, setting[uint16]{name, uint16(mtu)})
		if err != nil || mtu < minMTU {
			return fmt.Errorf("not a number of bytes from %d to 65535", minMTU)
		}
	case "--block-sector-size":
		size, err := strconv.ParseUint(value, 10, 16)
		p.sectorSizes = append(p.sectorSizes, setting[uint16]{name, uint16(size)})
		if err != nil || size == 0 {
			return errors.New("not a sector size")
		}
	default:
		return errors.New("no such option")
	}
	return nil
}

func (p *parser) network(name, value string) (err error) {
	n := solo5.Network{Name: name}
	if !strings.HasPrefix(value, "@") {
		n.Interface = value
		p.config.Networks = append(p.config.Networks, n)
		return nil
	}
	first, second, two := strings.Cut(value, ",")
	if n.Descriptor, err = p.descriptor(first); err == nil && two {
		n.Peer, err = p.descriptor(second)
	}
	p.config.Networks = append(p.config.Networks, n)
	return err
}

// descriptor parses @FD. No descriptor is two things.
func (p *parser) descriptor(text string) (int, error) {
	number, given := strings.CutPrefix(text, "@")
	fd, err := strconv.ParseUint(number, 10, 31)
	if !given || err != nil || fd < solo5.FirstDescriptor {
		return 0, fmt.Errorf("not @ and the number of a descriptor from %d on", solo5.FirstDescriptor)
	}
	if slices.Contains(p.descriptors, int(fd)) {
		return 0, fmt.Errorf("descriptor %d is given twice", fd)
	}
	p.descriptors = append(p.descriptors, int(fd))
	return int(fd), nil
}

func parseMAC(text string) (solo5.MAC, error) {
	var mac solo5.MAC
	parts := strings.Split(text, ":")
	if len(parts) != len(mac) {
		return mac, errors.New("not a hardware address")
	}
	for i, part := range parts {
		b, err := strconv.ParseUint(part, 16, 8)
		if err != nil {
			return mac, errors.New("not a hardware address")
		}
		mac[i] = byte(b)
	}
	return mac, nil
}

// finish takes the rest: image and arguments.
func (p *parser) finish(rest []string) (*command, error) {
	if len(rest) == 0 {
		return nil, errors.New("cannot run: Missing KERNEL operand: no image is given, see --help")
	}
	for _, m := range p.macs {
		if !p.setMAC(m) {
			return nil, fmt.Errorf("cannot set hardware address: no network %s is attached", m.device)
		}
	}
	for _, m := range p.mtus {
		if !p.setMTU(m) {
			return nil, fmt.Errorf("cannot set MTU: no network %s without a tap is attached; a tap has its own", m.device)
		}
	}
	for _, s := range p.sectorSizes {
		if !p.setSectorSize(s) {
			return nil, fmt.Errorf("cannot set sector size: no block device %s is attached", s.device)
		}
	}
	p.config.Image, p.config.Arguments = rest[0], rest[1:]
	return &command{target: p.target, config: p.config}, nil
}

func (p *parser) setMAC(m setting[solo5.MAC]) bool {
	for i := range p.config.Networks {
		if n := &p.config.Networks[i]; n.Name == m.device {
			n.MAC = m.value
			return true
		}
	}
	return false
}

func (p *parser) setMTU(m setting[uint16]) bool {
	for i := range p.config.Networks {
		if n := &p.config.Networks[i]; n.Name == m.device && n.Descriptor != 0 {
			n.MTU = m.value
			return true
		}
	}
	return false
}

func (p *parser) setSectorSize(s setting[uint16]) bool {
	for i := range p.config.Blocks {
		if b := &p.config.Blocks[i]; b.Name == s.device {
			b.SectorSize = s.value
			return true
		}
	}
	return false
}
