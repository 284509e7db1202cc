package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/block"
	"albatross/runtime/guest"
	"albatross/runtime/proc"
)

// A fakeMachine is the operating system as one daemon uses it. All that it makes is in the
// simulation, which notes what must not happen. Once the daemon is dead, none of its calls has an
// effect.
type fakeMachine struct {
	*simulation
	dead     bool
	recovers bool // the host has failed
	pins     map[messages.Digest]int
	handles  int // how many handles of tenders are open
}

var errDead = errors.New("the daemon is dead")

// A process is a tender, or is about to become one.
type process struct {
	name     messages.Name
	id       messages.Process
	parent   *fakeMachine
	gated    bool
	stubborn bool          // it ignores SIGTERM
	asked    time.Time     // when a daemon last sent it SIGTERM
	spec     messages.Spec // the record when it was released
	released time.Time
	ended    time.Time
	noticed  time.Time // when a daemon learnt of that from Wait
	exit     messages.Exit
	done     chan struct{} // closed when it has ended
}

func (p *process) over() bool { return !p.ended.IsZero() }

// A tap vanishes with the daemon that has made it until it is kept.
type tap struct {
	owner *fakeMachine // nil: it is kept
	name  messages.Name
}

// end ends a process.
func (s *simulation) end(p *process, exit messages.Exit) {
	if p.over() {
		return
	}
	p.ended, p.exit = time.Now(), exit
	s.note("%v: process %d ends, %v", p.name, p.id.PID, exit)
	delete(s.processes, p.id.PID)
	if !p.gated {
		s.last[p.name] = p
	}
	close(p.done)
}

// endLater ends a process if it has not ended before.
func (s *simulation) endLater(p *process, after time.Duration, exit messages.Exit) {
	time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end(p, exit)
	})
}

// of returns the process of a name.
func (s *simulation) of(name messages.Name) *process {
	for _, p := range s.processes {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (s *simulation) requireNoProcess(name messages.Name, what string) {
	if p := s.of(name); p != nil {
		s.violate("%v: %s while process %d is there", name, what, p.id.PID)
	}
}

// enter waits as long as a step takes on this machine. It returns with the lock, or with the reason
// why the step has no effect.
func (m *fakeMachine) enter(ctx context.Context, name messages.Name, what string) error {
	err := m.pause(ctx, name, what)
	m.mu.Lock()
	if m.dead {
		err = errDead
	}
	if err != nil {
		m.mu.Unlock()
	}
	return err
}

// fails returns the failure that is injected here, if there is one.
func (m *fakeMachine) fails(name messages.Name, what string) error {
	if what == m.failing || !m.calm && m.draw(name, what+" fails", 100) < 4 {
		return fmt.Errorf("cannot %s: it fails on purpose", what)
	}
	return nil
}

func digestOf(image []byte) messages.Digest { return sha256.Sum256(image) }

func (m *fakeMachine) Prepare(ctx context.Context, name messages.Name, ask messages.UnikernelPrepare) (messages.Digest, guest.Plan, error) {
	if err := m.enter(ctx, name, "prepare"); err != nil {
		return ask.Spec.Digest, guest.Plan{}, err
	}
	defer m.mu.Unlock()
	digest := ask.Spec.Digest
	switch {
	case string(ask.Image) == "too large":
		return messages.Digest{}, guest.Plan{}, errors.New("cannot use image: it is too large")
	case ask.Image != nil:
		digest = digestOf(ask.Image)
		m.images[digest] = true
	case !m.images[digest]:
		m.violate("%v: its image is lost", name)
		return digest, guest.Plan{}, errors.New("no image")
	}
	err := m.fails(name, "prepare")
	if string(ask.Image) == "no unikernel" {
		err = errors.New("it is no unikernel")
	}
	if err == nil {
		m.pins[digest]++
	}
	return digest, guest.Plan{}, err
}

func (m *fakeMachine) Pin(digest messages.Digest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.dead:
		return errDead
	case !m.images[digest]:
		m.violate("the image %v is lost", digest)
		return errors.New("no image")
	}
	m.pins[digest]++
	return nil
}

func (m *fakeMachine) Unpin(digest messages.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pins[digest]--; m.pins[digest] < 0 {
		m.violate("the image %v is unpinned once too often", digest)
	}
	if m.pins[digest] == 0 {
		delete(m.pins, digest)
	}
}

func (m *fakeMachine) MakeConsole(name messages.Name) error {
	if err := m.enter(context.Background(), name, "make console"); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.requireNoProcess(name, "a console pipe is made")
	if err := m.fails(name, "make console"); err != nil {
		return err
	}
	m.pipes[name] = true
	return nil
}

// equipment is what one tender is connected to.
type equipment struct {
	*fakeMachine
	name  messages.Name
	links []messages.Link
}

func (m *fakeMachine) Equip(name messages.Name, _ guest.Plan) (guest.Equipment, error) {
	e := &equipment{fakeMachine: m, name: name}
	if err := m.enter(context.Background(), name, "equip"); err != nil {
		return e, err
	}
	defer m.mu.Unlock()
	m.requireNoProcess(name, "a cgroup is made")
	m.cgroups[name] = true
	for range m.draw(name, "taps", 3) {
		if err := m.fails(name, "make tap"); err != nil {
			return e, err
		}
		m.serial++
		link := messages.Link{Name: fmt.Sprint("tap", m.serial), Index: m.serial}
		m.taps[link] = &tap{owner: m, name: name}
		e.links = append(e.links, link)
	}
	return e, nil
}

func (e *equipment) Links() []messages.Link { return slices.Clone(e.links) }

func (e *equipment) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.close()
}

