// Package unikernel is the life of one run of a unikernel as a state machine, from the
// check of its image to the removal of its last trace. It owns the tender, its FIFO, taps
// and cgroup, and a pin on its image. fate decides purely what follows an end.
package unikernel

import (
	"context"
	"net/netip"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fair"
	"albatross/runtime/guest"
	"albatross/runtime/proc"
)

// askAgainAfter is how long a SIGTERM may take: tenders end at once.
const askAgainAfter = 500 * time.Millisecond

// A Machine is what a unikernel needs of the operating system; guest.Machine is one.
type Machine interface {
	Prepare(context.Context, messages.Name, messages.UnikernelPrepare) (messages.Digest, guest.Plan, error)
	Pin(messages.Digest) error
	Unpin(messages.Digest)
	MakeConsole(messages.Name) error
	Equip(messages.Name, guest.Plan) (guest.Equipment, error)
	Resume(context.Context, messages.Name, messages.Runtime) (guest.Found, error)
	Free(name messages.Name, taps []messages.Link) error
	Publish(ctx context.Context, name messages.Name, args messages.Arguments, former []messages.Publication) error
	AskHealth(ctx context.Context, check messages.HealthCheck, at netip.AddrPort) error
	Acknowledge(messages.Process)
}

// A unikernel owns one tender, its FIFO, taps and cgroup, from the check of the image to
// the removal of its last trace. It is a state machine: one method per event, each with a
// switch on the state if the event is possible in several; only to writes the state. The
// transitions on success, and otherwise:
//
//	idle        → preparing (new), resuming (on record), stopped (on record as stopped)
//	preparing   → ready (new), starting (again)      or gone (new), closing (again)
//	ready       → starting
//	starting    → running                            or closing
//	resuming    → running, preparing, stopped        or closing
//	running     → stopping (asked, or unhealthy on trial), closing (exited)
//	stopping    → closing, running (that it ends cannot be stored)
//	closing     → forgetting, reverting (on trial)
//	reverting   → forgetting
//	forgetting  → gone, waiting, stopped (asked to stop, and to stay on record)
//	waiting     → preparing (due), closing (asked to stop)
//	stopped     → closing (asked to stop: it is destroyed, replaced or started)
type unikernel struct {
	Config
	again bool // an incarnation of this unikernel has failed before

	// What should run.
	spec  messages.Spec
	pin   *pin // of the image
	plan  guest.Plan
	eager bool // start it once it is prepared, and repeat a failed start
	stop  messages.Option[messages.UnikernelStop]

	mayBeEnding bool // a former daemon may have asked it to end for a successor

	held bool // the host decides when to start it, not the backoff

	recovery messages.UnikernelRecover // after an incarnation that has failed

	// For events; see events.go.
	cause   messages.Public // why it is started
	creates bool            // the next start creates it
	stored  bool            // its spec may be on disk

	marks    []messages.Change // events that are stored with the request marking
	unmarked []messages.Change // events that could not be stored

	// What runs.
	state     state
	request   uint64          // the ID of the last request to the console, or to load
	writing   uint64          // the ID of the write that the state waits for; 0: none
	marking   uint64          // the ID of the last write that says that the tender runs
	equipment guest.Equipment // with taps that vanish with us unless they are kept
	gated     guest.Gated     // before the release
	tender    guest.Tender    // after the release
	runtime   messages.Runtime
	outcome   outcome
	end       messages.Option[messages.End] // of the last run
	fate      fate                          // as it was stored
	backoff   backoff
	stopGrace func() // stops the grace timer before SIGKILL
	trouble   supervise.Trouble
	tries     int // failed tries to store its end, or to read its record
	freeing   supervise.Trouble
	unfreed   int // failed tries to free what it had

	ports publishing // see publish.go

	health healthWatch     // see health.go
	unfit  messages.Public // why it fails its trial, although it runs; empty: it does not

	// While spec.Former is set, it is on trial; see trial.go.
	trialSince    time.Time        // its beginning
	stopTrial     func()           // stops the timer of the trial
	proving       bool             // the trial has ended, but may not on disk
	revertTo      *messages.Former // the former, if the host has allowed it to be started again
	revertRefusal messages.Public  // why the host has not
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
	Trial time.Duration // of a replacement

	Versions int // former ones that stay on record
}

// New returns the constructor of its incarnations.
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
	ready      state = "ready"      // waits for the host
	starting   state = "starting"   // FIFO, console, taps and cgroup, process, record, exec
	resuming   state = "resuming"   // looks for a recorded tender
	running    state = "running"    // the tender runs
	stopping   state = "stopping"   // the tender was asked to end
	closing    state = "closing"    // it has ended, and its resources are being freed
	reverting  state = "reverting"  // the host decides whether its former may be started again
	forgetting state = "forgetting" // its fate is being stored
	waiting    state = "waiting"    // it will be started again
	stopped    state = "stopped"    // it stays on record, and is not started by this actor
	gone       state = "gone"
)

