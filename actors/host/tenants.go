package host

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/messages"
)

// A tenant is a name that something runs under, or is about to. Commands that
// change it are carried out one after the other.
type tenant struct {
	phase   phase
	current *run            // what runs, or is kept running; nil where that has ended
	next    *run            // what is going to
	ask     ask             // the command under way, where phase is not settled
	cause   messages.Public // for events: why it is under way
	creates bool            // and it creates what it starts, even where that replaces something
	waiting []ask
	// former is what ran until next was about to be started: on disk it is what
	// runs until next is, and it comes back where next cannot be started.
	former  *messages.Former
	refusal messages.Public // why next could not be started, for the answer
}

// A phase is how far the command under way is.
type phase string

const (
	settled    phase = "settled"    // no command is under way
	checking   phase = "checking"   // next is being prepared
	switching  phase = "switching"  // current is being stopped for next
	launching  phase = "launching"  // next is being started
	restoring  phase = "restoring"  // next could not be started: what it was to replace is
	destroying phase = "destroying" // current is being stopped for good
	halted     phase = "halted"     // current is being stopped until the next daemon
)

// A run is one unikernel actor.
type run struct {
	number   uint64
	pid      *actor.PID
	spec     messages.Spec
	started  time.Time
	wait     messages.Option[messages.Wait] // between two starts
	unstored messages.Public                // it does not run, and that cannot be stored: what a client is told
	restarts int                            // by itself
	target   messages.Target                // as the collector of statistics knows it
}

// waits tells whether it will be started again, as far as that can be told: not of
// what has ended and cannot be stored.
func (r *run) waits() messages.Option[messages.Wait] {
	if r.unstored != "" {
		return messages.Option[messages.Wait]{}
	}
	return r.wait
}

// rest notes that it does not run. Attempts to start it that fail are no end of that.
func (r *run) rest(now time.Time, cause messages.Public) {
	since := now
	if r.wait.OK {
		since = r.wait.Value.Since
	}
	r.wait = messages.Some(messages.NewWait(since, cause))
}

// An ask is a command of a client, and the ticket that its answer belongs to.
type ask struct {
	ticket  ticket
	name    messages.Name
	command messages.Command
	looked  bool // the machine has been looked at for it
}

// A ticket stands for exactly one answer.
type ticket uint64

// unstored tells a client that what ran here does not, and that this cannot be
// stored. It is empty where that is not so.
func (t *tenant) unstored() messages.Public {
	for _, r := range []*run{t.current, t.next} {
		if r != nil && r.unstored != "" {
			return r.unstored
		}
	}
	return ""
}