func (e *equipment) close() {
	for _, link := range e.links {
		if t := e.taps[link]; t != nil && t.owner == e.fakeMachine {
			delete(e.taps, link)
		}
	}
}

func (e *equipment) Launch(ctx context.Context) (guest.Gated, error) {
	if err := e.enter(ctx, e.name, "launch"); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	e.requireNoProcess(e.name, "another is launched")
	if !e.pipes[e.name] || !e.cgroups[e.name] {
		e.violate("%v: what it needs was freed before it is launched", e.name)
	}
	if err := e.fails(e.name, "launch"); err != nil {
		return nil, err
	}
	e.serial++
	p := &process{
		name: e.name, id: messages.Process{PID: e.serial, BootID: e.boot}, parent: e.fakeMachine, gated: true,
		stubborn: e.draw(e.name, "is stubborn", 8) == 0, done: make(chan struct{}),
	}
	e.processes[p.id.PID] = p
	return &gated{process: p, equipment: e}, nil
}

// gated is a process that waits at its gate, with its equipment.
type gated struct {
	*process
	*equipment
	tender *tender // once it is released
}

func (g *gated) Process() messages.Process { return g.id }

func (g *gated) Release(ctx context.Context) (guest.Tender, error) {
	err := g.enter(ctx, g.process.name, "release")
	if err != nil {
		g.Close()
		return nil, errors.Join(err, g.Abort())
	}
	defer g.mu.Unlock()
	defer g.close()
	if g.over() {
		return nil, errors.New("it was aborted")
	}
	for _, link := range g.links {
		g.taps[link].owner = nil
	}
	if err := g.fails(g.process.name, "execute"); err != nil {
		g.end(g.process, messages.Exit{Known: true, Code: 1})
		return nil, err
	}
	g.begin(g.process, g.links)
	g.handles++
	g.tender = &tender{process: g.process, fakeMachine: g.fakeMachine}
	return g.tender, nil
}

func (g *gated) Abort() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.end(g.process, messages.Exit{Known: true, Signal: int(unix.SIGKILL)})
	if g.tender != nil {
		g.tender.close()
	}
	return nil
}

