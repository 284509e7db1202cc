package host

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/messages"
)

// A slot is a name under which something runs, or will run. Commands that change it are
// carried out one after the other.
type slot struct {
	phase   phase
	current *run            // runs, or is kept running; nil after its end
	next    *run            // is to run
	ask     ask             // under way, unless phase is settled
	cause   messages.Public // of its events
	creates bool            // the event is EventCreated, even for a replacement
	waiting []ask
	// former is what ran until next was about to be started. It stays on disk until next
	// is, and is started again if next cannot be started.
	former     *messages.Former
	exit       messages.Option[messages.Exit] // how the former had ended before, if it had
	publishing uint64                         // ID of the request to change published ports
	refusal    messages.Public                // why next could not be started, for the answer
	stuck      messages.Public                // text for clients: it is being renamed, and that cannot be stored
}

// A phase is the progress of the command under way.
type phase string

const (
	settled    phase = "settled"    // no command is under way
	checking   phase = "checking"   // next is being prepared
	switching  phase = "switching"  // current is being stopped for next
	launching  phase = "launching"  // next is being started
	restoring  phase = "restoring"  // next could not be started: its former is started again
	publishing phase = "publishing" // ports of current are being changed
	stopping   phase = "stopping"   // current is being stopped, and stays on record
	renaming   phase = "renaming"   // current gets another name, or one of another name gets this
	destroying phase = "destroying" // current is being stopped for good
	halted     phase = "halted"     // current is being stopped for the next daemon
)

// A run is one unikernel actor.
type run struct {
	number   uint64
	pid      *actor.PID
	spec     messages.Spec
	started  time.Time
	wait     messages.Option[messages.Wait] // between two starts
	unstored messages.Public                // text for clients: it does not run, and that cannot be stored
	restarts int                            // by itself
	health   messages.Health
	target   messages.Target // for the collector of statistics
}

// waits returns the Wait of a run that will be started again; not of one whose end cannot
// be stored.
func (r *run) waits() messages.Option[messages.Wait] {
	if r.unstored != "" {
		return messages.Option[messages.Wait]{}
	}
	return r.wait
}

// noteWait notes that it does not run, and is started after the pause, if there is one. A
// failed start does not end the wait.
func (r *run) noteWait(now time.Time, cause messages.Public, pause time.Duration) {
	since := now
	if r.wait.OK {
		since = r.wait.Value.Since
	}
	wait := messages.NewWait(since, cause)
	if pause > 0 {
		wait.Until = now.Add(pause).UTC().Truncate(time.Millisecond)
	}
	r.wait = messages.Some(wait)
}

// An ask is a command of a client, and the ticket for its answer.
type ask struct {
	ticket   ticket
	name     messages.Name
	command  messages.Command
	memory   messages.Memory
	by       messages.Asker
	measured bool           // the machine was measured for it
	whole    bool           // it says all about networks, as no native message can
	keepArgv bool           // of a restart: what it is started with stays as it is
	owner    messages.Owner // whom what it makes belongs to; empty: to whom it belongs already
}

// A ticket stands for exactly one answer.
type ticket uint64

// unstored returns the text for clients of a unikernel that has ended although that
// cannot be stored; empty: there is none.
func (s *slot) unstored() messages.Public {
	if s.stuck != "" {
		return s.stuck
	}
	for _, r := range []*run{s.current, s.next} {
		if r != nil && r.unstored != "" {
			return r.unstored
		}
	}
	return ""
}
