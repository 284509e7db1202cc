package unikernel

import (
	"cmp"
	"context"
	"errors"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/proc"
)

// resumeAsked takes over what a former daemon has recorded, and starts it if it does not
// run and should.
func (u *unikernel) resumeAsked(c *supervise.Context, record messages.Record) {
	u.spec = record.Spec
	u.eager, u.stored = true, true
	switch {
	case !record.Runtime.OK && u.spec.IsStopped():
		u.rest(c)
		return
	case !record.Runtime.OK:
		u.startLater(c)
		return
	}
	u.runtime = record.Runtime.Value
	if u.runtime.Stopping && !u.stop.OK {
		u.stop = messages.Some(messages.UnikernelStop{Stay: true, Cause: "a former daemon was stopping it"})
	}
	u.runtime.StartTold = u.runtime.StartTold || u.runtime.Released // a former daemon without events
	u.resume(c)
}

// startLater starts what has not run, or waits for the host to do so.
func (u *unikernel) startLater(c *supervise.Context) {
	u.to(c, waiting)
	if u.held {
		c.Send(u.Host, messages.UnikernelWaiting{Name: u.Name, Run: u.Run, Cause: u.cause})
		failpoint.Here("unikernel/start-held")
		return
	}
	u.prepare(c, messages.UnikernelPrepare{Spec: u.spec})
}

func (u *unikernel) resume(c *supervise.Context) {
	u.to(c, resuming)
	machine, name, digest, runtime := u.Machine, u.Name, u.spec.Digest, u.runtime
	c.Go(func(ctx context.Context) any {
		var r resumed
		r.found, r.err = machine.Resume(ctx, name, runtime)
		if machine.Pin(digest) == nil { // the next start reports a lost image
			r.pin = &pin{machine: machine, digest: digest}
		}
		return r
	})
}

func (u *unikernel) resumed(c *supervise.Context, m resumed) {
	u.pin.release()
	u.pin = m.pin
	switch {
	case errors.Is(m.err, proc.ErrGone):
		failpoint.Here("unikernel/found-gone")
		u.outcome = outcome{exit: m.found.End.Exit, usage: m.found.End.Usage, interrupted: m.found.Cut, unseen: m.found.At.IsZero()}
		if u.runtime.Released { // it was a tender
			u.noteEnd(cmp.Or(m.found.At, c.Now()))
		}
		u.close(c)
	case m.err != nil: // it may still run: a second one must not be started
		u.trouble.Note(c, "Cannot take over unikernel", m.err)
		c.After(supervise.RetryAfter, retryResume{})
	default:
		u.trouble.Over(c)
		c.Log().Info("Unikernel taken over", "pid", u.runtime.Process.PID)
		u.Meter.Adopted()
		u.tender = m.found.Tender
		u.begin(c, m.found.Since)
		u.openConsole(c)
		failpoint.Here("unikernel/taken-over")
		u.recordAdopted(c)
	}
}

// recoverAsked continues after a failed incarnation, by what is on disk.
func (u *unikernel) recoverAsked(c *supervise.Context, m messages.UnikernelRecover) {
	switch u.state {
	case idle:
		u.recovery, u.spec.Former = m, m.Former
		u.cause = messages.DaemonRecovers
		u.to(c, resuming)
		u.load(c)
	default: // an incarnation that has failed at its start has asked the host, too
	}
}

// unread returns the text for clients while what is on disk cannot be read.
func unread(failure messages.Public) messages.Public {
	return messages.Publicf("what is stored of the unikernel cannot be read: %s; this is tried again until it can", failure)
}

// load asks for what is on disk.
func (u *unikernel) load(c *supervise.Context) {
	u.request = c.NewID()
	c.Request(u.Store, messages.StoreLoad{ID: u.request, Only: messages.Some(u.Name)})
}

func (u *unikernel) loaded(c *supervise.Context, m messages.StoreLoaded) {
	if u.state != resuming || m.ID != u.request {
		return
	}
	u.request = 0
	if m.Err != "" {
		u.trouble.Note(c, "Cannot recover unikernel", errors.New(string(m.Err)))
		if u.tries++; u.tries >= supervise.PatientTries { // clients should not wait any longer
			c.Send(u.Host, messages.UnikernelUnstored{Name: u.Name, Run: u.Run, Text: unread(m.Err)})
		}
		c.After(supervise.RetryAfter, retryLoad{})
		return
	}
	u.trouble.Over(c)
	u.tries = 0
	for _, record := range m.State.Unikernels {
		if !u.recovery.Abandon {
			u.resumeAsked(c, record)
			return
		}
		u.stored = true
		u.runtime = record.Runtime.Value // to free what was made for it
	}
	u.fail(c, errors.New(messages.FailedStarting))
}