// An outcome is how a tender has ended.
type outcome struct {
	exit        messages.Exit
	usage       messages.Option[messages.Usage]
	failure     messages.Public // why it could not be started
	interrupted messages.Public // why it has not ended by itself: the machine, or we, have failed
	asked       bool            // it was asked to end
	unseen      bool            // nobody saw the end
}

// The messages of the unikernel's own goroutines and timers.
type (
	prepared struct {
		digest messages.Digest // if known
		pin    *pin            // nil if err is not
		plan   guest.Plan
		err    error
	}
	fifoMade struct{ err error }
	equipped struct {
		equipment guest.Equipment
		err       error
	}
	launched struct {
		gated guest.Gated // nil if err is not
		err   error
	}
	released struct {
		tender guest.Tender // of gated; Discard of launched ends it
		err    error
	}
	aborted struct{ err error }
	resumed struct {
		found guest.Found
		pin   *pin
		err   error // proc.ErrGone if it has ended
	}
	exited struct {
		end proc.End
		err error
	}
	freed       struct{ err error }
	graceOver   struct{}
	notGone     struct{}
	restartDue  struct{}
	retryForget struct{}
	retryFree   struct{}
	retryResume struct{}
	retryLoad   struct{}
	retryWait   struct{}
	retryMark   struct{ marking uint64 }
	trialOver   struct{}
	endOverdue  struct{}
	formerEnded struct{}
)

// Discard allows the image to be removed.
func (p prepared) Discard() { p.pin.release() }

// Discard removes taps that nobody will use.
func (e equipped) Discard() { e.equipment.Close() }

// Discard ends a launcher that nobody will release.
func (l launched) Discard() {
	if l.gated != nil {
		_ = l.gated.Abort() // it ends with the daemon at the latest
	}
}

// Discard closes the handle of a tender, which is on record.
func (r resumed) Discard() {
	r.pin.release()
	if r.found.Tender != nil {
		_ = r.found.Tender.Close()
	}
}

// Started begins idle. After a failure it asks the host how to continue.
func (u *unikernel) Started(c *supervise.Context) {
	u.state = idle
	if u.again {
		c.AfterFormer(formerEnded{})
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
	case messages.UnikernelPublish:
		u.publishAsked(c, m)
	case portsChanged:
		u.portsChanged(c, m)
	case messages.UnikernelReverted:
		u.reverted(c, m)
	case endOverdue:
		u.endOverdue(c)
	case healthAsked:
		u.healthAsked(c, m)
	case healthDue:
		u.healthDue(c, m)
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
	case retryFree:
		u.free(c)
	case restartDue:
		u.restartDue(c)
	case retryLoad:
		u.load(c)
	case retryResume:
		u.resume(c)
	case retryForget:
		u.forget(c)
	case retryWait:
		u.wait(c)
	case formerEnded:
		c.Send(u.Host, messages.UnikernelRestarted{Name: u.Name, Run: u.Run})
	case retryMark:
		u.retryMark(c, m)
	case supervise.Crashed:
		u.unanswered(c, m.Message)
	case supervise.Undeliverable:
		u.unanswered(c, m.Message)
	default:
		c.Unknown(message)
	}
}

// Stopping closes the handle of the tender, which goes on: it is on record, and the next
// incarnation takes it over. A launcher that may not have been released is ended, and
// Stopping waits for that, a moment: the next incarnation must not take it for a tender.
func (u *unikernel) Stopping(c *supervise.Context, _ bool) {
	if u.gated != nil {
		launched{gated: u.gated}.Discard()
	}
	if u.tender != nil {
		_ = u.tender.Close()
	}
	if equipment := u.equipment; equipment != nil { // the kernel takes a while to remove taps
		c.Go(func(context.Context) any { equipment.Close(); return nil })
	}
	u.pin.release()
}

// to alone writes the state.
func (u *unikernel) to(c *supervise.Context, next state) {
	c.Log().Debug("Unikernel changes state", "from", u.state, "to", next)
	u.state = next
}

const othersFailed = "internal error: the daemon failed; its log tells more"

// unanswered handles the failure of a request, or that it did not arrive. If it was under
// way, another answer with the same ID may follow.
func (u *unikernel) unanswered(c *supervise.Context, message any) {
	switch request := message.(type) {
	case messages.StoreWrite:
		u.written(c, messages.StoreWritten{ID: request.ID, Err: othersFailed})
	case messages.StoreLoad:
		u.loaded(c, messages.StoreLoaded{ID: request.ID, Err: othersFailed})
	case messages.ConsoleOpen:
		u.consoleOpened(c, messages.ConsoleOpened{ID: request.ID, Err: othersFailed})
	case messages.ConsoleClose: // the rest of the pipe is lost
		u.consoleClosed(c, messages.ConsoleClosed(request))
	default:
		c.Unknown(message)
	}
}
