package stats

import (
	"context"
	"fmt"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/sample"
)

// The limits of what clients may add to the collector.
const (
	maxNames     = 16   // names per connection
	maxAdded     = 1024 // processes of all clients
	maxAddedTaps = 64   // per process
	maxDevice    = 255  // bytes of a device's name
)

// adders are clients whose processes are being looked up.
type adders struct {
	byNumber map[uint64]supervise.Asker
	last     uint64
}

// found is the result of looking up a process.
type found struct {
	number uint64
	target messages.Target
	err    error
}

// asked carries out a command of a client.
func (s *stats) asked(c *supervise.Context, m messages.StatsAsk) {
	a := supervise.Asker{PID: c.Sender(), ID: m.ID}
	if len(m.Name.String()) > messages.MaxFileName {
		answer(c, a, messages.Failure{Text: messages.Publicf("cannot watch a name of %d bytes: at most %d are possible", len(m.Name.String()), messages.MaxFileName)})
		return
	}
	switch command := m.Command.(type) {
	case messages.StatsSubscribe:
		s.subscribe(c, a, m.Name)
	case messages.StatsAdd:
		s.add(c, a, m.Peer, m.Name, command)
	case messages.StatsRemove:
		s.remove(c, a, m.Name)
	case messages.StatsInitial:
		s.connectNative(c, a)
	}
}

func (s *stats) subscribe(c *supervise.Context, a supervise.Asker, name messages.Name) {
	if s.subscribers.full(a.PID, name) {
		answer(c, a, messages.Failure{Text: messages.Publicf("cannot follow more than %d names on one connection: use another one", maxNames)})
		return
	}
	s.subscribers.add(c, a.PID, name)
	s.tickLater(c)
	answer(c, a, messages.SuccessText{Text: "subscribed"})
}

// add looks up a process of the client's user. Only its pid is known; from then on it is
// the process that has the pid now.
func (s *stats) add(c *supervise.Context, a supervise.Asker, peer messages.Peer, name messages.Name, command messages.StatsAdd) {
	if err := s.addable(name, command); err != nil {
		answer(c, a, messages.Failure{Text: c.Public(err)})
		return
	}
	s.adders.last++
	number := s.adders.last
	s.adders.byNumber[number] = a
	c.Go(func(context.Context) any {
		process, started, err := sample.Find(command.PID, peer.UID)
		return found{number, addedTarget(name, process, started, command.Taps), err}
	})
}

func addedTarget(name messages.Name, process messages.Process, started time.Time, taps []messages.Tap) messages.Target {
	t := messages.Target{Name: name, Process: process, Started: started}
	for _, tap := range taps {
		t.Ports = append(t.Ports, messages.Port{Device: tap.Device, Link: messages.Link{Name: tap.Tap}})
	}
	return t
}

func (s *stats) addable(name messages.Name, command messages.StatsAdd) error {
	_, runs := s.watched[name]
	_, added := s.added[name]
	switch {
	case runs, added:
		return fmt.Errorf("cannot add %s: something is watched under this name already", name)
	case len(s.added)+len(s.adders.byNumber) >= maxAdded:
		return fmt.Errorf("cannot add %s: %d processes have been added, and no more are possible", name, maxAdded)
	case len(command.Taps) > maxAddedTaps:
		return fmt.Errorf("cannot add %s with %d taps: at most %d are possible", name, len(command.Taps), maxAddedTaps)
	}
	for _, t := range command.Taps {
		if err := addableTap(t); err != nil {
			return fmt.Errorf("cannot add %s: %w", name, err)
		}
	}
	return nil
}

func addableTap(t messages.Tap) error {
	if len(t.Device) > maxDevice {
		return fmt.Errorf("the name of a device may have at most %d bytes", maxDevice)
	}
	if err := messages.CheckText(t.Device); err != nil {
		return err
	}
	return messages.CheckInterface(t.Tap)
}

// found adds a process, if its name is still free.
func (s *stats) found(c *supervise.Context, m found) {
	a := s.adders.byNumber[m.number]
	delete(s.adders.byNumber, m.number)
	err := m.err
	if err == nil {
		err = s.addable(m.target.Name, messages.StatsAdd{})
	}
	if err != nil {
		answer(c, a, messages.Failure{Text: c.Public(err)})
		return
	}
	s.added[m.target.Name] = m.target
	s.tickLater(c)
	answer(c, a, messages.SuccessText{Text: "added"})
}

// remove removes what a client has added. Unikernels are watched while they run.
func (s *stats) remove(c *supervise.Context, a supervise.Asker, name messages.Name) {
	if _, runs := s.watched[name]; runs {
		answer(c, a, messages.Failure{Text: messages.Publicf("cannot remove %s: it is a unikernel, which is watched as long as it runs", name)})
		return
	}
	delete(s.added, name)
	answer(c, a, messages.SuccessText{Text: "removed"})
}

// answer sends an answer as a request, since a session follows the sender of its answer.
func answer(c *supervise.Context, a supervise.Asker, payload messages.Payload) {
	c.Request(a.PID, messages.Answer{ID: a.ID, Payload: payload})
}
