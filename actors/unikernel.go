package actors

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/runtime/proc"
	"albatross/runtime/tender"
)

// retryAfter is the pause before something is tried again that can only fail
// because the machine is in trouble, such as a full disk.
const retryAfter = time.Second

// A unikernel owns one tender and its FIFO, from the check of the image to the
// last trace of it. It is a state machine: one method per event, each a switch
// on the state; to is the only writer of the state.
//
//	               ┌──────────────── waiting ◀──────────────┐
//	               ▼                                        │
//	idle ──▶ preparing ──▶ ready ──▶ starting ──▶ running ──┤
//	  │                       ▲         │           │ ▲     │
//	  └─▶ resuming ───────────┴─────────┼───────────┼─┘     │
//	                                    ▼           ▼       │
//	                                 closing ◀── stopping   │
//	                                    └──▶ forgetting ────┴──▶ gone
type unikernel struct {
	// Static.
	config  *Config
	name    messages.Name
	run     uint64
	again   bool // an incarnation of this unikernel has failed before
	host    *actor.PID
	store   *actor.PID
	console *actor.PID

	// What should run.
	spec  messages.Spec
	pin   *pin // of the image
	plan  plan
	eager bool // it starts as soon as it is prepared, and is tried again where it fails
	stop  messages.Option[messages.UnikernelStop]

	abandon bool // what an incarnation that has failed was starting is not wanted any more

	// What runs.
	state   unikernelState
	request uint64        // the ID of the last request to the store or the console
	gated   *tender.Gated // where the tender has not been released
	handle  *proc.Handle  // where it has
	runtime messages.Runtime
	outcome outcome
	returns bool // it is started again, as the store has been told
	refused bool // it has just refused its name
	backoff backoff
	unkill  func() // ends the grace time before SIGKILL
}

type unikernelState string

const (
	idle       unikernelState = "idle"
	preparing  unikernelState = "preparing"  // the image is being checked
	ready      unikernelState = "ready"      // the host has to say go
	starting   unikernelState = "starting"   // FIFO, console, process, record, exec
	resuming   unikernelState = "resuming"   // a recorded tender is being looked for
	running    unikernelState = "running"    // the tender runs
	stopping   unikernelState = "stopping"   // it has been asked to end
	closing    unikernelState = "closing"    // it has ended: console and FIFO are being freed
	forgetting unikernelState = "forgetting" // the store is being told
	waiting    unikernelState = "waiting"    // it will be started again
	gone       unikernelState = "gone"
)

// An outcome is why a tender is not there any more.
type outcome struct {
	exit    messages.Exit
	failure string // it could not be started: why
	cut     bool   // it has not ended by itself: the machine, or we, have failed
}

// What the unikernel's goroutines and timers tell it.
type (
	fifoMade struct{ err error }
	launched struct {
		gated *tender.Gated
		err   error
	}
	released struct{ err error }
	resumed  struct {
		handle *proc.Handle
		pin    *pin
		cut    bool
		err    error // proc.ErrGone where it has ended
	}
	exited struct {
		exit messages.Exit
		err  error
	}
	fifoRemoved struct{ err error }
	graceOver   struct{}
	restartDue  struct{}
	retryForget struct{}
	retryResume struct{}
	retryWait   struct{}
)

// Discard ends a tender that nobody will release.
func (l launched) Discard() {
	if l.gated != nil {
		_ = l.gated.Abort() // it ends by itself at the latest when the daemon does
	}
}

// Discard lets go of a tender; it is on record.
func (r resumed) Discard() {
	r.pin.release()
	if r.handle != nil {
		_ = r.handle.Close()
	}
}

// Started begins idle. After a failure the host knows best what is to be done.
func (u *unikernel) Started(c *supervise.Context) {
	u.state = idle
	if u.again {
		c.Send(u.host, messages.UnikernelRestarted{Name: u.name, Run: u.run})
	}
}

func (u *unikernel) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.UnikernelPrepare:
		u.prepareAsked(c, m)
	case messages.UnikernelStart:
		u.startAsked(c)
	case messages.UnikernelResume:
		u.resumeAsked(c, m.Record)
	case messages.UnikernelRecover:
		u.recoverAsked(c, m)
	case messages.UnikernelStop:
		u.stopAsked(c, m)
	case prepared:
		u.prepared(c, m)
	case fifoMade:
		u.fifoMade(c, m)
	case messages.ConsoleOpened:
		u.consoleOpened(c, m)
	case messages.ConsoleRestarted:
		u.consoleRestarted(c)
	case launched:
		u.launched(c, m)
	case messages.StoreWritten:
		u.written(c, m)
	case messages.StoreLoaded:
		u.loaded(c, m)
	case released:
		u.released(c, m)
	case resumed:
		u.resumed(c, m)
	case exited:
		u.exited(c, m)
	case graceOver:
		u.graceOver(c)
	case messages.ConsoleClosed:
		u.consoleClosed(c, m)
	case fifoRemoved:
		u.fifoRemoved(c, m)
	case restartDue:
		u.restartDue(c)
	case retryResume:
		u.resume(c)
	case retryForget:
		u.forget(c)
	case retryWait:
		u.wait(c)
	case supervise.Crashed, supervise.Undeliverable:
		u.unanswered(c)
	default:
		c.Unknown(message)
	}
}

