package host

import (
	"context"
	"errors"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// load requests what a former daemon, or a former incarnation, has recorded.
func (h *host) load(c *supervise.Context) {
	h.loadID = c.NewID()
	c.Request(h.store, messages.StoreLoad{ID: h.loadID})
}

func (h *host) loaded(c *supervise.Context, m messages.StoreLoaded) {
	if m.ID != h.loadID { // answered before, or of a former incarnation
		return
	}
	h.loadID = 0
	if m.Err != "" {
		h.loading.Note(c, "Cannot load the state", errors.New(string(m.Err)))
		if h.loads++; h.unreadable() {
			h.doEarly(c)
		}
		c.After(supervise.RetryAfter, loadDue{})
		return
	}
	h.loading.Over(c)
	h.loads = 0
	failpoint.Here("boot/loaded")
	config := h.config
	c.Go(func(ctx context.Context) any { return config.sweep(ctx, m.State) })
}

// unreadable reports whether clients should not wait any longer for the state to be read.
func (h *host) unreadable() bool { return h.loads >= supervise.PatientTries }

// sweep frees what no record mentions, and finds the block devices.
func (c *Config) sweep(ctx context.Context, state messages.State) swept {
	names, images := recorded(state)
	c.Machine.AcknowledgeOthers(processes(state))
	c.Machine.AddStrangers(names)
	devices, errs := c.Machine.Sweep(names, images)
	if c.Networks != nil {
		errs = append(errs, c.Networks.Sweep(ctx, state.Networks)...)
	}
	for _, r := range state.Unikernels {
		names[r.Name] = true
	}
	for _, e := range state.Ends { // their consoles can still be read
		names[e.Name] = true
	}
	if err := c.History.Sweep(func(n messages.Name) bool { return names[n] }); err != nil {
		errs = append(errs, err)
	}
	failpoint.Here("boot/history-swept")
	return swept{state, devices, errs}
}

// recorded returns the images of unikernels on record, and the names of those that may have
// something on the machine: a stopped one has nothing, unless its start was cut off.
func recorded(state messages.State) (names map[messages.Name]bool, images map[messages.Digest]bool) {
	names, images = map[messages.Name]bool{}, map[messages.Digest]bool{}
	for _, r := range state.Unikernels {
		if r.Runtime.OK || !r.Spec.IsStopped() {
			names[r.Name] = true
		}
		for digest := range digests(r.Spec) {
			images[digest] = true
		}
	}
	return names, images
}

// processes returns the processes on record.
func processes(state messages.State) map[messages.Process]bool {
	all := map[messages.Process]bool{}
	for _, r := range state.Unikernels {
		all[r.Runtime.Value.Process] = true
	}
	return all
}

// swept takes over all that is on record, except for the policy of the root, which is
// what the machine has.
func (h *host) swept(c *supervise.Context, m swept) {
	for _, err := range m.errs {
		c.Log().Error("Found something wrong at the start", "error", err)
	}
	for _, p := range m.state.Policies {
		if p.Name.Path != messages.Root {
			h.ledger.HoldPolicy(p.Name.Path, p.Policy)
		}
	}
	for _, d := range m.devices {
		h.ledger.HoldDevice(d.Name, d.Size)
	}
	h.holdOwners(c, m.state.Blocks)
	for _, e := range m.state.Ends {
		h.consoles.remain(c, e)
	}
	failpoint.Here("boot/all-held")
	h.resumeNetworks(c, m.state)
}

// ready begins to carry out commands: the host knows what runs.
func (h *host) ready(c *supervise.Context) {
	h.booted = true
	c.Log().Info("Commands are carried out from now on", "running", h.countRunning(), "to_start", len(h.waves.due))
	h.consoles.probeIdle(c)
	h.images.complete()
	h.collectAll(c) // what was not needed any more meanwhile
	h.verifyImages(c, h.images.all())
	failpoint.Here("boot/ready")
	h.doEarly(c)
	if h.halter != nil {
		h.haltAll(c)
	}
}

// doEarly carries out the commands from before, or refuses them if the state is
// unreadable.
func (h *host) doEarly(c *supervise.Context) {
	early := h.early
	h.early = nil
	for _, a := range early {
		if h.unreadable() {
			h.answer(c, a.ticket, messages.Failure{Text: messages.Publicf("%s", h.loading.Cause())})
			continue
		}
		h.do(c, a)
	}
}

func (h *host) countRunning() (running int) {
	for _, s := range h.slots {
		if s.current != nil && !s.current.started.IsZero() {
			running++
		}
	}
	return running
}

func (h *host) resume(c *supervise.Context, record messages.Record) *run {
	h.ledger.Hold(record.Name, record.Spec.Arguments)
	s := &slot{phase: settled}
	h.slots[record.Name] = s
	h.setCurrent(s, h.spawn(c, record.Name, record.Spec))
	h.consoles.begin(c, record.Name, h.ledger)
	c.Send(s.current.pid, messages.UnikernelResume{Record: record, Hold: true, Cause: h.began})
	failpoint.Here("boot/resume-asked")
	return s.current
}
