package stats

import (
	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

// A nativeLink is a session that reports running unikernels to a native collector. When the
// collector is ready for the next command, what it knows is compared with what runs:
// however slow it is, there is no queue.
type nativeLink struct {
	pid   *actor.PID
	sent  map[messages.Name]messages.Process
	stale map[messages.Name]bool // names whose report may be outdated
	ready bool                   // it waits for a command
}

// connectNative makes a session the connection to a native collector, and replaces a former one.
func (s *stats) connectNative(c *supervise.Context, a supervise.Asker) {
	s.disconnectNative(c)
	s.native = &nativeLink{pid: a.PID, sent: map[messages.Name]messages.Process{}, stale: map[messages.Name]bool{}}
	for name := range s.watched {
		s.native.stale[name] = true
	}
	c.Watch(a.PID)
	answer(c, a, messages.SuccessEmpty{})
}

func (s *stats) disconnectNative(c *supervise.Context) {
	if s.native != nil {
		c.Send(s.native.pid, messages.Detached{})
	}
	s.native = nil
}

// changed notes that something starts or ends under a name.
func (s *stats) changed(c *supervise.Context, name messages.Name) {
	if s.native != nil {
		s.native.stale[name] = true
		s.sendToNative(c)
	}
}

// moreAsked is the credit of the native collector, or of a subscriber.
func (s *stats) moreAsked(c *supervise.Context) {
	if s.native == nil || s.native.pid.Id != c.Sender().Id {
		s.subscribers.more(c.Sender())
		return
	}
	s.native.ready = true
	s.sendToNative(c)
}

// sendToNative sends the native collector one difference, if there is any.
func (s *stats) sendToNative(c *supervise.Context) {
	l := s.native
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
		c.Request(l.pid, messages.CollectorCommand{Name: name, Command: command})
		return
	}
}

// difference returns the next command for the native collector about a name, and assumes that it is
// carried out.
func (s *stats) difference(name messages.Name) (messages.Command, bool) {
	target, runs := s.watched[name]
	process, told := s.native.sent[name]
	switch {
	case told && (!runs || process != target.Process):
		delete(s.native.sent, name)
		return messages.StatsRemove{}, true
	case runs && !told:
		s.native.sent[name] = target.Process
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
