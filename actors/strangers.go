package actors

import (
	"fmt"
	"path/filepath"

	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/runtime/tender"
)

// checkStrangers refuses to run what somebody runs already, and what would share a
// block device with that. It would run twice, and nobody would know.
func (g *Config) checkStrangers(name messages.Name, guest tender.Guest) error {
	for _, r := range g.Strangers {
		if what := g.shares(r, name, guest); what != "" && r.Runs() {
			return fmt.Errorf("cannot run it beside %v, which is none of this daemon's and uses %s: end that first (kill %d)", r, what, r.Process.PID)
		}
	}
	return nil
}

// shares is what a stranger uses that a unikernel needs for itself.
func (g *Config) shares(r tender.Running, name messages.Name, guest tender.Guest) string {
	if file, ok := r.Guest.Shares(guest); ok {
		return "the block device " + file
	}
	switch path := fifo.Path(g.FIFODir, name); {
	case tender.SameFile(r.Output, path):
		return "the console " + path
	case tender.SameFile(r.Guest.Image, tender.NativeImage(filepath.Dir(g.FIFODir), name)):
		return "the image " + r.Guest.Image
	}
	return ""
}

// addStrangers adds the names under which somebody else runs something: its console
// and its cgroup are in use. It may be ours, where its record was damaged.
func (g *Config) addStrangers(names map[messages.Name]bool) {
	for _, r := range g.Strangers {
		if filepath.Dir(r.Output) != filepath.Clean(g.FIFODir) {
			continue
		}
		if name, err := messages.ParseName(filepath.Base(r.Output)); err == nil {
			names[name] = true
		}
	}
}

// checkUnused refuses a block device that a stranger uses.
func (g *Config) checkUnused(device messages.Name, what string) error {
	guest := tender.Guest{Blocks: []tender.Block{{File: g.Blocks.Path(device)}}}
	for _, r := range g.Strangers {
		if _, ok := r.Guest.Shares(guest); ok && r.Runs() {
			return fmt.Errorf("%s: is in use by process %d, which is none of this daemon's", what, r.Process.PID)
		}
	}
	return nil
}
