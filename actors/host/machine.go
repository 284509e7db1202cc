package host

import (
	"context"
	"os"
	"strings"
	"time"

	"albatross/actors/ledger"
	"albatross/actors/supervise"
	"albatross/actors/unikernel"
	"albatross/messages"
	blockfile "albatross/runtime/block"
	"albatross/runtime/machine"
)

const (
	// measureEvery is the interval of measurements for changes without a message: no message
	// says that a file system has grown.
	measureEvery = time.Minute
	// measurePause is the pause between measurements while the machine keeps changing.
	measurePause = 100 * time.Millisecond
)

// A Machine is what the host and its unikernels need of the operating system. guest.Machine
// is one.
type Machine interface {
	unikernel.Machine
	Console(messages.Name) string
	OpenConsole(context.Context, messages.Process) (*os.File, error)
	AddStrangers(names map[messages.Name]bool)
	AcknowledgeOthers(recorded map[messages.Process]bool)
	Sweep(names map[messages.Name]bool, images map[messages.Digest]bool) ([]blockfile.Device, []error)
	CheckUnused(device messages.Name, what string) error
	ImageSize(digest messages.Digest, level int) (int64, error)
	ReadImage(digest messages.Digest, level int) ([]byte, error)
	VerifyImages(context.Context, []messages.Digest) []error
	RemoveImage(digest messages.Digest, keep func(messages.Digest) bool) error
	CollectImages(keep func(messages.Digest) bool) error
}

// hardware is what the host knows of the machine, whose measurement is the ledger's limit.
// There is one measurement at a time, so that the last one counts.
type hardware struct {
	watches   []*machine.Watch
	measuring bool
	again     bool  // something has changed since the measurement began
	waiting   []ask // refused by the former measurement
}

// The host's messages from its own goroutines and timers about the machine.
type (
	watching struct {
		watches []*machine.Watch
		err     error
	}
	machineChanged struct {
		watch *machine.Watch
		err   error
	}
	awaitChange struct{ watch *machine.Watch }
	measureDue  struct{}
	measured    struct {
		has  messages.Policy
		err  error
		asks []ask
	}
)

// Discard closes watches that nobody will wait for.
func (w watching) Discard() { closeWatches(w.watches) }

func closeWatches(list []*machine.Watch) {
	for _, w := range list {
		_ = w.Close() // nothing is written to it
	}
}

// watchMachine makes the root policy follow the machine from now on.
func (h *host) watchMachine(c *supervise.Context) {
	open := h.config.Watch
	c.Go(func(context.Context) any {
		watches, err := open()
		return watching{watches, err}
	})
	c.After(measureEvery, measureDue{})
}

// watching measures at once: there was no message for earlier changes.
func (h *host) watching(c *supervise.Context, m watching) {
	if m.err != nil {
		c.Log().Warn("Changes of the machine are noticed late", "cause", m.err, "after", measureEvery)
	}
	h.hardware.watches = m.watches
	for _, w := range m.watches {
		h.awaitChange(c, w)
	}
	h.measure(c)
}

func (h *host) awaitChange(c *supervise.Context, w *machine.Watch) {
	c.Go(func(ctx context.Context) any { return machineChanged{w, w.Wait(ctx)} })
}

func (h *host) machineChanged(c *supervise.Context, m machineChanged) {
	if m.err != nil {
		c.Log().Warn("Changes of the machine are noticed late", "cause", m.err, "after", measureEvery)
		return
	}
	h.measure(c)
	c.After(measurePause, awaitChange{m.watch})
}

// measure measures the machine, for all who wait for that.
func (h *host) measure(c *supervise.Context) {
	if h.hardware.measuring {
		h.hardware.again = true
		return
	}
	asks := h.hardware.waiting
	h.hardware = hardware{watches: h.hardware.watches, measuring: true}
	look := h.config.Measure
	c.Go(func(context.Context) any {
		has, err := look()
		return measured{has, err, asks}
	})
}

func (h *host) measured(c *supervise.Context, m measured) {
	h.hardware.measuring = false
	if m.err != nil {
		c.Log().Error("Cannot look at the machine", "error", m.err)
	} else {
		h.setMachine(c, m.has)
		h.repairNetworks(c, m.has)
	}
	for _, a := range m.asks {
		h.do(c, a)
	}
	if h.hardware.again {
		h.measure(c)
	}
}

// setMachine makes what the machine has the limit. If that is less than before, what runs
// goes on, but cannot be started anew.
func (h *host) setMachine(c *supervise.Context, has messages.Policy) {
	before := h.ledger.Machine()
	if !h.ledger.HoldMachine(has) {
		return
	}
	more, less := ledger.Beyond(before, has), ledger.Beyond(has, before)
	c.Log().Info("The machine has changed", "more", strings.Join(more, ", "), "less", strings.Join(less, ", "))
	if lacks := ledger.Beyond(has, h.ledger.Demand()); len(lacks) > 0 {
		c.Log().Warn("Unikernels have more than the machine has; they go on", "beyond", strings.Join(lacks, ", "))
	}
}

// refuse answers a command that the ledger refuses. If the machine is the reason, it is
// measured again first, since something may just have been added to it.
func (h *host) refuse(c *supervise.Context, a ask, err error) {
	if a.measured || !ledger.ByMachine(err) {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	a.measured = true
	h.hardware.waiting = append(h.hardware.waiting, a)
	h.measure(c)
}
