package unikernel

import (
	"context"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// The health of a run is checked from its start until the check has succeeded once. What has replaced
// another unikernel is on trial for so long: if it has no success in its time, its former is started
// again.

const (
	// healthPause is the pause between two tries, and sickPause that after the time of the check.
	healthPause = 500 * time.Millisecond
	sickPause   = 10 * time.Second
	// adoptedTime is how much time of its check a run has at least after the daemon was started: it
	// may have been healthy while nobody looked.
	adoptedTime = 5 * time.Second
)

// A healthWatch is the check of one run.
type healthWatch struct {
	run   uint64 // which run of this actor: others' results are late
	state messages.HealthState
	until time.Time
}

// The messages of a check's own goroutine and timer.
type (
	healthAsked struct {
		run uint64
		err error
	}
	healthDue struct{ run uint64 }
)

// asksHealth reports whether the health of what runs is asked for, and is not known yet.
func (u *unikernel) asksHealth() bool {
	check := u.spec.Arguments.Health
	return check.OK && check.Value.Kind != messages.HealthRuns && !u.runtime.Healthy
}

// watchHealth begins the check of a run that has begun then.
func (u *unikernel) watchHealth(c *supervise.Context, since time.Time) {
	check := u.spec.Arguments.Health
	u.health = healthWatch{run: u.health.run + 1}
	switch {
	case !check.OK:
	case u.runtime.Healthy:
		u.tellHealth(c, messages.Healthy, "")
	default:
		u.health.until = later(since.Add(check.Value.Time()), c.Now().Add(min(check.Value.Time(), adoptedTime)))
		u.tellHealth(c, messages.HealthChecking, "")
		if u.asksHealth() {
			u.askHealth(c)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (u *unikernel) tellHealth(c *supervise.Context, state messages.HealthState, cause messages.Public) {
	u.health.state = state
	c.Send(u.Host, messages.UnikernelHealth{Name: u.Name, Run: u.Run, Health: messages.NewHealth(state, cause)})
}

func (u *unikernel) askHealth(c *supervise.Context) {
	machine, run, check := u.Machine, u.health.run, u.spec.Arguments.Health.Value
	at, _, err := check.Address(u.spec.Arguments)
	c.Go(func(ctx context.Context) any {
		if err == nil {
			err = machine.AskHealth(ctx, check, at)
		}
		return healthAsked{run, err}
	})
}

func (u *unikernel) healthAsked(c *supervise.Context, m healthAsked) {
	switch u.state {
	case running:
		if m.run != u.health.run || !u.asksHealth() {
			return
		}
	default: // it is being stopped, or has ended
		return
	}
	switch {
	case m.err == nil && !u.proving:
		u.trialOver(c)
	case m.err == nil: // its success is being stored
	case c.Now().Before(u.health.until):
		c.After(healthPause, healthDue{m.run})
	default:
		u.unhealthy(c, m.err)
	}
}

func (u *unikernel) healthDue(c *supervise.Context, m healthDue) {
	switch u.state {
	case running:
		if m.run == u.health.run && u.asksHealth() {
			u.askHealth(c)
		}
	default: // it is being stopped, or has ended
	}
}

// unhealthy ends a unikernel on trial. Another one runs on, and may still become healthy.
func (u *unikernel) unhealthy(c *supervise.Context, err error) {
	if u.health.state != messages.Unhealthy {
		cause := messages.Publicf("not healthy within %v: %s", u.spec.Arguments.Health.Value.Time(), messages.PublicError(err))
		c.Log().Warn("Unikernel is unhealthy", "error", err)
		u.tellHealth(c, messages.Unhealthy, cause)
		if u.spec.Former != nil {
			u.unfit = cause
			u.to(c, stopping)
			failpoint.Here("unikernel/unfit")
			u.terminate(c)
			return
		}
		c.Send(u.Store, messages.StoreWrite{Changes: []messages.Change{messages.Happened(c.Now(), messages.EventUnhealthy, u.Name, cause)}})
	}
	c.After(sickPause, healthDue{u.health.run})
}
