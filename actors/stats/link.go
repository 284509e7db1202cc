package stats

import (
	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

// A link is a session that reports running unikernels to a native collector. When the
// collector is ready for the next command, what it knows is compared with what runs:
// however slow it is, there is no queue.
type link struct {
	pid   *actor.PID
	told  map[messages.Name]messages.Process
	stale map[messages.Name]bool // names whose report may be outdated
	ready bool                   // it waits for a command
}

// linkTo makes a session the link, and replaces a former one.
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

// changed notes that something starts or ends under a name.
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

// tellLink sends the link one difference, if there is any.
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

// difference returns the next command for the link about a name, and assumes that it is
// carried out.
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
