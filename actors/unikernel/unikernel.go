// Package unikernel is the life of one run of a unikernel as a state machine, from the
// check of its image to the last trace of it. It owns the tender, its FIFO, taps and
// cgroup, and a pin on its image. What follows from an end is decided purely, by fate.
package unikernel

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fair"
	"albatross/runtime/guest"
)

// askAgainAfter is how long a SIGTERM may take: tenders know no other way to end
// than at once.
const askAgainAfter = 500 * time.Millisecond

// A Machine is what a unikernel needs of the operating system; see guest.Machine, which
// is one.
type Machine interface {
	Prepare(context.Context, messages.Name, messages.UnikernelPrepare) (messages.Digest, guest.Plan, error)
	Pin(messages.Digest) error
	Unpin(messages.Digest)
	MakeConsole(messages.Name) error
	Equip(messages.Name, guest.Plan) (guest.Equipment, error)
	Resume(context.Context, messages.Name, messages.Runtime) (guest.Found, error)
	Free(name messages.Name, taps []messages.Link) error
}

// A unikernel owns one tender, its FIFO, taps and cgroup, from the check of the image to the
// last trace of it. It is a state machine: one method per event, each a switch
// on the state where the event can come in several; to is the only writer of
// the state. What happens when all goes well, and otherwise:
//
//	idle        → preparing (new), resuming (on record)
//	preparing   → ready (new), starting (again)      or gone (new), closing (again)
//	ready       → starting
//	starting    → running                            or closing
//	resuming    → running, preparing                 or closing
//	running     → stopping (asked), closing (exited)
//	stopping    → closing
//	closing     → forgetting, reverting (on trial)
//	reverting   → forgetting
//	forgetting  → gone, waiting
//	waiting     → preparing (due), closing (asked to stop)
type unikernel struct {
	Config
	again bool // an incarnation of this unikernel has failed before

	// What should run.
	spec  messages.Spec
	pin   *pin // of the image
	plan  guest.Plan
	eager bool // it starts as soon as it is prepared, and is tried again where it fails
	stop  messages.Option[messages.UnikernelStop]

	held bool // the host says when it is started, not the backoff

	recovery messages.UnikernelRecover // after an incarnation that has failed

	// What events tell; see unikernel_tell.go.
	cause   messages.Public // why it is started
	creates bool            // the next start creates it
	stored  bool            // its spec may be on disk

	marks    []messages.Change // events that are stored with the request marking
	unmarked []messages.Change // events of it that could not be stored

	// What runs.
	state     state
	request   uint64          // the ID of the last request to the console, or to load
	writing   uint64          // the ID of the write that something waits for; 0: none
	marking   uint64          // the ID of the last one that says that the tender runs
	equipment guest.Equipment // with taps that vanish with us unless they are kept
	gated     guest.Gated     // where the tender has not been released
	tender    guest.Tender    // where it has
	runtime   messages.Runtime
	outcome   outcome
	end       messages.Option[messages.End] // of the last run
	fate      fate                          // as the store has been told
	backoff   backoff
	unkill    func() // ends the grace time before SIGKILL
	trouble   supervise.Trouble
	tries     int // to store its end, or to read what is stored of it, that have failed

	// As long as spec.Former is there, it is on trial; see unikernel_trial.go.
	untry   func()           // ends the time of the trial
	proving bool             // the store is being told that the trial is over
	back    *messages.Former // what comes back in its place, as the host has said
	barred  messages.Public  // or why that cannot be
}

// A Config is what one run of a unikernel is made with.
type Config struct {
	Name    messages.Name
	Run     uint64
	Host    *actor.PID
	Store   *actor.PID
	Console *actor.PID
	Machine Machine
	Meter   *meter.Meter
	Work    *fair.Workers // for preparations

	Grace time.Duration // between SIGTERM and SIGKILL
	Trial time.Duration // of what replaces something
}

// New returns the maker of its incarnations.
func New(config Config) func() supervise.Actor {
	again := false
	return func() supervise.Actor {
		u := &unikernel{Config: config, again: again}
		again = true
		return u
	}
}

type state string

const (
	idle       state = "idle"
	preparing  state = "preparing"  // the image is being checked
	ready      state = "ready"      // the host has to say go
	starting   state = "starting"   // FIFO, console, taps and cgroup, process, record, exec
	resuming   state = "resuming"   // a recorded tender is being looked for
	running    state = "running"    // the tender runs
	stopping   state = "stopping"   // it has been asked to end
	closing    state = "closing"    // it has ended: what it had is being freed
	reverting  state = "reverting"  // the host has to say whether what it has replaced may come back
	forgetting state = "forgetting" // the store is being told
	waiting    state = "waiting"    // it will be started again
	gone       state = "gone"
)

// An outcome is why a tender is not there any more.
type outcome struct {
	exit    messages.Exit
	failure messages.Public // it could not be started: why
	cut     messages.Public // it has not ended by itself: the machine, or we, have failed, and how
	asked   bool            // it has been asked to end
	unseen  bool            // nobody has waited for it
}

