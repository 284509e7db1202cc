package unikernel

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// The events of a unikernel: created and destroyed enclose all others, started and exited
// enclose those of one tender.

// startEvent returns an event about the start of the tender, with the time of its launch.
func (u *unikernel) startEvent(kind messages.EventKind, cause messages.Public) messages.Change {
	return messages.PutEvent{Event: messages.NewEvent(kind, u.Name, u.runtime.Started(), cause)}
}

// recordAdopted stores that a tender was taken over, and that it was started if a former
// daemon has not stored that. A former daemon may have asked it to end for a successor, which
// takes no longer than the grace time: until then, an end is not its own.
func (u *unikernel) recordAdopted(c *supervise.Context) {
	adopted := messages.Happened(c.Now(), messages.EventAdopted, u.Name, u.cause)
	switch {
	case u.runtime.Released:
		c.Send(u.Store, messages.StoreWrite{Changes: []messages.Change{adopted}})
	case u.runtime.StartTold:
		u.mayBeEnding = true
		c.Send(u.Store, messages.StoreWrite{Changes: []messages.Change{adopted}})
		c.After(u.Grace, endOverdue{})
	default:
		u.markReleased(c, u.startEvent(messages.EventStarted, "a former daemon started it"), adopted)
	}
}

// endOverdue stores again that a tender is released which nobody has asked to end.
func (u *unikernel) endOverdue(c *supervise.Context) {
	u.mayBeEnding = false
	switch u.state {
	case running:
		u.markReleased(c)
	default: // it is being stopped, or has ended
	}
}

// endEvents returns the events about what has ended, and what becomes of it.
func (u *unikernel) endEvents(c *supervise.Context) (events []messages.Change) {
	if u.runtime.StartTold {
		events = append(events, u.exitEvent(c))
	}
	for _, kind := range u.fate.events(u.stored) {
		events = append(events, messages.Happened(c.Now(), kind, u.Name, u.fate.cause))
	}
	return events
}

// exitEvent returns the event of the tender's end, with the time of noteEnd.
func (u *unikernel) exitEvent(c *supervise.Context) messages.Change {
	at := c.Now()
	if u.end.OK {
		at = u.end.Value.Known()
	}
	event := messages.NewEvent(messages.EventExited, u.Name, at, u.exitCause())
	event.Exit, event.Usage = messages.Some(u.outcome.exit), u.outcome.usage
	return messages.PutEvent{Event: event}
}

func (u *unikernel) exitCause() messages.Public {
	switch {
	case u.outcome.asked && !u.stop.OK:
		return "it was " + u.unfit
	case u.outcome.asked:
		return u.stop.Value.Cause
	case u.outcome.failure != "":
		return u.outcome.failure
	case u.outcome.interrupted != "":
		return u.outcome.interrupted
	case u.outcome.unseen:
		return "it ended while no daemon saw it"
	case u.outcome.exit.OutOfMemory:
		return "the kernel killed it, since it or the machine had no memory left"
	}
	return "it ended by itself"
}
