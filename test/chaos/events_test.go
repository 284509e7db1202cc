package chaos

import (
	"fmt"
	"math"
	"slices"

	"albatross/messages"
	"albatross/runtime/store"
)

// A telling is what events say of a unikernel, a policy or a network.
type telling string

const (
	toldGone telling = "gone"
	toldKept telling = "there" // of a unikernel: no tender runs it
	toldRuns telling = "running"
)

// A step is what an event makes of what.
type step struct {
	to   telling
	from []telling
}

var steps = map[messages.EventKind]step{
	messages.EventCreated:    {toldKept, []telling{toldGone, toldKept}},
	messages.EventStarted:    {toldRuns, []telling{toldKept}},
	messages.EventAdopted:    {toldRuns, []telling{toldRuns}},
	messages.EventExited:     {toldKept, []telling{toldRuns}},
	messages.EventRestarting: {toldKept, []telling{toldKept}},
	messages.EventStopped:    {toldKept, []telling{toldKept}},
	messages.EventDestroyed:  {toldGone, []telling{toldKept}},

	messages.EventPolicyAdded:   {toldKept, []telling{toldGone}},
	messages.EventPolicyChanged: {toldKept, []telling{toldKept}},
	messages.EventPolicyRemoved: {toldGone, []telling{toldKept}},

	messages.EventNetworkCreated: {toldKept, []telling{toldGone}},
	messages.EventNetworkRemoved: {toldGone, []telling{toldKept}},
}

// readEvents are all events that are kept.
func readEvents(db *store.DB) (list []messages.NumberedEvent, err error) {
	for next := uint64(1); ; {
		part, after, err := db.Events(next, math.MaxInt)
		if err != nil || after == next {
			return list, err
		}
		list, next = append(list, part...), after
	}
}

// contradictions are where events do not follow from each other, or where what
// is on record does not follow from them. When an actor has failed, what it was about to store may be
// stored twice, with its events.
func (s stored) contradictions(mayRepeat bool) (losses []loss) {
	wrong := func(format string, args ...any) { losses = append(losses, loss{untold, fmt.Sprintf(format, args...)}) }
	recorded, told := s.recorded(), map[messages.Name]telling{}
	if len(s.events) > 0 && s.events[0].Number == 1 { // otherwise they begin in the middle
		for name := range recorded {
			told[name] = toldGone
		}
		for _, e := range s.events {
			told[e.Event.Name] = toldGone
		}
	}
	for _, e := range s.events {
		step, known := steps[e.Event.Kind]
		if !known { // of a block device, or the daemon
			continue
		}
		if before, known := told[e.Event.Name]; known && !mayRepeat && !slices.Contains(step.from, before) {
			wrong("event %d, %s %s, comes when it is %s", e.Number, e.Event.Name, e.Event.Kind, before)
		}
		told[e.Event.Name] = step.to
	}
	for name, telling := range told {
		if is, there := recorded[name]; is != telling && (there || telling != toldGone) {
			wrong("%s is %q, and told to be %q", name, is, telling)
		}
	}
	return losses
}

// recorded is what should have been told.
func (s stored) recorded() map[messages.Name]telling {
	recorded := map[messages.Name]telling{}
	for _, p := range s.state.Policies {
		recorded[p.Name] = toldKept
	}
	for _, n := range s.state.Networks {
		recorded[n.Name] = toldKept
	}
	for _, r := range s.state.Unikernels {
		recorded[r.Name] = toldKept
		if r.Runtime.Value.StartTold {
			recorded[r.Name] = toldRuns
		}
	}
	return recorded
}
