package stats

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

// subscribers are the subscribers to statistics, by session. Each gets every tick that it
// gives credit for, whatever others subscribe to. The socket limits their number,
// maxFollowed the names of each.
type subscribers map[string]*subscriber

// A subscriber is a session that subscribes to statistics.
type subscriber struct {
	pid    *actor.PID
	names  []messages.Name
	credit bool // for the next tick
}

// add subscribes a session to a name.
func (r subscribers) add(c *supervise.Context, session *actor.PID, name messages.Name) {
	a := r[session.Id]
	if a == nil {
		a = &subscriber{pid: session}
		r[session.Id] = a
		c.Watch(session)
	}
	if !slices.Contains(a.names, name) {
		a.names = append(a.names, name)
	}
}

// full reports whether a session has as many names as possible.
func (r subscribers) full(session *actor.PID, name messages.Name) bool {
	a := r[session.Id]
	return a != nil && len(a.names) >= maxNames && !slices.Contains(a.names, name)
}

// more is the credit of a session.
func (r subscribers) more(session *actor.PID) {
	if a := r[session.Id]; a != nil {
		a.credit = true
	}
}

// give sends a tick to all with credit.
func (r subscribers) give(c *supervise.Context, samples []messages.Sample) {
	for _, a := range r {
		if a.credit {
			a.credit = false
			c.Request(a.pid, messages.StatsTaken{Samples: samples})
		}
	}
}
