package unikernel

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/proc"
)

// ports returns the taps with the device names of the unikernel. Both are in the order of
// its networks.
func ports(args messages.Arguments, taps []messages.Link) []messages.Port {
	list := make([]messages.Port, min(len(taps), len(args.Networks)))
	for i := range list {
		list[i] = messages.Port{Device: args.Networks[i].Name, Link: taps[i]}
	}
	return list
}

// begin enters the state running, of a tender that runs since then.
func (u *unikernel) begin(c *supervise.Context, since time.Time) {
	u.to(c, running)
	u.eager, u.held = true, false
	u.outcome = outcome{}
	u.backoff.started(c.Now())
	c.Send(u.Host, messages.UnikernelRunning{
		Name: u.Name, Run: u.Run, Spec: u.spec,
		Started: u.runtime.Started(), Process: u.runtime.Process, Ports: ports(u.spec.Arguments, u.runtime.Taps),
		Restarts: u.runtime.Restarts,
	})
	failpoint.Here("unikernel/running-told")
	u.beginTrial(c, since)
	u.watchHealth(c, since)
	u.wait(c)
	if u.stop.OK {
		u.stopRunning(c)
	}
}

func (u *unikernel) wait(c *supervise.Context) {
	tender := u.tender
	c.Go(func(ctx context.Context) any {
		end, err := tender.Wait(ctx)
		if ctx.Err() != nil {
			return nil // the actor ends
		}
		return exited{end, err}
	})
}

func (u *unikernel) exited(c *supervise.Context, m exited) {
	u.trouble.Note(c, "Cannot wait for tender", m.err)
	if m.err != nil { // it may still run: nothing may be freed
		c.After(supervise.RetryAfter, retryWait{})
		if u.spec.Former != nil && !u.asksHealth() { // or it may have ended: the trial lasts until that is known
			u.endTrialAfter(c, 2*supervise.RetryAfter)
		}
		return
	}
	u.logExit(c, m.end)
	failpoint.Here("unikernel/exited")
	_ = u.tender.Close()
	u.tender = nil
	u.outcome = outcome{exit: m.end.Exit, usage: m.end.Usage, asked: u.state == stopping}
	if u.mayBeEnding && !u.outcome.asked {
		u.outcome.interrupted = "a former daemon was ending it"
	}
	u.mayBeEnding = false
	u.noteEnd(c.Now())
	u.close(c)
}

func (u *unikernel) logExit(c *supervise.Context, end proc.End) {
	args := []any{"exit", end.Exit}
	if end.Usage.OK {
		args = append(args, "used", end.Usage.Value)
	}
	c.Log().Log(context.Background(), u.exitLevel(end.Exit), "Unikernel exited", args...)
}

