package supervise

import (
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A failed actor is restarted after a pause that doubles with every recent failure. The
// weight of a failure halves every failureDecay, so that an actor that works for a few
// minutes starts anew.
const (
	firstPause   = 10 * time.Millisecond // a single bug should hardly be noticed
	longestPause = 30 * time.Second      // one that always fails should cost nothing
	failureDecay = 30 * time.Second
)

// restarting restarts a failed actor after a pause, for ever: giving up would lose what
// our actors own (a running unikernel, its console).
type restarting struct {
	clock  Clock
	failed func(who *actor.PID, reason any, attrs ...any) // called for each failure

	mu       sync.Mutex
	failures map[string]failures // by the child's id; those that count
}

// failures is a count that decays with time.
type failures struct {
	count float64
	last  time.Time
}

func (f failures) at(now time.Time) float64 {
	return f.count * math.Pow(0.5, float64(now.Sub(f.last))/float64(failureDecay))
}

// HandleFailure is called by protoactor on the parent's turn, or on the failing actor's
// if it has none.
func (r *restarting) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	wait := pause(r.fail(child.Id))
	r.failed(child, reason, slog.Duration("restart_in", wait))
	r.clock.AfterFunc(wait, func() { supervisor.RestartChildren(child) })
}

// fail counts a failure and returns how many count now.
func (r *restarting) fail(child string) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	for id, f := range r.failures { // few: only those that failed lately
		if f.at(now) < 0.01 {
			delete(r.failures, id)
		}
	}
	f := failures{count: r.failures[child].at(now) + 1, last: now}
	r.failures[child] = f
	return f.count
}

// pause returns how long to wait after so many failures, give or take a quarter, so that
// actors that failed together do not restart together.
func pause(count float64) time.Duration {
	p := float64(firstPause) * math.Pow(2, count-1)
	p *= 0.75 + rand.Float64()/2
	return time.Duration(min(p, float64(longestPause)))
}

// stopping stops a failed actor: its client has lost the connection anyway.
type stopping struct {
	failed func(who *actor.PID, reason any, attrs ...any) // called for each failure
}

func (s *stopping) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	s.failed(child, reason)
	supervisor.StopChildren(child)
}

func logFailure(log *slog.Logger, child *actor.PID, reason any, attrs ...any) {
	attrs = append([]any{slog.String("actor", child.Id), slog.Any("reason", reason)}, attrs...)
	if f, ok := reason.(*failure); ok {
		attrs = append(attrs, slog.String("message", f.message), slog.String("stack", string(f.stack)))
	}
	log.Error("Internal error: actor failed", attrs...)
}
