package tender

import (
	"fmt"

	"albatross/messages"
	"albatross/runtime/tender/launcher"
)

// A Network attaches a tap, or a pair of sockets, to a network device of an image.
type Network struct {
	Name string // in the manifest
	Tap  string // empty: it has a pair
	MAC  messages.MAC
	Pair *Pair // nil: it has a tap; also in what FindRunning returns
	MTU  int   // of a pair, in bytes; 0: 1500
}

// A Block attaches a file to a block device of an image.
type Block struct {
	Name       string // in the manifest
	File       string
	SectorSize messages.Option[int] // bytes; absent: the tender decides
}

// A Guest is what a tender is to run.
type Guest struct {
	Image    string // path of a file
	Memory   int    // MB
	Networks []Network
	Blocks   []Block
	Name     string // passed to the guest before Argv; empty: not passed
	Argv     []string
}

// Args returns the command line that starts a guest, without the tender itself, as
// Solo5's tenders understand it, in the order of native albatross. Only our own understand
// pairs, and get them by Files.
func Args(g Guest) []string {
	args := []string{fmt.Sprintf("--mem=%d", g.Memory)}
	passed := launcher.Passed
	for _, n := range g.Networks {
		value := n.Tap
		if n.Pair != nil {
			value = fmt.Sprintf("@%d,@%d", passed, passed+1)
			passed += 2
		}
		args = append(args, "--net:"+n.Name+"="+value, "--net-mac:"+n.Name+"="+n.MAC.String())
		if n.MTU > 0 {
			args = append(args, fmt.Sprintf("--net-mtu:%s=%d", n.Name, n.MTU))
		}
	}
	for _, b := range g.Blocks {
		args = append(args, "--block:"+b.Name+"="+b.File)
		if b.SectorSize.OK {
			args = append(args, fmt.Sprintf("--block-sector-size:%s=%d", b.Name, b.SectorSize.Value))
		}
	}
	return append(append(args, "--", g.Image), g.arguments()...)
}

// arguments returns those that the guest gets.
func (g Guest) arguments() []string {
	if g.Name == "" {
		return g.Argv
	}
	return append([]string{"--name=" + g.Name}, g.Argv...)
}