// exitLevel returns how serious an end is: whoever has stopped a unikernel knows of it.
func (u *unikernel) exitLevel(exit messages.Exit) slog.Level {
	if u.state == stopping || exit == (messages.Exit{Known: true}) {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// stopAsked ends the unikernel, at once or when possible.
func (u *unikernel) stopAsked(c *supervise.Context, m messages.UnikernelStop) {
	first := !u.stop.OK
	u.stop = messages.Some(m)
	switch u.state {
	case running:
		u.stopRunning(c)
	case ready, waiting:
		u.close(c)
	case reverting:
		u.to(c, forgetting)
		u.forget(c)
	case stopped:
		u.rest(c)
	case stopping:
		if first { // it is being ended since it is unhealthy
			u.stopRunning(c)
		}
	default: // what goes on there ends soon, and checks stop then
	}
}

// stopRunning ends a tender. A unikernel that is being replaced must be started again if
// we die before its successor is on record: so it first stores that it does not end by
// itself, and goes on if it cannot. One that is to stay on record as stopped must not be started
// again, nor be forgotten, however it ends: so it first stores that it is being stopped. Of a
// unikernel that is being destroyed it first stores that its trial is over: if we die, the former
// must not be started again.
func (u *unikernel) stopRunning(c *supervise.Context) {
	u.to(c, stopping)
	switch {
	case u.stop.Value.Stay:
		u.runtime.Stopping = true
		u.record(c, messages.PutRuntime{Name: u.Name, Runtime: u.runtime})
	case u.stop.Value.KeepSpec:
		u.runtime.Released = false
		u.record(c, messages.PutRuntime{Name: u.Name, Runtime: u.runtime})
	case u.spec.Former != nil || u.proving:
		u.spec.Former = nil
		u.record(c, messages.PutSpec{Name: u.Name, Spec: u.spec})
	default:
		u.terminate(c)
	}
}

func (u *unikernel) intentRecorded(c *supervise.Context, failure messages.Public) {
	if failure != "" {
		c.Log().Error("Cannot store that a unikernel is being ended", "error", failure)
		if stop := u.stop.Value; stop.Stay || stop.KeepSpec && !stop.Firm {
			u.goOn(c, failure)
			return
		}
	}
	failpoint.Here("unikernel/intent-recorded")
	u.terminate(c)
}

// goOn refuses to end a tender whose unikernel is to stay on record: if we died before that is on
// disk, the unikernel would be forgotten. The write that failed may be on disk all the same, so another
// one says the opposite.
func (u *unikernel) goOn(c *supervise.Context, failure messages.Public) {
	u.to(c, running)
	u.stop = messages.Option[messages.UnikernelStop]{}
	u.runtime.Stopping = false
	u.markReleased(c, u.unmarked...)
	if u.proving {
		u.endTrialAfter(c, supervise.RetryAfter)
	} else {
		u.beginTrial(c, u.trialSince) // its timer may have run out meanwhile
		u.watchHealth(c, u.trialSince)
	}
	c.Send(u.Host, messages.UnikernelGoesOn{
		Name: u.Name, Run: u.Run, Text: "the unikernel goes on, because the daemon cannot store that it ends: " + failure,
	})
}

// terminate asks the tender to end, and kills it after the grace time.
func (u *unikernel) terminate(c *supervise.Context) {
	if u.stopGrace != nil {
		u.stopGrace()
	}
	u.stopGrace = c.After(u.Grace, graceOver{})
	u.askAgain(c)
}

// askAgain sends SIGTERM until it works. The signal is lost if it reaches a tender during
// an exec: the exec ends the thread that was about to end the process.
func (u *unikernel) askAgain(c *supervise.Context) {
	switch u.state {
	case stopping:
		u.signal(c, unix.SIGTERM)
		c.After(askAgainAfter, notGone{})
	default: // it has worked
	}
}

func (u *unikernel) graceOver(c *supervise.Context) {
	switch u.state {
	case stopping:
		c.Log().Warn("Unikernel ignores SIGTERM and is killed", "pid", u.runtime.Process.PID)
		u.signal(c, unix.SIGKILL)
	default: // late
	}
}

func (u *unikernel) signal(c *supervise.Context, signal unix.Signal) {
	if err := u.tender.Signal(signal); err != nil && !errors.Is(err, proc.ErrGone) {
		c.Log().Error("Cannot signal tender", "signal", signal, "error", err)
	}
	failpoint.Here("unikernel/signalled")
}

// fail frees what a start has made.
func (u *unikernel) fail(c *supervise.Context, err error) {
	switch {
	case !u.eager: // the client gets the error
		c.Log().Info("Cannot start unikernel", "error", err)
	case u.outcome.failure != messages.PublicError(err): // not at each retry
		c.Log().Warn("Cannot start unikernel", "error", err)
	}
	u.outcome = outcome{failure: messages.PublicError(err)}
	gated := u.gated
	if gated == nil {
		u.close(c)
		return
	}
	u.to(c, closing)
	c.Go(func(context.Context) any { return aborted{gated.Abort()} })
}

// aborted continues when the launcher has ended.
func (u *unikernel) aborted(c *supervise.Context, m aborted) {
	if m.err != nil { // it waits at its gate, and ends with us at the latest
		c.Log().Error("Cannot end a process", "error", m.err)
	}
	u.gated = nil
	u.close(c)
}

// noteEnd records how the tender has ended. The time of an end that nobody saw is
// unknown, except that it was before now.
func (u *unikernel) noteEnd(now time.Time) {
	end := messages.End{Exit: u.outcome.exit, Restarts: u.runtime.Restarts, Usage: u.outcome.usage}
	if u.outcome.unseen {
		end.FoundMillis = now.UnixMilli()
	} else {
		end.AtMillis = now.UnixMilli()
	}
	u.end = messages.Some(end)
}

// close frees what a tender leaves behind: first the console is read to its end.
func (u *unikernel) close(c *supervise.Context) {
	u.to(c, closing)
	if u.stopGrace != nil {
		u.stopGrace()
	}
	if u.stopTrial != nil {
		u.stopTrial()
	}
	u.request = c.NewID()
	c.Request(u.Console, messages.ConsoleClose{ID: u.request})
}

func (u *unikernel) consoleClosed(c *supervise.Context, m messages.ConsoleClosed) {
	if u.state != closing || m.ID != u.request {
		return
	}
	u.request = 0
	failpoint.Here("unikernel/console-closed")
	u.free(c)
}

// free frees what was made for the tender.
func (u *unikernel) free(c *supervise.Context) {
	machine, name, equipment, links := u.Machine, u.Name, u.equipment, u.runtime.Taps
	u.equipment = nil
	c.Go(func(context.Context) any {
		if equipment != nil {
			equipment.Close()
		}
		return freed{machine.Free(name, links)}
	})
}

// freeTries is how often it is tried to free everything. A failure is one of the machine, of which
// most pass: a tap that stays would be nobody's. But what ended must not wait for ever.
const freeTries = 10

func (u *unikernel) freed(c *supervise.Context, m freed) {
	u.freeing.Note(c, "Cannot free what a unikernel had", m.err)
	if u.unfreed++; m.err != nil && u.unfreed < freeTries {
		c.After(supervise.RetryAfter, retryFree{})
		return
	}
	u.unfreed = 0
	failpoint.Here("unikernel/freed")
	u.runtime.Taps = nil
	if u.ending(c.Now()).failsTrial() {
		u.revert(c)
		return
	}
	u.to(c, forgetting)
	u.forget(c)
}

// ending returns what the fate depends on now.
func (u *unikernel) ending(now time.Time) ending {
	return ending{
		now: now, spec: u.spec, outcome: u.outcome, restarts: u.runtime.Restarts,
		stop: u.stop, eager: u.eager, unfit: u.unfit, revertTo: u.revertTo, revertRefusal: u.revertRefusal,
	}
}

// forget stores what becomes of the unikernel. A change of its published ports that is under way comes
// first: if it fails, what is started again must not have it.
func (u *unikernel) forget(c *supervise.Context) {
	if u.ports.id != 0 { // reportPorts continues
		return
	}
	if u.tries == 0 || u.fate.kind != over { // a write that failed may have removed all the same what is over
		u.fate = u.ending(c.Now()).fate()
	}
	changes := append(u.unmarked, u.endEvents(c)...)
	if u.end.OK {
		changes = append(changes, messages.PutEnd{Name: u.Name, End: u.end.Value})
	}
	u.record(c, append(changes, u.fate.changes(u.Name)...)...)
}

func (u *unikernel) forgotten(c *supervise.Context, failure messages.Public) {
	failpoint.Here("unikernel/end-recorded")
	if failure != "" { // no answer before it is on disk
		u.trouble.Note(c, "Cannot store the end of a unikernel", errors.New(string(failure)))
		if u.tries++; u.tries >= supervise.PatientTries {
			c.Send(u.Host, messages.UnikernelUnstored{Name: u.Name, Run: u.Run, Text: u.fate.unstored(u.outcome, failure)})
		}
		c.After(supervise.RetryAfter, retryForget{})
		return
	}
	u.trouble.Over(c)
	u.Machine.Acknowledge(u.runtime.Process)
	u.unmarked, u.tries = nil, 0
	u.runtime.StartTold = false
	ending := u.ending(c.Now())
	now := ending.fate()
	switch {
	case u.fate.changesTo(now):
		u.forget(c)
	case ending.neverRan():
		u.giveUp(c, errors.New(string(u.outcome.failure)))
	case u.fate.kind == againNow, u.fate.kind == againLater:
		u.startAgain(c)
	case u.fate.kind == stays:
		u.spec = u.fate.next
		u.rest(c)
	default:
		u.to(c, gone)
		u.pin.release()
		c.Send(u.Host, messages.UnikernelGone{Name: u.Name, Run: u.Run, End: u.end, Left: u.fate.left, Why: now.cause})
		failpoint.Here("unikernel/gone-told")
	}
}

// giveUp ends a unikernel that has freed everything and was never started.
func (u *unikernel) giveUp(c *supervise.Context, err error) {
	u.to(c, gone)
	u.pin.release()
	c.Send(u.Host, messages.UnikernelFailed{
		Name: u.Name, Run: u.Run, Digest: u.spec.Digest, Text: c.Public(err),
	})
	failpoint.Here("unikernel/failure-told")
}

// startAgain starts it again at once, after the backoff, or when the host says so.
func (u *unikernel) startAgain(c *supervise.Context) {
	u.to(c, waiting)
	u.spec, u.cause = u.fate.next, u.fate.cause
	if u.outcome.failure != "" { // the next start has none of the causes of the failed one
		u.cause = "it could not be started before"
	}
	later := !u.held && u.fate.kind != againNow
	var pause time.Duration
	if later {
		pause = u.backoff.ended(c.Now())
	}
	c.Send(u.Host, messages.UnikernelWaiting{Name: u.Name, Run: u.Run, End: u.end, Cause: u.fate.cause, Pause: pause})
	failpoint.Here("unikernel/waiting-told")
	switch {
	case u.held: // UnikernelStart follows
	case later:
		c.After(pause, restartDue{})
	default:
		u.restartDue(c)
	}
}

func (u *unikernel) restartDue(c *supervise.Context) {
	switch u.state {
	case waiting:
		failpoint.Here("unikernel/restart-due")
		if u.outcome.failure == "" {
			u.runtime.Restarts++
		}
		u.prepare(c, messages.UnikernelPrepare{Spec: u.spec})
	default: // it was stopped meanwhile
	}
}
