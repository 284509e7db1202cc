package unikernel

import (
	"time"

	"albatross/messages"
)

// A fate is what becomes of a unikernel whose tender has ended.
type fate struct {
	kind  fateKind
	cause messages.Public  // for events and clients
	next  messages.Spec    // againNow, againLater: what to start; stays: what is on record
	left  *messages.Former // kept, reverted: what stays on disk
}

type fateKind string

const (
	over       fateKind = "over"        // nothing stays
	kept       fateKind = "kept"        // its spec stays: for the next daemon, or as a former
	stays      fateKind = "stays"       // its spec stays, as that of a stopped unikernel
	reverted   fateKind = "reverted"    // its former is started in its place
	againNow   fateKind = "again now"   // the same is started again
	againLater fateKind = "again later" // the same, after the backoff
)

// An ending is all that the fate of a unikernel depends on.
type ending struct {
	now           time.Time
	spec          messages.Spec
	outcome       outcome
	restarts      int                                     // so far
	stop          messages.Option[messages.UnikernelStop] // it was asked to end
	eager         bool                                    // it is on record: a failed start is repeated
	unfit         messages.Public                         // why it fails its trial, although it has run
	revertTo      *messages.Former                        // the former, if the host has allowed it to be started again
	revertRefusal messages.Public                         // why the host has not allowed that
}

// fate decides.
func (e ending) fate() fate {
	f := fate{kind: e.kind(), cause: e.cause()}
	switch f.kind {
	case kept:
		f.left = &messages.Former{Spec: e.spec, Restarts: e.restarts}
	case reverted:
		f.left = e.revertTo
	case againNow, againLater:
		f.next = e.next()
	case stays:
		f.next = e.stoppedSpec()
	case over:
	}
	return f
}

// neverRan reports whether a start has failed whose client waits for the result.
func (e ending) neverRan() bool {
	return e.outcome.failure != "" && !e.eager && !e.stop.OK
}

func (e ending) kind() fateKind {
	switch {
	case e.stop.OK && e.stop.Value.Stay && e.eager:
		return stays
	case e.stop.OK && !e.stop.Value.KeepSpec:
		return over
	case e.revertTo != nil:
		return reverted
	case e.stop.OK && !e.eager: // nothing of it is on record
		return over
	case e.stop.OK:
		return kept
	case e.neverRan():
		return over
	case e.outcome.failure != "":
		return againLater
	case e.outcome.interrupted != "", e.refusesName(), e.unfit != "":
		return againNow
	case restarts(e.spec.Arguments, e.outcome.exit):
		return againLater
	}
	return over
}

// next returns the spec to start again. An end by itself ends the trial, except for an
// end because of the argument --name, which its specification did not contain.
func (e ending) next() messages.Spec {
	if e.refusesName() {
		spec := e.spec
		spec.NameRefused = true
		return spec
	}
	if e.outcome.interrupted != "" {
		return e.spec
	}
	return e.spec.Proven()
}

// stoppedSpec returns what stays on record as stopped: the former, if the host has allowed that to be
// started again, and the unikernel itself otherwise.
func (e ending) stoppedSpec() messages.Spec {
	if e.revertTo != nil {
		return e.revertTo.Spec.Stopped(e.now)
	}
	return e.spec.Stopped(e.now)
}

// refusesName reports whether it has ended because it does not understand the argument
// --name.
func (e ending) refusesName() bool {
	return e.spec.Named() && refusesArguments(e.outcome.exit)
}

// failsTrial reports whether the former is to be started again. An unknown end fails the
// trial, since the unikernel was not seen to run, and any end before its health check has succeeded.
func (e ending) failsTrial() bool {
	switch {
	case e.spec.Former == nil, e.stop.OK, e.outcome.interrupted != "", e.refusesName():
		return false
	case e.outcome.failure != "", e.unfit != "", e.spec.Arguments.Health.OK:
		return true
	}
	exit := e.outcome.exit
	return !exit.Known || exit == messages.Exit{Known: true, Code: exitRefused}
}