// Stopping lets go of the tender, which goes on: it is on record, and whoever
// comes next takes it over. One that may not have been released ends, and we
// wait for that, a moment: whoever comes next must not take it for a tender.
func (u *unikernel) Stopping(*supervise.Context, bool) {
	if u.gated != nil {
		launched{gated: u.gated}.Discard()
	}
	if u.handle != nil {
		_ = u.handle.Close()
	}
	u.pin.release()
}

// to is the only writer of the state.
func (u *unikernel) to(c *supervise.Context, next unikernelState) {
	c.Log().Debug("Unikernel changes state", "from", u.state, "to", next)
	u.state = next
}

func (u *unikernel) prepareAsked(c *supervise.Context, m messages.UnikernelPrepare) {
	u.spec = m.Spec
	u.prepare(c, m)
}

func (u *unikernel) prepare(c *supervise.Context, m messages.UnikernelPrepare) {
	u.to(c, preparing)
	c.Go(func(ctx context.Context) any { return u.config.prepare(ctx, u.name, m) })
}

func (u *unikernel) prepared(c *supervise.Context, m prepared) {
	u.pin.release() // of the run before
	u.pin = m.pin
	u.spec.Digest = m.digest
	u.plan = m.plan
	switch {
	case m.err != nil && u.eager:
		u.fail(c, m.err)
	case m.err != nil: // nothing has been made yet
		u.giveUp(c, m.err)
	case u.eager:
		u.start(c)
	default:
		u.to(c, ready)
		c.Send(u.host, messages.UnikernelPrepared{Name: u.name, Run: u.run, Spec: u.spec})
	}
}

func (u *unikernel) startAsked(c *supervise.Context) {
	switch u.state {
	case ready:
		u.start(c)
	default:
		c.Log().Error("Internal error: unikernel is not ready", "state", u.state)
	}
}

// start makes the FIFO. Its name is that of the unikernel, and that is how it
// is found and freed after a crash.
func (u *unikernel) start(c *supervise.Context) {
	if u.stop.OK {
		u.close(c)
		return
	}
	u.to(c, starting)
	path := fifo.Path(u.config.FIFODir, u.name)
	c.Go(func(context.Context) any { return fifoMade{fifo.Create(path)} })
}

func (u *unikernel) fifoMade(c *supervise.Context, m fifoMade) {
	if m.err != nil {
		u.fail(c, m.err)
		return
	}
	u.openConsole(c)
}

func (u *unikernel) openConsole(c *supervise.Context) {
	u.request++
	c.Request(u.console, messages.ConsoleOpen{ID: u.request})
}

func (u *unikernel) consoleOpened(c *supervise.Context, m messages.ConsoleOpened) {
	switch u.state {
	case starting:
		if m.ID != u.request {
			return
		}
		if m.Err != "" {
			u.fail(c, errors.New(m.Err))
			return
		}
		u.launch(c)
	case running, stopping:
		if m.Err != "" {
			c.Log().Error("Cannot reattach console", "error", m.Err)
		}
	default: // of a start that has been given up
	}
}

// consoleRestarted has a console that has failed read again.
func (u *unikernel) consoleRestarted(c *supervise.Context) {
	switch u.state {
	case running, stopping:
		u.openConsole(c)
	default: // it is opened when there is something to read, or has answered
	}
}

// launch makes the process that becomes the tender when it is on record.
func (u *unikernel) launch(c *supervise.Context) {
	config, spec, plan, path := u.config, u.spec, u.plan, fifo.Path(u.config.FIFODir, u.name)
	c.Go(func(ctx context.Context) any {
		gated, err := config.launch(ctx, spec, plan, path)
		return launched{gated, err}
	})
}

// launched puts the process on record, and with it the specification: from here
// on it comes back whatever happens.
func (u *unikernel) launched(c *supervise.Context, m launched) {
	if m.err != nil {
		u.fail(c, m.err)
		return
	}
	u.gated = m.gated
	u.runtime = messages.Runtime{Process: m.gated.Process(), StartedMillis: c.Now().UnixMilli()}
	u.record(c,
		messages.PutSpec{Name: u.name, Spec: u.spec},
		messages.PutRuntime{Name: u.name, Runtime: u.runtime})
}

