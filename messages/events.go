package messages

import (
	"strings"
	"time"
)

// An EventKind is what has happened, in the word that is stored and sent: an unknown one
// comes from a newer daemon.
type EventKind string

// The kinds of events.
const (
	EventDaemonStarted EventKind = "daemon-started"

	EventCreated    EventKind = "created"    // it is on record, and is started whatever happens
	EventStarted    EventKind = "started"    // a tender runs it
	EventAdopted    EventKind = "adopted"    // the tender was taken over: it has run all the time
	EventHealthy    EventKind = "healthy"    // its health check has succeeded for the first time since its start
	EventUnhealthy  EventKind = "unhealthy"  // it has not, in the time that it had, and runs on
	EventExited     EventKind = "exited"     // the tender has ended
	EventRestarting EventKind = "restarting" // it will be started again
	EventStopped    EventKind = "stopped"    // it stays on record, and is not started until somebody asks for that
	EventDestroyed  EventKind = "destroyed"  // it is not on record any more

	EventPolicyAdded   EventKind = "policy-added"
	EventPolicyChanged EventKind = "policy-changed"
	EventPolicyRemoved EventKind = "policy-removed"

	EventNetworkCreated EventKind = "network-created"
	EventNetworkRemoved EventKind = "network-removed"

	EventBlockCreated EventKind = "block-created"
	EventBlockSet     EventKind = "block-set" // it has new contents
	EventBlockRemoved EventKind = "block-removed"
)

// An Event is something that has happened on the host.
type Event struct {
	Kind     EventKind    `cbor:"1,keyasint"`
	Name     Name         `cbor:"2,keyasint"` // of a unikernel, a block device or a path; ":" for the daemon
	AtMillis int64        `cbor:"3,keyasint"` // Unix time
	Cause    Public       `cbor:"4,keyasint,omitempty"`
	Exit     Option[Exit] `cbor:"5,keyasint,omitzero"` // of EventExited
	// Usage is of EventExited, and absent if nobody knows it, or if an earlier daemon has stored this.
	Usage Option[Usage] `cbor:"6,keyasint,omitzero"`
}

// Time returns when it has happened, to the millisecond.
func (e Event) Time() time.Time { return time.UnixMilli(e.AtMillis).UTC() }

// A NumberedEvent is an event with its number in the sequence of all events, which begins
// with 1.
type NumberedEvent struct {
	Number uint64
	Event  Event
}

// maxCause is the longest cause, in bytes: it may contain the text of an error.
const maxCause = 256

// NewEvent returns an event about a name. It truncates a long cause.
func NewEvent(kind EventKind, name Name, at time.Time, cause Public) Event {
	return Event{Kind: kind, Name: name, AtMillis: at.UnixMilli(), Cause: cutCause(cause)}
}

// Happened returns the change that records an event. It is stored together with the
// change that the event reports, if there is one.
func Happened(at time.Time, kind EventKind, name Name, cause Public) Change {
	return PutEvent{Event: NewEvent(kind, name, at, cause)}
}

// Causes of events other than commands, whose causes are the words of the command line.
const (
	DaemonStarted   Public = "the daemon started"
	DaemonRecovers  Public = "the daemon recovers from an internal error"
	SuccessorFailed        = "what was to replace it could not be started"
)

func cutCause(cause Public) Public {
	if len(cause) > maxCause {
		cause = cause[:maxCause-len("…")] + "…"
	}
	return Public(strings.ToValidUTF8(string(cause), ""))
}

// Between a session, the events actor and the store.
type (
	// EventsAttach makes the sender, a session, a subscriber to the events of a name. It
	// is answered by Answer.
	EventsAttach struct {
		ID    uint64
		Name  Name
		Since Option[time.Time] // absent: only new events
	}
	// An EventBatch holds the next events for a subscriber.
	EventBatch struct {
		Missed  uint64 // number of events before these, of any name, that were removed
		List    []NumberedEvent
		Present bool // what follows is new
	}
	// EventsStored says that events up to this number are stored.
	EventsStored struct{ Last uint64 }
)
