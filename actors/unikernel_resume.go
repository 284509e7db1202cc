package actors

import (
	"context"
	"errors"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/proc"
	"albatross/runtime/tender"
)

// resumeAsked takes over what a former daemon has recorded, and starts it where
// nothing runs.
func (u *unikernel) resumeAsked(c *supervise.Context, record messages.Record) {
	u.spec = record.Spec
	u.eager, u.stored = true, true
	if !record.Runtime.OK {
		u.startLater(c)
		return
	}
	u.runtime = record.Runtime.Value
	u.runtime.StartTold = u.runtime.StartTold || u.runtime.Released // by a daemon that told no events
	u.resume(c)
}

// startLater starts what has not run, when the host says so where it wants to.
func (u *unikernel) startLater(c *supervise.Context) {
	u.to(c, waiting)
	if u.held {
		c.Send(u.host, messages.UnikernelWaiting{Name: u.name, Run: u.run, Cause: u.cause})
		failpoint.Here("unikernel/start-held")
		return
	}
	u.prepare(c, messages.UnikernelPrepare{Spec: u.spec})
}

func (u *unikernel) resume(c *supervise.Context) {
	u.to(c, resuming)
	config, name, images, digest, runtime := u.config, u.name, u.config.Images, u.spec.Digest, u.runtime
	c.Go(func(ctx context.Context) any {
		r := config.resume(ctx, name, runtime)
		if images.Pin(digest) == nil { // one that is lost is missed at the next start
			r.pin = &pin{images: images, digest: digest}
		}
		return r
	})
}

// resume looks for a tender that has been recorded. One that is gone was cut
// off if the machine has been started anew since, or if it never was released.
func (g *Config) resume(ctx context.Context, name messages.Name, r messages.Runtime) resumed {
	handle, err := proc.Open(r.Process)
	if err == nil && !r.Released {
		if err = tender.Settle(g.Launcher, handle); err != nil {
			_ = handle.Close()
			handle = nil
		}
	}
	if err == nil && handle.Ended() { // and nobody has cleared it away
		return g.lateEnd(ctx, name, handle)
	}
	if !errors.Is(err, proc.ErrGone) {
		return resumed{handle: handle, err: err}
	}
	boot, bootErr := proc.BootID()
	switch {
	case bootErr == nil && boot != r.Process.BootID:
		return resumed{cut: "the machine was started anew", err: err}
	case !r.Released:
		return resumed{cut: "the daemon ended while it started or replaced it", err: err}
	}
	return resumed{exit: g.seenEnd(name, messages.Exit{}), err: err}
}

// lateEnd is how a tender has ended of which nobody saw when.
func (g *Config) lateEnd(ctx context.Context, name messages.Name, handle *proc.Handle) resumed {
	defer func() { _ = handle.Close() }()
	exit, err := handle.Wait(ctx)
	if err != nil {
		return resumed{err: err}
	}
	return resumed{exit: g.seenEnd(name, exit), err: proc.ErrGone}
}

func (u *unikernel) resumed(c *supervise.Context, m resumed) {
	u.pin.release()
	u.pin = m.pin
	switch {
	case errors.Is(m.err, proc.ErrGone):
		failpoint.Here("unikernel/found-gone")
		u.outcome = outcome{exit: m.exit, cut: m.cut, unseen: true}
		if u.runtime.Released { // it has been a tender
			u.noteEnd(c.Now())
		}
		u.close(c)
	case m.err != nil: // it may be there: a second one must not be started
		u.trouble.note(c, "Cannot take over unikernel", m.err)
		c.After(retryAfter, retryResume{})
	default:
		u.trouble.over(c)
		c.Log().Info("Unikernel taken over", "pid", u.runtime.Process.PID)
		u.config.Meter.Adopted()
		u.handle = m.handle
		u.begin(c, u.runtime.Started())
		u.openConsole(c)
		failpoint.Here("unikernel/taken-over")
		u.tellAdopted(c)
	}
}

// recoverAsked goes on where an incarnation has failed, by what is on disk.
func (u *unikernel) recoverAsked(c *supervise.Context, m messages.UnikernelRecover) {
	u.recovery, u.spec.Former = m, m.Former
	u.cause = recovering
	u.to(c, resuming)
	u.request = c.NewID()
	c.Request(u.store, messages.StoreLoad{ID: u.request, Only: messages.Some(u.name)})
}

func (u *unikernel) loaded(c *supervise.Context, m messages.StoreLoaded) {
	if u.state != resuming || m.ID != u.request {
		return
	}
	u.request = 0
	if m.Err != "" {
		u.trouble.note(c, "Cannot recover unikernel", errors.New(m.Err))
		if u.tries++; u.tries >= patientTries { // nobody should wait for it any longer
			c.Send(u.host, messages.UnikernelUnstored{Name: u.name, Run: u.run, Text: m.Err})
		}
		c.After(retryAfter, u.recovery)
		return
	}
	u.trouble.over(c)
	u.tries = 0
	for _, record := range m.State.Unikernels {
		if !u.recovery.Abandon {
			u.resumeAsked(c, record)
			return
		}
		u.stored = true
		u.runtime = record.Runtime.Value // what was made for it is freed
	}
	u.fail(c, errors.New(failedStarting))
}
