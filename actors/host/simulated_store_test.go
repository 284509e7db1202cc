package host

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"albatross/actors/console"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/store"
)

// A database is the database as one daemon uses it.
type database struct{ *fakeMachine }

// A disk is the state of the disk that holds the database.
type disk string

const (
	works  disk = "works"
	full   disk = "full"   // nothing new can be stored
	broken disk = "broken" // nothing can be stored
	flaky  disk = "flaky"  // what is reported as failed may be stored all the same
)

func (d database) Apply(changes []messages.Change) error {
	if err := d.enter(context.Background(), messages.Name{}, "commit"); err != nil {
		return err
	}
	defer d.mu.Unlock()
	failure := error(nil)
	switch {
	case d.disk == broken, d.disk == flaky && d.draw(messages.Name{}, "commit fails", 4) == 0:
		return unix.EIO
	case d.disk == flaky && d.draw(messages.Name{}, "commit fails late", 4) == 0:
		failure = unix.EIO
	case d.disk == full && slices.ContainsFunc(changes, d.adds):
		return store.ErrNoRoom
	}
	for i, change := range changes {
		d.apply(change, changes[:i])
	}
	return failure
}

// adds reports whether a change makes the database larger.
func (s *simulation) adds(change messages.Change) bool {
	there := true
	switch c := change.(type) {
	case messages.PutSpec:
		_, there = s.records[c.Name]
	case messages.PutPolicy:
		_, there = s.policies[c.Path]
	}
	return !there
}

func (s *simulation) apply(change messages.Change, before []messages.Change) {
	switch c := change.(type) {
	case messages.PutSpec:
		s.checkPut(c)
		record := s.records[c.Name]
		record.Name, record.Spec = c.Name, c.Spec
		s.records[c.Name] = record
	case messages.PutRuntime:
		record, there := s.records[c.Name]
		if !there {
			s.violate("%v: a runtime without a spec", c.Name)
			return
		}
		record.Runtime = messages.Some(c.Runtime)
		s.records[c.Name] = record
	case messages.DeleteRuntime:
		if record, there := s.records[c.Name]; there {
			record.Runtime = messages.Option[messages.Runtime]{}
			s.records[c.Name] = record
		}
	case messages.DeleteUnikernel:
		s.checkDelete(c.Name, before)
		delete(s.records, c.Name)
	case messages.PutPolicy:
		s.policies[c.Path] = c.Policy
	case messages.DeletePolicy:
		delete(s.policies, c.Path)
	case messages.PutEnd:
		s.ends[c.Name] = c.End
	case messages.DeleteEnd:
		delete(s.ends, c.Name)
	case messages.PutEvent:
		s.events++
		s.note("event: %s %v: %s", c.Event.Kind, c.Event.Name, c.Event.Cause)
	}
}

// barred reports whether one of these changes records that a former must not come back.
func barred(changes []messages.Change) bool {
	return slices.ContainsFunc(changes, func(change messages.Change) bool {
		put, ok := change.(messages.PutEvent)
		return ok && strings.Contains(string(put.Event.Cause), "the one before cannot come back")
	})
}

func (d database) read(what string) error {
	if err := d.enter(context.Background(), messages.Name{}, what); err != nil {
		return err
	}
	if d.disk == broken || d.disk == flaky && d.draw(messages.Name{}, "load fails", 4) == 0 {
		d.mu.Unlock()
		return unix.EIO
	}
	return nil
}

func (d database) Load() (state messages.State, err error) {
	if err := d.read("load"); err != nil {
		return state, err
	}
	defer d.mu.Unlock()
	for _, record := range d.records {
		state.Unikernels = append(state.Unikernels, record)
	}
	for path, policy := range d.policies {
		state.Policies = append(state.Policies, messages.NamedPolicy{Name: messages.Name{Path: path}, Policy: policy})
	}
	for name, end := range d.ends {
		state.Ends = append(state.Ends, messages.NamedEnd{Name: name, End: end})
	}
	slices.SortFunc(state.Unikernels, func(a, b messages.Record) int { return a.Name.Compare(b.Name) })
	slices.SortFunc(state.Ends, func(a, b messages.NamedEnd) int { return a.Name.Compare(b.Name) })
	return state, nil
}

func (d database) LoadUnikernel(name messages.Name) ([]messages.Record, error) {
	if err := d.read("load one"); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	if record, there := d.records[name]; there {
		return []messages.Record{record}, nil
	}
	return nil, nil
}

func (d database) LastEvent() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.events, nil
}

func (d database) Room() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.disk == full {
		return store.ErrNoRoom
	}
	return nil
}

func (database) InPlace() error { return nil }

// A pipeReader is a console that reads nothing.
type pipeReader struct {
	*fakeMachine
	config  console.Config
	again   bool
	waiting []asked
}

// An asked is a request without an answer yet.
type asked struct {
	by     supervise.Asker
	answer any // if all goes well
	failed any
}

// opened is the message of a goroutine of the console to its actor.
type opened struct {
	id  uint64
	err error
}

func (m *fakeMachine) newConsole(config console.Config) func() supervise.Actor {
	again := false
	return func() supervise.Actor {
		k := &pipeReader{fakeMachine: m, config: config, again: again}
		again = true
		return k
	}
}

func (k *pipeReader) Started(c *supervise.Context) {
	if k.again {
		c.Send(k.config.Host, messages.ConsoleRestarted{Name: k.config.Name})
	}
}

func (k *pipeReader) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.ConsoleOpen:
		k.ask(c, m.ID, messages.ConsoleOpened{ID: m.ID}, messages.ConsoleOpened{ID: m.ID, Err: "cannot open console: it fails on purpose"})
	case messages.ConsoleClose:
		k.ask(c, m.ID, messages.ConsoleClosed(m), messages.ConsoleClosed(m))
	case messages.ConsoleProbe:
		c.Send(k.config.Host, messages.ConsoleIdle{Name: k.config.Name, Heard: m.Number})
	case opened:
		k.answer(c, m)
	default:
		c.Unknown(message)
	}
}

func (k *pipeReader) ask(c *supervise.Context, id uint64, answer, failed any) {
	k.waiting = append(k.waiting, asked{supervise.Asker{PID: c.Sender(), ID: id}, answer, failed})
	m, name := k.fakeMachine, k.config.Name
	c.Go(func(ctx context.Context) any {
		if err := m.enter(ctx, name, "open console"); err != nil {
			return opened{id, err}
		}
		defer m.mu.Unlock()
		return opened{id, m.fails(name, "open console")}
	})
}

func (k *pipeReader) answer(c *supervise.Context, m opened) {
	k.waiting = slices.DeleteFunc(k.waiting, func(a asked) bool {
		switch {
		case a.by.ID != m.id:
			return false
		case m.err != nil:
			c.Send(a.by.PID, a.failed)
		default:
			c.Send(a.by.PID, a.answer)
		}
		return true
	})
}

func (k *pipeReader) Stopping(c *supervise.Context, _ bool) {
	for _, a := range k.waiting {
		c.Send(a.by.PID, a.failed)
	}
}
