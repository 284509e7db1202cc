package stats

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

// readers are the sessions that follow statistics, by their id. Each gets every tick
// that it asks for, whoever else follows the same names. There are no more than the
// socket of statistics has clients, and each follows maxFollowed names at most.
type readers map[string]*reader

// A reader is a session that gets every tick that it has asked for.
type reader struct {
	pid    *actor.PID
	names  []messages.Name
	credit bool // it has asked for the next one
}

// add has a session follow a name.
func (r readers) add(c *supervise.Context, session *actor.PID, name messages.Name) {
	a := r[session.Id]
	if a == nil {
		a = &reader{pid: session}
		r[session.Id] = a
		c.Watch(session)
	}
	if !slices.Contains(a.names, name) {
		a.names = append(a.names, name)
	}
}

// full tells whether a session may follow no more.
func (r readers) full(session *actor.PID, name messages.Name) bool {
	a := r[session.Id]
	return a != nil && len(a.names) >= maxFollowed && !slices.Contains(a.names, name)
}

// more is the credit of a session.
func (r readers) more(session *actor.PID) {
	if a := r[session.Id]; a != nil {
		a.credit = true
	}
}

// give sends a tick to all who wait for one.
func (r readers) give(c *supervise.Context, samples []messages.Sample) {
	for _, a := range r {
		if a.credit {
			a.credit = false
			c.Request(a.pid, messages.StatsTaken{Samples: samples})
		}
	}
}
