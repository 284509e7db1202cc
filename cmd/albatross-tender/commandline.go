package main

import (
	"errors"
	"fmt"
	"path/filepath"
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
  --net-mac:NAME=MAC               its hardware address (random)
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
	sectorSizes []setting[uint16]
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
		p.config.Networks = append(p.config.Networks, solo5.Network{Name: name, Interface: value})
	case "--block":
		p.config.Blocks = append(p.config.Blocks, solo5.Block{Name: name, Path: value})
	case "--net-mac":
		mac, err := parseMAC(value)
		p.macs = append(p.macs, setting[solo5.MAC]{name, mac})
		return err
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

func (p *parser) setSectorSize(s setting[uint16]) bool {
	for i := range p.config.Blocks {
		if b := &p.config.Blocks[i]; b.Name == s.device {
			b.SectorSize = s.value
			return true
		}
	}
	return false
}
