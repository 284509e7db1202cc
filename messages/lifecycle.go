package messages

import "time"

// Between the host and a unikernel. Run is the number of the unikernel actor, since a
// name has one after the other.
type (
	// UnikernelPrepare requests a check of an image and its devices. Answered by
	// UnikernelPrepared or UnikernelFailed.
	UnikernelPrepare struct {
		Spec Spec // with Spec.Digest, if the image is in the store already
		// Image is the image otherwise.
		Image      []byte
		Compressed bool
		Cause      Public // of the start, for the event
		// Joins are the addresses that must be unused on their bridges.
		Joins []Station
	}
	// UnikernelStart follows UnikernelPrepared, or a UnikernelWaiting with Hold. Answered
	// by UnikernelRunning or UnikernelFailed.
	UnikernelStart struct {
		Creates bool         // the event is EventCreated
		Former  *Former      // what it replaces, whose spec is on disk; nil: nothing
		Exit    Option[Exit] // how that had ended before it was replaced, if it had
	}
	// UnikernelResume takes over what a former daemon has recorded. If it must be
	// started, Hold delays that until UnikernelStart: then the answer is
	// UnikernelWaiting, else UnikernelRunning, UnikernelStopped or UnikernelGone.
	UnikernelResume struct {
		Record   Record
		Restarts int // if the record has no Runtime
		Hold     bool
		Cause    Public // for the events
	}
	// UnikernelStop stops a unikernel. Answered by UnikernelGone or UnikernelGoesOn, and with
	// Stay by UnikernelStopped, unless nothing of it was on disk any more.
	UnikernelStop struct {
		KeepSpec bool   // it is replaced, or stopped for the next daemon: leave the spec on disk
		Firm     bool   // with KeepSpec: stop it even if that cannot be stored
		Stay     bool   // it stays on record as stopped, until it is started
		Cause    Public // for the events
	}
	// UnikernelPublish changes which ports of the host lead to a unikernel, and who its owner is.
	// Answered by UnikernelPublished.
	UnikernelPublish struct {
		ID    uint64
		List  []Publication
		Owner Owner
	}
	UnikernelPublished struct {
		Name Name
		Run  uint64
		ID   uint64
		Spec Spec   // as it is now
		Err  Public // why nothing has changed
	}
	// UnikernelStopped says that it does not run, has freed everything, and stays on record as
	// stopped. It is sent once more when its actor begins anew.
	UnikernelStopped struct {
		Name Name
		Run  uint64
		Spec Spec
		End  Option[End] // absent: nothing has run
	}
	// UnikernelGoesOn refuses to stop a unikernel which is to stay on record, because that
	// cannot be stored.
	UnikernelGoesOn struct {
		Name Name
		Run  uint64
		Text Public // for the client
	}

	// UnikernelRestarted says that the actor has failed and has lost its state. The host
	// answers with UnikernelRecover, or stops it.
	UnikernelRestarted struct {
		Name Name
		Run  uint64
	}
	// Abandon: it was being started for the first time, and is given up.
	UnikernelRecover struct {
		Abandon bool
		Former  *Former // see UnikernelStart
	}

	// UnikernelRevert says that the trial of a unikernel has failed, that it has freed
	// everything, and that it is about to start its former again. Answered by
	// UnikernelReverted, unless it was stopped.
	UnikernelRevert struct {
		Name   Name
		Run    uint64
		Former *Former
	}
	UnikernelReverted struct{ Err Public } // why it cannot; empty: it can

	// UnikernelProven says that the trial of a unikernel has succeeded.
	UnikernelProven struct {
		Name Name
		Run  uint64
	}

	// UnikernelHealth says what is known about the health of a run that has a health check. It
	// follows UnikernelRunning.
	UnikernelHealth struct {
		Name   Name
		Run    uint64
		Health Health
	}

	UnikernelPrepared struct {
		Name Name
		Run  uint64
		Spec Spec
	}
	// UnikernelRunning is sent at each start, automatic ones included.
	UnikernelRunning struct {
		Name     Name
		Run      uint64
		Spec     Spec
		Started  time.Time
		Process  Process
		Ports    []Port
		Restarts int // how often it has restarted by itself
	}
	// UnikernelWaiting says that it has ended, or could not be started, and will be
	// started again.
	UnikernelWaiting struct {
		Name Name
		Run  uint64
		End  Option[End] // absent: nothing has run
		// Cause is the reason, for people.
		Cause Public
		Pause time.Duration // before the next start; 0: it is started at once, or by the host
	}
	// UnikernelUnstored says that it does not run any more, and that this cannot be
	// stored. The actor retries; UnikernelWaiting, UnikernelFailed or UnikernelGone
	// follow when it succeeds.
	UnikernelUnstored struct {
		Name Name
		Run  uint64
		Text Public // for the client
	}
	// UnikernelFailed says that it could not be started and has freed everything.
	UnikernelFailed struct {
		Name   Name
		Run    uint64
		Digest Digest // of its image, if that is in the store
		Text   Public // for the client; FailedStarting after a bug of ours
	}
	// UnikernelGone says that it has ended and has freed everything.
	UnikernelGone struct {
		Name Name
		Run  uint64
		End  Option[End] // absent: nothing has run
		// Left is what is on disk under its name: its own spec if that was to be kept and
		// it had not ended before, or its former. Nil: nothing.
		Left *Former
		Why  Public // the cause of the former's restart, for the event
	}
)

// FailedStarting is for a client whose command was lost by a bug of ours.
const FailedStarting = "internal error: the daemon failed while it started the unikernel; its log tells more"
