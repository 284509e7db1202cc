package actors

import (
	"context"
	"os"
	"slices"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fifo"
)

// load asks for what a former daemon, or a former incarnation, has recorded.
func (h *host) load(c *supervise.Context) { c.Request(h.store, messages.StoreLoad{}) }

func (h *host) loaded(c *supervise.Context, m messages.StoreLoaded) {
	if m.Err != "" {
		c.Log().Error("Cannot load the state", "error", m.Err)
		c.After(retryAfter, retryLoad{})
		return
	}
	config := h.config
	c.Go(func(context.Context) any { return swept{m.Records, config.sweep(m.Records)} })
}

// sweep frees what belongs to nobody on record: images and FIFOs that a crash
// has left behind. Nothing that is not ours is in these directories.
func (g *Config) sweep(records []messages.Record) []error {
	images := map[messages.Digest]bool{}
	fifos := map[string]bool{}
	for _, r := range records {
		images[r.Spec.Digest] = true
		fifos[fifo.Path(g.FIFODir, r.Name)] = true
	}
	_, err := g.Images.Collect(func(d messages.Digest) bool { return images[d] })
	errs := []error{err}
	entries, err := os.ReadDir(g.FIFODir)
	errs = append(errs, err)
	for _, e := range entries {
		if n, err := messages.ParseName(e.Name()); err == nil && !fifos[fifo.Path(g.FIFODir, n)] {
			errs = append(errs, fifo.Remove(fifo.Path(g.FIFODir, n)))
		}
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// swept takes over all that is on record, lowest startup first, and then the
// commands that have come meanwhile.
func (h *host) swept(c *supervise.Context, m swept) {
	for _, err := range m.errs {
		c.Log().Error("Cannot clean up", "error", err)
	}
	slices.SortFunc(m.records, func(a, b messages.Record) int {
		if d := a.Spec.Arguments.Startup.Or(messages.DefaultStartup) - b.Spec.Arguments.Startup.Or(messages.DefaultStartup); d != 0 {
			return d
		}
		return a.Name.Compare(b.Name)
	})
	for _, record := range m.records {
		h.resume(c, record)
	}
	h.booted = true
	early := h.early
	h.early = nil
	for _, a := range early {
		h.do(c, a)
	}
}

func (h *host) resume(c *supervise.Context, record messages.Record) {
	h.ledger.Hold(record.Name, record.Spec.Arguments)
	t := &tenant{phase: settled}
	h.tenants[record.Name] = t
	h.setCurrent(t, h.spawn(c, record.Name, record.Spec))
	if record.Runtime.OK {
		t.current.started = record.Runtime.Value.Started()
	}
	c.Send(t.current.pid, messages.UnikernelResume{Record: record})
}
