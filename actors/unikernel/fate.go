package unikernel

import (
	"albatross/messages"
)

// A fate is what becomes of a unikernel whose tender is not there any more.
type fate struct {
	kind  fateKind
	cause messages.Public  // why, for events and for who is told
	next  messages.Spec    // againNow, againLater: what is started
	left  *messages.Former // kept, reverted: what stays on disk in its place
}

type fateKind string

const (
	over       fateKind = "over"        // nothing of it stays
	kept       fateKind = "kept"        // its spec stays: for the next daemon, or as what a successor has replaced
	reverted   fateKind = "reverted"    // what it has replaced is started in its place
	againNow   fateKind = "again now"   // the same is started again
	againLater fateKind = "again later" // and so, after the backoff
)

// An ending is all that the fate of a unikernel depends on.
type ending struct {
	spec     messages.Spec
	outcome  outcome
	restarts int                                     // so far
	stop     messages.Option[messages.UnikernelStop] // it has been asked to end
	eager    bool                                    // it is on record: one that cannot be started is tried again
	back     *messages.Former                        // the host lets this one come back in its place
	barred   messages.Public                         // the host does not let what it has replaced come back: why
}

// fate decides.
func (e ending) fate() fate {
	f := fate{kind: e.kind(), cause: e.cause()}
	switch f.kind {
	case kept:
		f.left = &messages.Former{Spec: e.spec, Restarts: e.restarts}
	case reverted:
		f.left = e.back
	case againNow, againLater:
		f.next = e.next()
	case over:
	}
	return f
}

// neverRan returns whether it could not be started for the one who wants that,
// and who is to be told.
func (e ending) neverRan() bool {
	return e.outcome.failure != "" && !e.eager && !e.stop.OK
}

func (e ending) kind() fateKind {
	switch {
	case e.stop.OK && !e.stop.Value.KeepSpec:
		return over
	case e.back != nil:
		return reverted
	case e.stop.OK:
		return kept
	case e.neverRan():
		return over
	case e.outcome.failure != "":
		return againLater
	case e.outcome.cut != "", e.refusesName():
		return againNow
	case restarts(e.spec.Arguments, e.outcome.exit):
		return againLater
	}
	return over
}

// next returns the spec that is started again. An end that was its own ends its
// trial, except where it ended because of an argument that it did not ask for.
func (e ending) next() messages.Spec {
	if e.refusesName() {
		spec := e.spec
		spec.NameRefused = true
		return spec
	}
	if e.outcome.cut != "" {
		return e.spec
	}
	return e.spec.Proven()
}

// refusesName returns whether it has ended because it does not understand the
// argument --name.
func (e ending) refusesName() bool {
	return e.spec.Named() && refusesArguments(e.outcome.exit)
}

// failsTrial returns whether what it has replaced is to come back. Where nobody
// saw how it ended, it has not been shown to run.
func (e ending) failsTrial() bool {
	switch {
	case e.spec.Former == nil, e.stop.OK, e.outcome.cut != "":
		return false
	case e.outcome.failure != "":
		return true
	}
	exit := e.outcome.exit
	return !exit.Known || exit == messages.Exit{Known: true, Code: exitRefused}
}

// cause returns why the fate is what it is.
func (e ending) cause() messages.Public {
	cause := e.ownCause()
	if e.barred != "" {
		cause += "; the one before cannot come back: " + e.barred
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
	case e.outcome.cut != "":
		return e.outcome.cut
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

// revertCause returns why what was replaced is started again.
func (e ending) revertCause() messages.Public {
	switch {
	case e.outcome.failure != "":
		return messages.SuccessorFailed + ": " + e.outcome.failure
	case e.outcome.unseen:
		return "what had replaced it ended while no daemon saw it"
	}
	return messages.Publicf("what had replaced it refused to run: %s", e.outcome.exit)
}

// changes returns what the store has to be told.
func (f fate) changes(name messages.Name) []messages.Change {
	switch f.kind {
	case kept:
		return []messages.Change{messages.DeleteRuntime{Name: name}}
	case reverted:
		return []messages.Change{messages.DeleteRuntime{Name: name}, messages.PutSpec{Name: name, Spec: f.left.Spec}}
	case againNow, againLater:
		return []messages.Change{messages.DeleteRuntime{Name: name}, messages.PutSpec{Name: name, Spec: f.next}}
	default:
		return []messages.Change{messages.DeleteUnikernel{Name: name}}
	}
}

// events returns what tells of the fate. stored is whether anything of the
// unikernel was on disk: of one that was never created, nobody hears that it is
// gone.
func (f fate) events(stored bool) []messages.EventKind {
	switch f.kind {
	case reverted, againNow, againLater:
		return []messages.EventKind{messages.EventRestarting}
	case over:
		if stored {
			return []messages.EventKind{messages.EventDestroyed}
		}
	case kept:
	}
	return nil
}

// changesTo returns whether the store has to be told once more, since the
// unikernel was asked to end while f was being stored. What does not stay on disk
// cannot be kept any more.
func (f fate) changesTo(now fate) bool {
	return f.kind != over && f.kind != now.kind
}

// unstored returns what is so as long as the fate cannot be stored.
func (f fate) unstored(o outcome, failure messages.Public) messages.Public {
	switch {
	case f.kind == reverted:
		return messages.Publicf("%s; the one before cannot be started again, since that cannot be stored: %s; this is tried again until it can", f.cause, failure)
	case o.failure != "":
		return messages.Publicf("%s; and what is stored of it cannot be removed: %s; this is tried again until it can", o.failure, failure)
	}
	return messages.Publicf("the unikernel has ended, but that cannot be stored: %s; this is tried again until it can", failure)
}