func (u *unikernel) record(c *supervise.Context, changes ...messages.Change) {
	u.request++
	c.Request(u.store, messages.StoreWrite{ID: u.request, Changes: changes})
}

func (u *unikernel) written(c *supervise.Context, m messages.StoreWritten) {
	if m.ID != u.request {
		return
	}
	switch u.state {
	case starting:
		u.recorded(c, m.Err)
	case forgetting:
		u.forgotten(c, m.Err)
	default:
		c.Log().Error("Internal error: nothing was to be stored", "state", u.state)
	}
}

// recorded lets the process become the tender.
func (u *unikernel) recorded(c *supervise.Context, failure string) {
	if failure != "" {
		u.fail(c, errors.New(failure))
		return
	}
	gated := u.gated
	c.Go(func(ctx context.Context) any { return released{gated.Release(ctx)} })
}

func (u *unikernel) released(c *supervise.Context, m released) {
	gated := u.gated
	u.gated = nil
	if m.err != nil { // it has been aborted
		u.fail(c, m.err)
		return
	}
	u.handle = gated.Handle()
	u.begin(c)
}

// resumeAsked takes over what a former daemon has recorded, and starts it where
// nothing runs.
func (u *unikernel) resumeAsked(c *supervise.Context, record messages.Record) {
	u.spec = record.Spec
	u.eager = true
	if !record.Runtime.OK {
		u.prepare(c, messages.UnikernelPrepare{Spec: u.spec})
		return
	}
	u.runtime = record.Runtime.Value
	u.resume(c)
}

func (u *unikernel) resume(c *supervise.Context) {
	u.to(c, resuming)
	images, digest, process := u.config.Images, u.spec.Digest, u.runtime.Process
	c.Go(func(context.Context) any {
		r := resume(process)
		if images.Pin(digest) == nil { // one that is lost is missed at the next start
			r.pin = &pin{images: images, digest: digest}
		}
		return r
	})
}

// resume looks for a process that has been recorded.
func resume(process messages.Process) resumed {
	handle, err := proc.Open(process)
	if !errors.Is(err, proc.ErrGone) {
		return resumed{handle: handle, err: err}
	}
	boot, bootErr := proc.BootID()
	return resumed{cut: bootErr == nil && boot != process.BootID, err: err}
}

func (u *unikernel) resumed(c *supervise.Context, m resumed) {
	u.pin.release()
	u.pin = m.pin
	switch {
	case errors.Is(m.err, proc.ErrGone):
		// While this actor failed, only a tender that it had not released has ended
		// without leaving an exit to be learned.
		u.outcome = outcome{cut: m.cut || u.again}
		u.close(c)
	case m.err != nil: // it may be there: a second one must not be started
		c.Log().Error("Cannot take over unikernel", "error", m.err)
		c.After(retryAfter, retryResume{})
	default:
		c.Log().Info("Unikernel taken over", "pid", u.runtime.Process.PID)
		u.handle = m.handle
		u.begin(c)
		u.openConsole(c)
	}
}

// recoverAsked goes on where an incarnation has failed, by what is on disk.
func (u *unikernel) recoverAsked(c *supervise.Context, m messages.UnikernelRecover) {
	u.abandon = m.Abandon
	u.to(c, resuming)
	u.request++
	c.Request(u.store, messages.StoreLoad{ID: u.request})
}

func (u *unikernel) loaded(c *supervise.Context, m messages.StoreLoaded) {
	if u.state != resuming || m.ID != u.request {
		return
	}
	if m.Err != "" {
		c.Log().Error("Cannot recover unikernel", "error", m.Err)
		c.After(retryAfter, messages.UnikernelRecover{Abandon: u.abandon})
		return
	}
	for _, record := range m.Records {
		if record.Name == u.name && !u.abandon {
			u.resumeAsked(c, record)
			return
		}
	}
	u.fail(c, errors.New(failedStarting))
}

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
	u.signal(c, unix.SIGTERM)
	u.unkill = c.After(u.config.Grace, graceOver{})
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
	if gated := u.gated; gated != nil {
		u.gated = nil
		c.Go(func(context.Context) any { launched{gated: gated}.Discard(); return nil })
	}
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

// unanswered goes on where the console or the store has failed on a request.
func (u *unikernel) unanswered(c *supervise.Context) {
	failure := "internal error: the daemon failed; its log tells more"
	switch u.state {
	case starting:
		u.fail(c, errors.New(failure))
	case resuming:
		c.After(retryAfter, messages.UnikernelRecover{Abandon: u.abandon})
	case closing: // what was in the pipe is lost
		u.removeFIFO(c)
	case forgetting:
		u.forgotten(c, failure)
	default:
	}
}