// What the unikernel's goroutines and timers tell it.
type (
	prepared struct {
		digest messages.Digest // as far as it is known
		pin    *pin            // where err is nil
		plan   guest.Plan
		err    error
	}
	fifoMade struct{ err error }
	equipped struct {
		equipment guest.Equipment
		err       error
	}
	launched struct {
		gated guest.Gated // nil where err is not
		err   error
	}
	released struct {
		tender guest.Tender // that of gated, which ends it where nobody sees this
		err    error
	}
	aborted struct{ err error }
	resumed struct {
		found guest.Found
		pin   *pin
		err   error // proc.ErrGone where it has ended
	}
	exited struct {
		exit messages.Exit
		err  error
	}
	freed       struct{ err error }
	graceOver   struct{}
	notGone     struct{}
	restartDue  struct{}
	retryForget struct{}
	retryResume struct{}
	retryWait   struct{}
	retryMark   struct{ marking uint64 }
	trialOver   struct{}
)

// Discard allows the image to be collected.
func (p prepared) Discard() { p.pin.release() }

// Discard has taps vanish that nobody will use.
func (e equipped) Discard() { e.equipment.Close() }

// Discard ends a tender that nobody will release.
func (l launched) Discard() {
	if l.gated != nil {
		_ = l.gated.Abort() // it ends by itself at the latest when the daemon does
	}
}

// Discard lets go of a tender; it is on record.
func (r resumed) Discard() {
	r.pin.release()
	if r.found.Tender != nil {
		_ = r.found.Tender.Close()
	}
}

// Started begins idle. After a failure the host knows best what is to be done.
func (u *unikernel) Started(c *supervise.Context) {
	u.state = idle
	if u.again {
		c.Send(u.Host, messages.UnikernelRestarted{Name: u.Name, Run: u.Run})
	}
}

func (u *unikernel) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.UnikernelPrepare:
		u.prepareAsked(c, m)
	case messages.UnikernelStart:
		u.startAsked(c, m)
	case messages.UnikernelResume:
		u.held, u.cause = m.Hold, m.Cause
		u.runtime.Restarts = m.Restarts
		u.resumeAsked(c, m.Record)
	case messages.UnikernelRecover:
		u.recoverAsked(c, m)
	case messages.UnikernelStop:
		u.stopAsked(c, m)
	case messages.UnikernelReverted:
		u.reverted(c, m)
	case trialOver:
		u.trialOver(c)
	case prepared:
		u.prepared(c, m)
	case fifoMade:
		u.fifoMade(c, m)
	case messages.ConsoleOpened:
		u.consoleOpened(c, m)
	case messages.ConsoleRestarted:
		u.consoleRestarted(c)
	case equipped:
		u.equipped(c, m)
	case launched:
		u.launched(c, m)
	case messages.StoreWritten:
		u.written(c, m)
	case messages.StoreLoaded:
		u.loaded(c, m)
	case released:
		u.released(c, m)
	case aborted:
		u.aborted(c, m)
	case resumed:
		u.resumed(c, m)
	case exited:
		u.exited(c, m)
	case graceOver:
		u.graceOver(c)
	case notGone:
		u.askAgain(c)
	case messages.ConsoleClosed:
		u.consoleClosed(c, m)
	case freed:
		u.freed(c, m)
	case restartDue:
		u.restartDue(c)
	case retryResume:
		u.resume(c)
	case retryForget:
		u.forget(c)
	case retryWait:
		u.wait(c)
	case retryMark:
		u.retryMark(c, m)
	case supervise.Crashed:
		u.crashed(c, m)
	case supervise.Undeliverable:
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
	if u.tender != nil {
		_ = u.tender.Close()
	}
	if u.equipment != nil {
		u.equipment.Close()
	}
	u.pin.release()
}

// to is the only writer of the state.
func (u *unikernel) to(c *supervise.Context, next state) {
	c.Log().Debug("Unikernel changes state", "from", u.state, "to", next)
	u.state = next
}

const othersFailed = "internal error: the daemon failed; its log tells more"

// crashed is the answer to a request whose handler has failed. If it was under way
// there may be another one, of the same ID.
func (u *unikernel) crashed(c *supervise.Context, m supervise.Crashed) {
	switch request := m.Message.(type) {
	case messages.StoreWrite:
		u.written(c, messages.StoreWritten{ID: request.ID, Err: othersFailed})
	case messages.StoreLoad:
		u.loaded(c, messages.StoreLoaded{ID: request.ID, Err: othersFailed})
	case messages.ConsoleOpen:
		u.consoleOpened(c, messages.ConsoleOpened{ID: request.ID, Err: othersFailed})
	case messages.ConsoleClose: // what was in the pipe is lost
		u.consoleClosed(c, messages.ConsoleClosed(request))
	default:
		c.Unknown(m.Message)
	}
}

// unanswered goes on where the console or the store could not be asked.
func (u *unikernel) unanswered(c *supervise.Context) {
	switch u.state {
	case starting:
		u.fail(c, errors.New(othersFailed))
	case resuming:
		c.After(supervise.RetryAfter, u.recovery)
	case running:
		if u.proving {
			u.proven(c, othersFailed)
		}
	case stopping:
		u.terminate(c)
	case closing: // what was in the pipe is lost
		u.free(c)
	case forgetting:
		u.forgotten(c, othersFailed)
	default:
	}
}
