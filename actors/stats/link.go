package stats

import (
	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

// A link is a session that tells a native collector which unikernels run. What it
// has been told is compared with what runs when it is ready for the next command:
// however slow it is, there is no queue.
type link struct {
	pid   *actor.PID
	told  map[messages.Name]messages.Process
	stale map[messages.Name]bool // what it may not have been told
	ready bool                   // it has answered
}

// linkTo makes a session the link. There is one: the last that has asked.
func (s *stats) linkTo(c *supervise.Context, a supervise.Asker) {
	s.unlink(c)
	s.link = &link{pid: a.PID, told: map[messages.Name]messages.Process{}, stale: map[messages.Name]bool{}}
	for name := range s.watched {
		s.link.stale[name] = true
	}
	c.Watch(a.PID)
	answer(c, a, messages.SuccessEmpty{})
}

func (s *stats) unlink(c *supervise.Context) {
	if s.link != nil {
		c.Send(s.link.pid, messages.StatsDetached{})
	}
	s.link = nil
}

// changed notes that something begins or ends to run under a name.
func (s *stats) changed(c *supervise.Context, name messages.Name) {
	if s.link != nil {
		s.link.stale[name] = true
		s.tellLink(c)
	}
}

// told is the credit of the link.
func (s *stats) told(c *supervise.Context) {
	if s.link != nil && s.link.pid.Id == c.Sender().Id {
		s.link.ready = true
		s.tellLink(c)
	}
}

// tellLink tells the link one difference, if there is any.
func (s *stats) tellLink(c *supervise.Context) {
	l := s.link
	if !l.ready {
		return
	}
	for name := range l.stale {
		command, differs := s.difference(name)
		if !differs {
			delete(l.stale, name)
			continue
		}
		l.ready = false
		c.Request(l.pid, messages.StatsTell{Name: name, Command: command})
		return
	}
}

// difference is what the link has to be told next about a name. From then on it
// counts as told.
func (s *stats) difference(name messages.Name) (messages.Command, bool) {
	target, runs := s.watched[name]
	process, told := s.link.told[name]
	switch {
	case told && (!runs || process != target.Process):
		delete(s.link.told, name)
		return messages.StatsRemove{}, true
	case runs && !told:
		s.link.told[name] = target.Process
		return statsAdd(target), true
	}
	return nil, false
}

func statsAdd(t messages.Target) messages.StatsAdd {
	add := messages.StatsAdd{PID: t.Process.PID}
	for _, p := range t.Ports {
		add.Taps = append(add.Taps, messages.Tap{Device: p.Device, Tap: p.Link.Name})
	}
	return add
}
