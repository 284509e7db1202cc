package host

import (
	"albatross/actors/stats"
	"albatross/actors/supervise"
	"albatross/messages"
)

// startStats makes the collector of statistics.
func (h *host) startStats(c *supervise.Context) {
	h.stats = c.Child("stats", stats.New(c.Self(), h.config.StatsInterval))
}

// watch makes the collector measure a run that was just started, or taken over.
func (h *host) watch(c *supervise.Context, r *run, m messages.UnikernelRunning) {
	r.target = messages.Target{Name: m.Name, Process: m.Process, Started: m.Started, Ports: m.Ports}
	c.Send(h.stats, messages.StatsWatch{Target: r.target})
}

// watchAll sends a restarted collector what runs.
func (h *host) watchAll(c *supervise.Context) {
	for _, s := range h.slots {
		if r := s.current; r != nil && !r.wait.OK && !r.started.IsZero() {
			c.Send(h.stats, messages.StatsWatch{Target: r.target})
		}
	}
}
