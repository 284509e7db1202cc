package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/proc"
)

// begin is the beginning of running, or of knowing that it does since then.
func (u *unikernel) begin(c *supervise.Context, since time.Time) {
	u.to(c, running)
	u.eager, u.held, u.ran = true, false, true
	u.outcome = outcome{}
	u.backoff.started(c.Now())
	c.Send(u.host, messages.UnikernelRunning{
		Name: u.name, Run: u.run, Spec: u.spec,
		Started: u.runtime.Started(), Process: u.runtime.Process, Ports: ports(u.spec.Arguments, u.runtime.Taps),
		Restarts: u.runtime.Restarts,
	})
	failpoint.Here("unikernel/running-told")
	u.try(c, since)
	u.wait(c)
	if u.stop.OK {
		u.stopRunning(c)
	}
}

func (u *unikernel) wait(c *supervise.Context) {
	config, name, handle := u.config, u.name, u.handle
	c.Go(func(ctx context.Context) any {
		exit, err := handle.Wait(ctx)
		if ctx.Err() != nil {
			return nil // not needed any more
		}
		return exited{config.seenEnd(name, exit), err}
	})
}

func (u *unikernel) exited(c *supervise.Context, m exited) {
	u.trouble.note(c, "Cannot wait for tender", m.err)
	if m.err != nil { // it may still run: nothing may be freed
		c.After(retryAfter, retryWait{})
		return
	}
	c.Log().Log(context.Background(), u.gravity(m.exit), "Unikernel exited", "exit", m.exit)
	failpoint.Here("unikernel/exited")
	_ = u.handle.Close()
	u.handle = nil
	u.outcome = outcome{exit: m.exit, asked: u.state == stopping}
	u.close(c)
}

