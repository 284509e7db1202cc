package host

import (
	"cmp"
	"slices"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// waveTimeout bounds how long the start of one unikernel can delay the next wave.
const waveTimeout = 10 * time.Second

// MaxStarting is the largest number of unikernels in a wave: each start runs programs,
// reads an image, and makes devices, and a machine that has just booted may have a
// thousand to start.
const MaxStarting = 8

// waves are the starts that a new daemon has to make. First every unikernel on record
// reports whether it still runs. Those that do not, but should, are held. They are
// started lowest startup first; each wave begins when all of the one before have
// reported. Many of the same startup form several waves.
type waves struct {
	number  int              // of the wave; in wave 0 all report whether they run
	awaited map[uint64]bool  // runs of this wave that have not reported yet
	held    map[uint64]start // runs that wait to be started, or may have to
	due     []start          // those that certainly wait
}

// A start is a run that waits to be started.
type start struct {
	name    messages.Name
	run     uint64
	startup int
}

// resumeAll takes over all that is on record.
func (h *host) resumeAll(c *supervise.Context, records []messages.Record) {
	h.waves = waves{awaited: map[uint64]bool{}, held: map[uint64]start{}}
	for _, record := range records {
		r := h.resume(c, record)
		h.waves.awaited[r.number] = true
		h.waves.held[r.number] = start{record.Name, r.number, record.Spec.Arguments.Startup.Or(messages.DefaultStartup)}
	}
	if len(records) == 0 {
		h.nextWave(c)
		return
	}
	h.await(c)
}

// await bounds the time of a wave.
func (h *host) await(c *supervise.Context) { c.After(waveTimeout, waveOver{h.waves.number}) }

// waveTold handles the report of a run; waits says that it must be started.
func (h *host) waveTold(c *supervise.Context, run uint64, waits bool) {
	w := &h.waves
	s, held := w.held[run]
	failpoint.Here("wave/told")
	switch {
	case !held:
	case waits && w.number == 0:
		w.due = append(w.due, s)
	case waits: // its report is so late that its wave may be over
		h.startHeld(c, s)
	default:
		delete(w.held, run)
	}
	h.waveGoesOn(c, run)
}

// waveGoesOn stops waiting for a run.
func (h *host) waveGoesOn(c *supervise.Context, run uint64) {
	w := &h.waves
	if w.awaited[run] {
		delete(w.awaited, run)
		if len(w.awaited) == 0 {
			h.nextWave(c)
		}
	}
}

func (h *host) waveOver(c *supervise.Context, m waveOver) {
	if m.number == h.waves.number && len(h.waves.awaited) > 0 {
		c.Log().Warn("Going on without unikernels that take long to start", "count", len(h.waves.awaited))
		clear(h.waves.awaited)
		h.nextWave(c)
	}
}

// nextWave starts up to MaxStarting of those with the lowest startup.
func (h *host) nextWave(c *supervise.Context) {
	w := &h.waves
	failpoint.Here("wave/over")
	if w.number++; w.number == 1 {
		defer h.ready(c)
	}
	slices.SortStableFunc(w.due, func(a, b start) int { return cmp.Compare(a.startup, b.startup) })
	for i, s := range w.due {
		if n := len(w.awaited); n == MaxStarting || n > 0 && s.startup > w.due[i-1].startup {
			w.due = w.due[i:]
			h.await(c)
			return
		}
		if h.startHeld(c, s) {
			w.awaited[s.run] = true
		}
	}
	w.due = nil
	h.await(c)
}

// startHeld starts a run that still waits.
func (h *host) startHeld(c *supervise.Context, s start) bool {
	_, held := h.waves.held[s.run]
	delete(h.waves.held, s.run)
	t := h.slots[s.name]
	if !held || t == nil || t.current == nil || t.current.number != s.run {
		return false
	}
	c.Send(t.current.pid, messages.UnikernelStart{})
	failpoint.Here("wave/start-asked")
	return true
}
