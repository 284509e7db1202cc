package guest

import (
	"fmt"
	"path/filepath"

	"albatross/messages"
	"albatross/runtime/tender"
)

// checkStrangers refuses to run a unikernel that a stranger runs already, or whose block
// device a stranger uses: it would unknowingly run twice.
func (m *Machine) checkStrangers(name messages.Name, guest tender.Guest) error {
	for _, r := range m.Strangers {
		if what := m.shares(r, name, guest); what != "" && r.Runs() {
			return fmt.Errorf("cannot run it beside %v, which is none of this daemon's and uses %s: end that first (kill %d)", r, what, r.Process.PID)
		}
	}
	return nil
}

// shares returns what a stranger uses that a unikernel needs for itself.
func (m *Machine) shares(r tender.Running, name messages.Name, guest tender.Guest) string {
	if file, ok := r.Guest.Shares(guest); ok {
		return "the block device " + file
	}
	switch path := m.Console(name); {
	case tender.SameFile(r.Output, path):
		return "the console " + path
	case tender.SameFile(r.Guest.Image, tender.NativeImage(filepath.Dir(m.FIFODir), name)):
		return "the image " + r.Guest.Image
	}
	return ""
}

// AddStrangers adds the names of strangers, whose consoles and cgroups are in use. A
// stranger may be ours, if its record was damaged.
func (m *Machine) AddStrangers(names map[messages.Name]bool) {
	for _, r := range m.Strangers {
		if !filepath.IsAbs(r.Output) || !tender.SameFile(filepath.Dir(r.Output), m.FIFODir) {
			continue
		}
		if name, err := messages.ParseName(filepath.Base(r.Output)); err == nil {
			names[name] = true
		}
	}
}

// CheckUnused refuses a block device that a stranger uses.
func (m *Machine) CheckUnused(device messages.Name, what string) error {
	guest := tender.Guest{Blocks: []tender.Block{{File: m.Blocks.Path(device)}}}
	for _, r := range m.Strangers {
		if _, ok := r.Guest.Shares(guest); ok && r.Runs() {
			return fmt.Errorf("%s: is in use by process %d, which is none of this daemon's", what, r.Process.PID)
		}
	}
	return nil
}