// gravity is how bad it is that a unikernel has ended: who has stopped it knows.
func (u *unikernel) gravity(exit messages.Exit) slog.Level {
	if u.state == stopping || exit == (messages.Exit{Known: true}) {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// stopAsked ends the unikernel, at once or when that is possible.
func (u *unikernel) stopAsked(c *supervise.Context, m messages.UnikernelStop) {
	u.stop = messages.Some(m)
	switch u.state {
	case running:
		u.stopRunning(c)
	case ready, waiting:
		u.close(c)
	case reverting:
		u.to(c, forgetting)
		u.forget(c)
	case stopping:
	default: // what goes on there ends soon, and looks at stop then
	}
}

// stopRunning ends a tender. One that is replaced comes back if we die before
// its successor is on record: so the disk says that its end will not be its own. Of one
// that is destroyed it says that its trial is over: if we die, what it has replaced
// does not come back.
func (u *unikernel) stopRunning(c *supervise.Context) {
	u.to(c, stopping)
	switch {
	case u.stop.Value.KeepSpec:
		u.runtime.Released = false
		u.record(c, messages.PutRuntime{Name: u.name, Runtime: u.runtime})
	case u.spec.Former != nil || u.proving:
		u.spec.Former = nil
		u.record(c, messages.PutSpec{Name: u.name, Spec: u.spec})
	default:
		u.terminate(c)
	}
}

func (u *unikernel) intentRecorded(c *supervise.Context, failure string) {
	if failure != "" {
		c.Log().Error("Cannot store that a unikernel is being ended", "error", failure)
	}
	failpoint.Here("unikernel/intent-recorded")
	u.terminate(c)
}

// terminate asks the tender to end, and makes it after the grace time.
func (u *unikernel) terminate(c *supervise.Context) {
	u.unkill = c.After(u.config.Grace, graceOver{})
	u.askAgain(c)
}

// askAgain sends SIGTERM until it has had its effect. One is lost where it
// reaches a tender just when that executes the next program: the thread that was
// about to end the process is ended itself.
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
	if err := u.handle.Signal(signal); err != nil && !errors.Is(err, proc.ErrGone) {
		c.Log().Error("Cannot signal tender", "signal", signal, "error", err)
	}
	failpoint.Here("unikernel/signalled")
}

// fail gives back what a start has made.
func (u *unikernel) fail(c *supervise.Context, err error) {
	switch {
	case !u.eager: // who wants to start it is told
		c.Log().Info("Cannot start unikernel", "error", err)
	case u.outcome.failure != err.Error(): // not each time that it is tried again
		c.Log().Warn("Cannot start unikernel", "error", err)
	}
	u.outcome = outcome{failure: err.Error()}
	gated := u.gated
	if gated == nil {
		u.close(c)
		return
	}
	u.to(c, closing)
	c.Go(func(context.Context) any { return aborted{gated.Abort()} })
}

// aborted goes on when the process that was to become a tender has ended.
func (u *unikernel) aborted(c *supervise.Context, m aborted) {
	if m.err != nil { // it waits at its gate, and ends with us at the latest
		c.Log().Error("Cannot end a process", "error", m.err)
	}
	u.gated = nil
	u.close(c)
}

// noteEnd keeps how the tender has ended, if there was one. When, is not known
// of one whose end nobody saw, but that it was before now.
func (u *unikernel) noteEnd(now time.Time) {
	if !u.ran {
		return
	}
	u.ran = false
	end := messages.End{Exit: u.outcome.exit, Restarts: u.runtime.Restarts}
	if u.outcome.unseen {
		end.FoundMillis = now.UnixMilli()
	} else {
		end.AtMillis = now.UnixMilli()
	}
	u.end = messages.Some(end)
}

// close frees what a tender leaves behind: first the console is read to its
// end.
func (u *unikernel) close(c *supervise.Context) {
	u.to(c, closing)
	u.noteEnd(c.Now())
	if u.unkill != nil {
		u.unkill()
	}
	if u.untry != nil {
		u.untry()
	}
	u.request++
	c.Request(u.console, messages.ConsoleClose{ID: u.request})
}

func (u *unikernel) consoleClosed(c *supervise.Context, m messages.ConsoleClosed) {
	if u.state != closing || m.ID != u.request {
		return
	}
	failpoint.Here("unikernel/console-closed")
	u.free(c)
}

// free gives back what was made for the tender.
func (u *unikernel) free(c *supervise.Context) {
	config, name, taps, links := u.config, u.name, u.taps, u.runtime.Taps
	u.taps = nil
	c.Go(func(context.Context) any {
		closeTaps(taps)
		return freed{config.free(name, links)}
	})
}

func (u *unikernel) freed(c *supervise.Context, m freed) {
	if m.err != nil { // the console is used again by the next of this name
		c.Log().Error("Cannot free what a unikernel had", "error", m.err)
	}
	failpoint.Here("unikernel/freed")
	u.runtime.Taps = nil
	if u.failsTrial() {
		u.revert(c)
		return
	}
	u.to(c, forgetting)
	u.forget(c)
}

// forget tells the store what is not there any more.
func (u *unikernel) forget(c *supervise.Context) {
	u.returns, u.left = u.comesBack(), u.leaves()
	u.refused = u.returns && u.nameRefused()
	changes := append(u.unmarked, u.endEvents(c)...)
	if u.end.OK {
		changes = append(changes, messages.PutEnd{Name: u.name, End: u.end.Value})
	}
	switch {
	case u.left != nil && u.left == u.back:
		changes = append(changes, messages.DeleteRuntime{Name: u.name}, messages.PutSpec{Name: u.name, Spec: u.back.Spec})
	case u.left != nil:
		changes = append(changes, messages.DeleteRuntime{Name: u.name})
	case u.returns:
		changes = append(changes, messages.DeleteRuntime{Name: u.name}, messages.PutSpec{Name: u.name, Spec: u.nextSpec()})
	default:
		changes = append(changes, messages.DeleteUnikernel{Name: u.name})
	}
	u.record(c, changes...)
}

// nextSpec is the one with which it is started again. How it has ended may say
// that its trial is over.
func (u *unikernel) nextSpec() messages.Spec {
	spec := u.spec
	if u.outcome.cut == "" && !u.refused {
		spec = spec.Proven()
	}
	spec.NameRefused = spec.NameRefused || u.refused
	return spec
}

// leaves is what stays on disk when it is gone.
func (u *unikernel) leaves() *messages.Former {
	switch {
	case u.stop.OK && !u.stop.Value.KeepSpec:
		return nil
	case u.back != nil:
		return u.back
	case u.stop.OK:
		return &messages.Former{Spec: u.spec, Restarts: u.runtime.Restarts}
	}
	return nil
}

// comesBack tells whether it is started again.
func (u *unikernel) comesBack() bool {
	switch {
	case u.stop.OK, u.back != nil:
		return false
	case u.outcome.failure != "":
		return u.eager
	}
	return u.outcome.cut != "" || u.nameRefused() || restarts(u.spec.Arguments, u.outcome.exit)
}

// nameRefused tells whether it has ended because it does not understand the
// argument --name.
func (u *unikernel) nameRefused() bool {
	return named(u.spec) && refusesArguments(u.outcome.exit)
}

func (u *unikernel) forgotten(c *supervise.Context, failure string) {
	failpoint.Here("unikernel/end-recorded")
	if failure != "" { // nobody may be told before it is true
		u.trouble.note(c, "Cannot store the end of a unikernel", errors.New(failure))
		if u.tries++; u.tries >= patientTries {
			c.Send(u.host, messages.UnikernelUnstored{Name: u.name, Run: u.run, Text: u.unstored(failure)})
		}
		c.After(retryAfter, retryForget{})
		return
	}
	u.trouble.over(c)
	u.unmarked, u.tries = nil, 0
	u.cause = u.startCause()
	u.runtime.StartTold = false
	switch {
	case u.stop.OK && (u.returns || u.left != nil && !u.stop.Value.KeepSpec): // it has been stopped meanwhile
		u.forget(c)
	case u.returns:
		u.spec = u.nextSpec()
		u.restartLater(c)
	case u.outcome.failure != "" && !u.stop.OK && !u.eager:
		u.giveUp(c, errors.New(u.outcome.failure))
	default:
		u.to(c, gone)
		u.pin.release()
		c.Send(u.host, messages.UnikernelGone{Name: u.name, Run: u.run, End: u.end, Left: u.left, Why: u.cause})
		failpoint.Here("unikernel/gone-told")
	}
}

// unstored tells what has become of the unikernel while that is not on disk.
func (u *unikernel) unstored(failure string) string {
	switch {
	case u.back != nil:
		return fmt.Sprintf("%s; the one before cannot be started again, since that cannot be stored: %s; this is tried again until it can", u.revertCause(), failure)
	case u.outcome.failure != "":
		return fmt.Sprintf("%s; and what is stored of it cannot be removed: %s; this is tried again until it can", u.outcome.failure, failure)
	}
	return fmt.Sprintf("the unikernel has ended, but that cannot be stored: %s; this is tried again until it can", failure)
}

// giveUp ends a unikernel that holds nothing and was never started.
func (u *unikernel) giveUp(c *supervise.Context, err error) {
	u.to(c, gone)
	u.pin.release()
	c.Send(u.host, messages.UnikernelFailed{
		Name: u.name, Run: u.run, Digest: u.spec.Digest, Text: err.Error(),
	})
	failpoint.Here("unikernel/failure-told")
}

func (u *unikernel) restartLater(c *supervise.Context) {
	u.to(c, waiting)
	c.Send(u.host, messages.UnikernelWaiting{Name: u.name, Run: u.run, End: u.end, Cause: u.nextCause()})
	failpoint.Here("unikernel/waiting-told")
	switch {
	case u.held: // UnikernelStart follows
	case u.outcome.cut != "", u.refused:
		u.restartDue(c)
	default:
		c.After(u.backoff.ended(c.Now()), restartDue{})
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
	default: // it has been stopped meanwhile
	}
}