// begin makes a process the tender that it waits to become.
func (s *simulation) begin(p *process, links []messages.Link) {
	record, there := s.records[p.name]
	if !there || record.Runtime.Value.Process != p.id || !slices.Equal(record.Runtime.Value.Taps, links) {
		s.violate("%v: process %d is released before it is on record", p.name, p.id.PID)
	}
	if record.Spec.IsStopped() {
		s.violate("%v: process %d is released, and it is stopped", p.name, p.id.PID)
	}
	p.gated, p.spec, p.released = false, record.Spec, time.Now()
	s.lives++
	s.note("%v: process %d runs %v", p.name, p.id.PID, p.spec.Arguments.Argv.Value)
	s.checkStart(p)
	s.checkPolicies(p.name.Path)
	if after, exit, ends := s.character(p); ends {
		s.endLater(p, after, exit)
	}
}

// A tender is a handle of a process.
type tender struct {
	*process
	*fakeMachine
	closed bool
}

func (t *tender) Wait(ctx context.Context) (proc.End, error) {
	select {
	case <-t.done:
	case <-ctx.Done():
		return proc.End{}, ctx.Err()
	}
	if err := t.enter(ctx, t.process.name, "wait"); err != nil {
		return proc.End{}, err
	}
	defer t.mu.Unlock()
	t.noticed = time.Now()
	if t.parent != t.fakeMachine && t.draw(t.process.name, "its end is known", 2) == 0 {
		return proc.End{}, nil
	}
	return proc.End{Exit: t.exit}, t.fails(t.process.name, "wait")
}

func (t *tender) Signal(signal unix.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.dead:
		return errDead
	case t.over():
		return fmt.Errorf("process %d: %w", t.id.PID, proc.ErrGone)
	case t.closed:
		t.violate("%v: a signal by a handle that was closed", t.process.name)
	}
	t.checkSignal(t.process)
	if signal == unix.SIGTERM && (t.stubborn || t.draw(t.process.name, "loses a signal", 8) == 0) {
		return nil
	}
	t.endLater(t.process, t.duration(t.process.name, "end"), messages.Exit{Known: true, Signal: int(signal)})
	return nil
}

func (t *tender) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.close()
	return nil
}

func (t *tender) close() {
	if !t.closed {
		t.closed = true
		t.handles--
	}
}

func (m *fakeMachine) Resume(ctx context.Context, name messages.Name, r messages.Runtime) (guest.Found, error) {
	if err := m.enter(ctx, name, "resume"); err != nil {
		return guest.Found{}, err
	}
	defer m.mu.Unlock()
	if err := m.fails(name, "resume"); err != nil {
		return guest.Found{}, err
	}
	p := m.processes[r.Process.PID]
	gone := fmt.Errorf("process %d: %w", r.Process.PID, proc.ErrGone)
	switch {
	case p != nil && p.gated:
		m.violate("%v: process %d is taken for a tender", name, p.id.PID)
		return guest.Found{}, gone
	case p != nil:
		m.handles++
		return guest.Found{Tender: &tender{process: p, fakeMachine: m}, Since: r.Started()}, nil
	case r.Process.BootID != m.boot:
		return guest.Found{Cut: "the machine was started anew"}, gone
	case !r.Released:
		return guest.Found{Cut: "the daemon ended while it started or replaced it"}, gone
	}
	return guest.Found{}, gone
}

func (m *fakeMachine) Free(name messages.Name, taps []messages.Link) error {
	if err := m.enter(context.Background(), name, "free"); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.requireNoProcess(name, "what it has is freed")
	delete(m.pipes, name)
	delete(m.cgroups, name)
	for _, link := range taps {
		if t := m.taps[link]; t != nil && t.name != name {
			m.violate("%v: a tap of %v is freed", name, t.name)
		}
		delete(m.taps, link)
	}
	return nil
}

