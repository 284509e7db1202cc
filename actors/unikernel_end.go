package actors

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/runtime/proc"
)

// begin is the beginning of running.
func (u *unikernel) begin(c *supervise.Context) {
	u.to(c, running)
	u.eager = true
	u.outcome = outcome{}
	u.backoff.started(c.Now())
	c.Send(u.host, messages.UnikernelRunning{Name: u.name, Run: u.run, Spec: u.spec, Started: u.runtime.Started()})
	u.wait(c)
	if u.stop.OK {
		u.terminate(c)
	}
}

func (u *unikernel) wait(c *supervise.Context) {
	handle := u.handle
	c.Go(func(ctx context.Context) any {
		exit, err := handle.Wait(ctx)
		if ctx.Err() != nil {
			return nil // not needed any more
		}
		return exited{exit, err}
	})
}

func (u *unikernel) exited(c *supervise.Context, m exited) {
	if m.err != nil { // it may still run: nothing may be freed
		c.Log().Error("Cannot wait for tender", "pid", u.runtime.Process.PID, "error", m.err)
		c.After(retryAfter, retryWait{})
		return
	}
	c.Log().Info("Unikernel exited", "exit", m.exit)
	_ = u.handle.Close()
	u.handle = nil
	u.outcome = outcome{exit: m.exit}
	u.close(c)
}

// stopAsked ends the unikernel, at once or when that is possible.
func (u *unikernel) stopAsked(c *supervise.Context, m messages.UnikernelStop) {
	u.stop = messages.Some(m)
	switch u.state {
	case running:
		u.terminate(c)
	case ready, waiting:
		u.close(c)
	case stopping:
	default: // what goes on there ends soon, and looks at stop then
	}
}

// terminate asks the tender to end, and makes it after the grace time.
func (u *unikernel) terminate(c *supervise.Context) {
	u.to(c, stopping)
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
}

// fail gives back what a start has made.
func (u *unikernel) fail(c *supervise.Context, err error) {
	c.Log().Info("Cannot start unikernel", "error", err)
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

// close frees what a tender leaves behind: first the console is read to its
// end.
func (u *unikernel) close(c *supervise.Context) {
	u.to(c, closing)
	if u.unkill != nil {
		u.unkill()
	}
	u.request++
	c.Request(u.console, messages.ConsoleClose{ID: u.request})
}

func (u *unikernel) consoleClosed(c *supervise.Context, m messages.ConsoleClosed) {
	if u.state != closing || m.ID != u.request {
		return
	}
	u.removeFIFO(c)
}

func (u *unikernel) removeFIFO(c *supervise.Context) {
	path := fifo.Path(u.config.FIFODir, u.name)
	c.Go(func(context.Context) any { return fifoRemoved{fifo.Remove(path)} })
}

func (u *unikernel) fifoRemoved(c *supervise.Context, m fifoRemoved) {
	if m.err != nil { // it is kept and used again by the next of this name
		c.Log().Error("Cannot remove console", "error", m.err)
	}
	u.to(c, forgetting)
	u.forget(c)
}

// forget tells the store what is not there any more.
func (u *unikernel) forget(c *supervise.Context) {
	u.returns = u.comesBack()
	switch {
	case u.stop.OK && u.stop.Value.KeepSpec:
		u.record(c, messages.DeleteRuntime{Name: u.name})
	case u.returns:
		u.refused = u.nameRefused()
		u.spec.NameRefused = u.spec.NameRefused || u.refused
		u.record(c, messages.DeleteRuntime{Name: u.name}, messages.PutSpec{Name: u.name, Spec: u.spec})
	default:
		u.record(c, messages.DeleteUnikernel{Name: u.name})
	}
}

// comesBack tells whether it is started again.
func (u *unikernel) comesBack() bool {
	switch {
	case u.stop.OK:
		return false
	case u.outcome.failure != "":
		return u.eager
	}
	return u.outcome.cut || u.nameRefused() || restarts(u.spec.Arguments.Fail, u.outcome.exit)
}

// nameRefused tells whether it has ended because it does not understand the
// argument --name.
func (u *unikernel) nameRefused() bool {
	return named(u.spec) && u.outcome.exit == messages.Exit{Known: true, Code: exitArguments}
}

func (u *unikernel) forgotten(c *supervise.Context, failure string) {
	switch {
	case failure != "": // nobody may be told before it is true
		c.Log().Error("Cannot store the end of a unikernel", "error", failure)
		c.After(retryAfter, retryForget{})
	case u.returns && u.stop.OK: // it has been stopped meanwhile
		u.forget(c)
	case u.returns:
		u.restartLater(c)
	case u.outcome.failure != "" && !u.stop.OK:
		u.giveUp(c, errors.New(u.outcome.failure))
	default:
		u.to(c, gone)
		u.pin.release()
		c.Send(u.host, messages.UnikernelGone{Name: u.name, Run: u.run, Exit: u.outcome.exit})
	}
}

// giveUp ends a unikernel that holds nothing and was never started.
func (u *unikernel) giveUp(c *supervise.Context, err error) {
	u.to(c, gone)
	u.pin.release()
	c.Send(u.host, messages.UnikernelFailed{
		Name: u.name, Run: u.run, Digest: u.spec.Digest, Text: err.Error(),
	})
}

func (u *unikernel) restartLater(c *supervise.Context) {
	u.to(c, waiting)
	c.Send(u.host, messages.UnikernelWaiting{Name: u.name, Run: u.run})
	if u.outcome.cut || u.refused {
		u.restartDue(c)
		return
	}
	c.After(u.backoff.ended(c.Now()), restartDue{})
}

func (u *unikernel) restartDue(c *supervise.Context) {
	switch u.state {
	case waiting:
		u.prepare(c, messages.UnikernelPrepare{Spec: u.spec})
	default: // it has been stopped meanwhile
	}
}
