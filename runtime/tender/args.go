package tender

import (
	"fmt"

	"albatross/messages"
)

// A Network attaches a tap to a network device of an image.
type Network struct {
	Name string // in the manifest
	Tap  string
	MAC  messages.MAC
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
// Solo5's tenders understand it, in the order of native albatross.
func Args(g Guest) []string {
	args := []string{fmt.Sprintf("--mem=%d", g.Memory)}
	for _, n := range g.Networks {
		args = append(args, "--net:"+n.Name+"="+n.Tap, "--net-mac:"+n.Name+"="+n.MAC.String())
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