// Acknowledge and AcknowledgeOthers are for a keeper, which this machine does not have.
func (m *fakeMachine) Acknowledge(messages.Process) {}

func (m *fakeMachine) Publish(context.Context, messages.Name, messages.Arguments, []messages.Publication) error {
	return nil
}

func (m *fakeMachine) AskHealth(ctx context.Context, check messages.HealthCheck, at netip.AddrPort) error {
	err := m.enter(ctx, messages.Name{}, "ask health")
	if err != nil {
		return err
	}
	defer m.mu.Unlock()
	if at.Port() == portSick || at.Port() == portMoody && m.draw(messages.Name{}, "it is sick", 2) == 0 {
		return errors.New("it is sick")
	}
	return nil
}

func (m *fakeMachine) AcknowledgeOthers(map[messages.Process]bool) {}

func (m *fakeMachine) Console(name messages.Name) string { return name.String() }

func (m *fakeMachine) OpenConsole(context.Context, messages.Process) (*os.File, error) {
	return nil, proc.ErrGone // its consoles are made up
}

func (m *fakeMachine) AddStrangers(map[messages.Name]bool) {}

func (m *fakeMachine) Sweep(names map[messages.Name]bool, images map[messages.Digest]bool) ([]block.Device, []error) {
	if err := m.enter(context.Background(), messages.Name{}, "sweep"); err != nil {
		return nil, []error{err}
	}
	defer m.mu.Unlock()
	for _, p := range m.processes {
		if !names[p.name] {
			m.violate("%v: a process on no record is found", p.name)
		}
	}
	m.collect(func(d messages.Digest) bool { return images[d] })
	for name := range m.pipes {
		if !names[name] {
			delete(m.pipes, name)
		}
	}
	for name := range m.cgroups {
		if !names[name] {
			delete(m.cgroups, name)
		}
	}
	return []block.Device{{Name: simulatedDisk, Size: 1}}, nil
}

// simulatedDisk is the only block device.
var simulatedDisk = messages.Name{Path: "a", Label: "disk"}

func (m *fakeMachine) CheckUnused(messages.Name, string) error { return nil }

func (m *fakeMachine) ImageSize(digest messages.Digest, _ int) (int64, error) {
	return int64(len(digest)), nil
}

func (m *fakeMachine) ReadImage(digest messages.Digest, _ int) ([]byte, error) {
	if err := m.enter(context.Background(), messages.Name{}, "read image"); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if !m.images[digest] {
		return nil, errors.New("cannot open image")
	}
	return digest[:], nil
}

func (m *fakeMachine) VerifyImages(context.Context, []messages.Digest) []error { return nil }

func (m *fakeMachine) RemoveImage(digest messages.Digest, keep func(messages.Digest) bool) error {
	return m.remove("remove image", func(d messages.Digest) bool { return d != digest || keep(d) })
}

func (m *fakeMachine) CollectImages(keep func(messages.Digest) bool) error {
	return m.remove("collect images", keep)
}

func (m *fakeMachine) remove(what string, keep func(messages.Digest) bool) error {
	if err := m.enter(context.Background(), messages.Name{}, what); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.collect(keep)
	return nil
}

func (m *fakeMachine) collect(keep func(messages.Digest) bool) {
	for digest := range m.images {
		if m.pins[digest] > 0 || keep(digest) {
			continue
		}
		delete(m.images, digest)
		for _, record := range m.records {
			for needed := range digests(record.Spec) {
				if needed == digest {
					m.violate("%v: its image is removed", record.Name)
				}
			}
		}
	}
}

// die kills the daemon: what is not on record vanishes with it.
func (m *fakeMachine) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	for _, p := range m.processes {
		if p.gated {
			m.end(p, messages.Exit{Known: true, Signal: int(unix.SIGKILL)})
		}
	}
	for link, t := range m.taps {
		if t.owner == m {
			delete(m.taps, link)
		}
	}
}
