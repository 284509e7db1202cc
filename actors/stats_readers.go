package actors

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

// readers are the sessions that follow statistics. A name is followed by the last
// one that has asked for it.
type readers struct {
	bySession map[string]*reader // by the id of the session
	byName    map[messages.Name]*reader
}

// A reader is a session that gets every tick that it has asked for.
type reader struct {
	pid    *actor.PID
	names  []messages.Name
	credit bool // it has asked for the next one
}

func newReaders() readers {
	return readers{bySession: map[string]*reader{}, byName: map[messages.Name]*reader{}}
}

func (r readers) none() bool { return len(r.bySession) == 0 }

// add has a session follow a name. One that has done so before is told that it
// is over, with all it follows.
func (r readers) add(c *supervise.Context, session *actor.PID, name messages.Name) {
	a := r.bySession[session.Id]
	if a == nil {
		a = &reader{pid: session}
		r.bySession[session.Id] = a
		c.Watch(session)
	}
	before := r.byName[name]
	if before == a {
		return
	}
	if before != nil {
		c.Send(before.pid, messages.StatsDetached{})
		r.drop(before.pid.Id)
	}
	a.names = append(a.names, name)
	r.byName[name] = a
}

// full tells whether a session may follow no more.
func (r readers) full(session *actor.PID, name messages.Name) bool {
	a := r.bySession[session.Id]
	return a != nil && len(a.names) >= maxFollowed && !slices.Contains(a.names, name)
}

func (r readers) drop(session string) {
	a := r.bySession[session]
	if a == nil {
		return
	}
	delete(r.bySession, session)
	for _, n := range a.names {
		delete(r.byName, n)
	}
}

// more is the credit of a session.
func (r readers) more(session *actor.PID) {
	if a := r.bySession[session.Id]; a != nil {
		a.credit = true
	}
}

// give sends a tick to all who wait for one.
func (r readers) give(c *supervise.Context, samples []messages.Sample) {
	for _, a := range r.bySession {
		if a.credit {
			a.credit = false
			c.Request(a.pid, messages.StatsTaken{Samples: samples})
		}
	}
}
