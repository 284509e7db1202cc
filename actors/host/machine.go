package host

import (
	"context"
	"errors"
	"strings"
	"time"

	"albatross/actors/ledger"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/machine"
)

const (
	// lookEvery is the interval of measurements for changes without a message: no message
	// says that a file system has grown.
	lookEvery = time.Minute
	// lookPause is the pause between measurements while the machine keeps changing.
	lookPause = 100 * time.Millisecond
)

// outlook is what the host knows of the machine, whose measurement is the ledger's limit.
// There is one measurement at a time, so that the last one counts.
type outlook struct {
	watches []*machine.Watch
	looking bool
	again   bool  // something has changed since the measurement began
	waiting []ask // refused by the former measurement
}

// The host's messages from its own goroutines and timers about the machine.
type (
	watching struct {
		watches []*machine.Watch
		err     error
	}
	machineNews struct {
		watch *machine.Watch
		err   error
	}
	awaitNews struct{ watch *machine.Watch }
	lookDue   struct{}
	looked    struct {
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
	c.Go(func(context.Context) any { return openWatches() })
	c.After(lookEvery, lookDue{})
}

func openWatches() (w watching) {
	for _, open := range []func() (*machine.Watch, error){machine.WatchBridges, machine.WatchDevices} {
		watch, err := open()
		if err != nil {
			w.err = errors.Join(w.err, err)
			continue
		}
		w.watches = append(w.watches, watch)
	}
	return w
}

// watching measures at once: there was no message for earlier changes.
func (h *host) watching(c *supervise.Context, m watching) {
	if m.err != nil {
		c.Log().Warn("Changes of the machine are noticed late", "cause", m.err, "after", lookEvery)
	}
	h.outlook.watches = m.watches
	for _, w := range m.watches {
		h.awaitNews(c, w)
	}
	h.look(c)
}

func (h *host) awaitNews(c *supervise.Context, w *machine.Watch) {
	c.Go(func(ctx context.Context) any { return machineNews{w, w.Wait(ctx)} })
}

func (h *host) machineNews(c *supervise.Context, m machineNews) {
	if m.err != nil {
		c.Log().Warn("Changes of the machine are noticed late", "cause", m.err, "after", lookEvery)
		return
	}
	h.look(c)
	c.After(lookPause, awaitNews{m.watch})
}

// look measures the machine, for all who wait for that.
func (h *host) look(c *supervise.Context) {
	if h.outlook.looking {
		h.outlook.again = true
		return
	}
	asks := h.outlook.waiting
	h.outlook = outlook{watches: h.outlook.watches, looking: true}
	look := h.config.Look
	c.Go(func(context.Context) any {
		has, err := look()
		return looked{has, err, asks}
	})
}

func (h *host) looked(c *supervise.Context, m looked) {
	h.outlook.looking = false
	if m.err != nil {
		c.Log().Error("Cannot look at the machine", "error", m.err)
	} else {
		h.machineHas(c, m.has)
	}
	for _, a := range m.asks {
		h.do(c, a)
	}
	if h.outlook.again {
		h.look(c)
	}
}

// machineHas makes what the machine has the limit. If that is less than before, what runs
// goes on, but cannot be started anew.
func (h *host) machineHas(c *supervise.Context, has messages.Policy) {
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
	if a.looked || !ledger.ByMachine(err) {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	a.looked = true
	h.outlook.waiting = append(h.outlook.waiting, a)
	h.look(c)
}