// cause returns the reason of the fate.
func (e ending) cause() messages.Public {
	cause := e.ownCause()
	if e.revertRefusal != "" {
		cause += "; the one before cannot come back: " + e.revertRefusal
	}
	return cause
}

func (e ending) ownCause() messages.Public {
	if e.stop.OK {
		return e.stop.Value.Cause
	}
	switch e.kind() {
	case reverted:
		return e.revertCause()
	case againNow, againLater:
		return e.againCause()
	default:
		return e.noMoreCause()
	}
}

func (e ending) againCause() messages.Public {
	switch {
	case e.outcome.failure != "":
		return "it could not be started: " + e.outcome.failure
	case e.outcome.interrupted != "":
		return e.outcome.interrupted
	case e.unfit != "":
		return "it was " + e.unfit
	case e.refusesName():
		return messages.Publicf("%s refuses the argument --name", e.outcome.exit)
	}
	return messages.Publicf("%s asks for a restart", e.outcome.exit)
}

func (e ending) noMoreCause() messages.Public {
	if e.outcome.failure != "" {
		return "it could not be started: " + e.outcome.failure
	}
	return messages.Publicf("%s asks for no restart", e.outcome.exit)
}

// revertCause returns why the former is started again.
func (e ending) revertCause() messages.Public {
	switch {
	case e.outcome.failure != "":
		return messages.SuccessorFailed + ": " + e.outcome.failure
	case e.unfit != "":
		return "what had replaced it was " + e.unfit
	case e.outcome.unseen:
		return "what had replaced it ended while no daemon saw it"
	}
	if e.spec.Arguments.Health.OK {
		return messages.Publicf("what had replaced it ended before it was healthy: %s", e.outcome.exit)
	}
	return messages.Publicf("what had replaced it refused to run: %s", e.outcome.exit)
}

// changes returns what to store.
func (f fate) changes(name messages.Name) []messages.Change {
	switch f.kind {
	case kept, reverted: // what is on disk of what is kept may still be on trial
		return []messages.Change{messages.DeleteRuntime{Name: name}, messages.PutSpec{Name: name, Spec: f.left.Spec}}
	case againNow, againLater, stays:
		return []messages.Change{messages.DeleteRuntime{Name: name}, messages.PutSpec{Name: name, Spec: f.next}}
	default:
		return []messages.Change{messages.DeleteUnikernel{Name: name}}
	}
}

// events returns the kinds of the events about the fate. stored says whether anything of
// the unikernel was on disk: no event reports the end of one that was never created.
func (f fate) events(stored bool) []messages.EventKind {
	switch f.kind {
	case stays:
		return []messages.EventKind{messages.EventStopped}
	case reverted:
		if f.left.Spec.IsStopped() {
			return []messages.EventKind{messages.EventStopped}
		}
		return []messages.EventKind{messages.EventRestarting}
	case againNow, againLater:
		return []messages.EventKind{messages.EventRestarting}
	case over:
		if stored {
			return []messages.EventKind{messages.EventDestroyed}
		}
	case kept:
	}
	return nil
}

// changesTo reports whether the fate must be stored again, since the unikernel was asked
// to end meanwhile. What is not on disk any more cannot be kept.
func (f fate) changesTo(now fate) bool {
	return f.kind != over && f.kind != now.kind
}

// unstored returns the text for clients while the fate cannot be stored.
func (f fate) unstored(o outcome, failure messages.Public) messages.Public {
	switch {
	case f.kind == reverted:
		return messages.Publicf("%s; the one before cannot be started again, since that cannot be stored: %s; this is tried again until it can", f.cause, failure)
	case o.failure != "":
		return messages.Publicf("%s; and what is stored of it cannot be removed: %s; this is tried again until it can", o.failure, failure)
	}
	return messages.Publicf("the unikernel has ended, but that cannot be stored: %s; this is tried again until it can", failure)
}
