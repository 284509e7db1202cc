package guest

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/keeper"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/tender"
)

// retryKeeper is the pause between tries to reach a keeper.
const retryKeeper = time.Second

// A Keeping is the daemon's keeper, and what it has reported. If the keeper dies, a new one
// is started, which adopts what runs. All methods but Close may be called on nil, which is
// no keeper, and concurrently.
type Keeping struct {
	config keeper.Config
	log    *slog.Logger
	cancel context.CancelFunc
	tended chan struct{} // closed when tend has returned
	wake   chan struct{} // an end is to be acknowledged

	mu     sync.Mutex
	client *keeper.Client // the last one, which may be lost
	kept   map[messages.Process]*kept
}

// A kept is a process that the keeper has started, has adopted, or reports. The lock of the
// Keeping guards all but known.
type kept struct {
	name         messages.Name
	known        chan struct{} // closed if the end is known, or if the keeper is no longer the parent
	end          *wire.End     // nil: it runs, as far as is known
	orphan       bool          // the keeper is not the parent
	acknowledged bool          // nobody needs the end any more
}

// OpenKeeping connects to the keeper. From then on this program reads all consoles.
func OpenKeeping(ctx context.Context, config keeper.Config, log *slog.Logger) (*Keeping, error) {
	k := &Keeping{config: config, log: log, tended: make(chan struct{}), wake: make(chan struct{}, 1), kept: map[messages.Process]*kept{}}
	k.config.Read = true
	k.config.Ended = func(e keeper.Ended) { k.noteEnd(e.Name, e.Process, e.End) }
	if err := keeper.RetryLost(func() error { return k.connect(ctx) }); err != nil {
		return nil, err
	}
	tending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k.cancel = cancel
	go k.tend(tending)
	return k, nil
}

// Close ends the connection. The keeper reads all consoles from then on.
func (k *Keeping) Close() {
	k.cancel()
	<-k.tended
	k.current().Close()
}

// PID returns the process of the keeper; 0: there is none.
func (k *Keeping) PID() int {
	if k == nil {
		return 0
	}
	return k.current().PID()
}

func (k *Keeping) current() *keeper.Client {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.client
}

// connect reaches a keeper, and learns what it keeps.
func (k *Keeping) connect(ctx context.Context) error {
	client, err := keeper.Connect(ctx, k.config)
	if err != nil {
		return err
	}
	if build := client.Build(); build != k.config.Build {
		if err := client.Upgrade(ctx, k.config.Program); err != nil {
			k.log.Warn("Going on with another build of the keeper", "build", build, "cause", err)
		}
	}
	list, err := client.List(ctx)
	if err != nil {
		client.Close()
		return err
	}
	k.learn(client, list)
	k.log.Debug("Connected to the keeper", "pid", client.PID(), "build", client.Build(), "keeps", len(list))
	return nil
}

// learn records what a keeper keeps. It is the parent of nothing else.
func (k *Keeping) learn(client *keeper.Client, list []wire.Kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.client = client
	children := map[messages.Process]bool{}
	for _, l := range list {
		e := k.entry(l.Name, l.Process)
		children[l.Process] = l.Child
		if l.End != nil {
			e.finish(l.End)
		}
	}
	k.orphan(func(p messages.Process) bool { return !children[p] })
}

// orphan is for processes that run, and of which the keeper is not the parent any more. It
// needs the lock.
func (k *Keeping) orphan(lost func(messages.Process) bool) {
	for p, e := range k.kept {
		if e.end == nil && lost(p) {
			e.orphan = true
			e.finish(nil)
		}
	}
}

// entry needs the lock.
func (k *Keeping) entry(name string, p messages.Process) *kept {
	if k.kept[p] == nil {
		n, _ := messages.ParseName(name) // the keeper has checked it
		k.kept[p] = &kept{name: n, known: make(chan struct{})}
	}
	return k.kept[p]
}

// finish needs the lock. An end may be reported again.
func (e *kept) finish(end *wire.End) {
	if end != nil {
		e.end = end
	}
	select {
	case <-e.known:
	default:
		close(e.known)
	}
}

func (k *Keeping) noteEnd(name string, p messages.Process, end wire.End) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.entry(name, p)
	e.finish(&end)
	if e.acknowledged {
		k.hurry()
	}
}

// hurry wakes tend.
func (k *Keeping) hurry() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// tend acknowledges ends, and reaches a new keeper if one is lost.
func (k *Keeping) tend(ctx context.Context) {
	defer close(k.tended)
	for {
		select {
		case <-ctx.Done():
			k.acknowledgeLast(ctx)
			return
		case <-k.wake:
			k.acknowledge(ctx)
		case <-k.current().Done():
			k.reconnect(ctx)
		}
	}
}

// acknowledge makes the keeper forget the ends that nobody needs.
func (k *Keeping) acknowledge(ctx context.Context) {
	for _, p := range k.needless() {
		err := k.current().Forget(ctx, p)
		if errors.Is(err, keeper.ErrLost) || errors.Is(err, keeper.ErrSilent) {
			return // it is reported again
		}
		k.mu.Lock()
		delete(k.kept, p)
		k.mu.Unlock()
	}
}

// acknowledgeTimeout bounds the last acknowledgements of a daemon that stops. What is not
// acknowledged is reported to the next one.
const acknowledgeTimeout = time.Second

func (k *Keeping) acknowledgeLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acknowledgeTimeout)
	defer cancel()
	k.acknowledge(ctx)
}

// needless returns the ended processes that were acknowledged.
func (k *Keeping) needless() (list []messages.Process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p, e := range k.kept {
		if e.acknowledged && e.end != nil {
			list = append(list, p)
		}
	}
	return list
}

// reconnect starts a new keeper, which adopts what runs.
func (k *Keeping) reconnect(ctx context.Context) {
	k.log.Error("The keeper has ended; another one is started")
	k.current().Close()
	for {
		err := k.connect(ctx)
		if err == nil {
			break
		}
		k.log.Error("Cannot reach a keeper", "error", err)
		k.mu.Lock()
		k.orphan(func(messages.Process) bool { return true })
		k.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryKeeper):
		}
	}
	k.log.Info("Another keeper has taken over", "pid", k.PID())
	for p, name := range k.orphans() {
		k.adopt(ctx, name, p)
	}
	k.hurry()
}

// orphans returns the processes that run, and of which the keeper is not the parent. It
// drops those that nobody needs.
func (k *Keeping) orphans() map[messages.Process]messages.Name {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.kept, func(_ messages.Process, e *kept) bool { return e.orphan && e.acknowledged && e.end == nil })
	names := map[messages.Process]messages.Name{}
	for p, e := range k.kept {
		if e.orphan && e.end == nil {
			names[p] = e.name
		}
	}
	return names
}

// launch starts a process by the keeper, or by this program if the keeper cannot be
// reached: a keeper in trouble keeps no unikernel from being started.
func (k *Keeping) launch(ctx context.Context, c tender.Command) (*tender.Gated, error) {
	if k == nil {
		return tender.Launch(ctx, c)
	}
	c.Keeper = k.current()
	g, err := tender.Launch(ctx, c)
	if (errors.Is(err, keeper.ErrLost) || errors.Is(err, keeper.ErrSilent)) && ctx.Err() == nil {
		k.log.Warn("Starting a unikernel without the keeper", "name", c.Name, "cause", err)
		c.Keeper = nil
		return tender.Launch(ctx, c)
	}
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.entry(c.Name.String(), g.Process())
	}
	return g, err
}

// wait waits for the end of a process. It is not known if the keeper is not the parent.
func (k *Keeping) wait(ctx context.Context, p messages.Process) (end wire.End, known bool, err error) {
	e := k.find(p)
	if e == nil {
		return wire.End{}, false, nil
	}
	select {
	case <-e.known:
	case <-ctx.Done():
		return wire.End{}, false, ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.end == nil {
		return wire.End{}, false, nil
	}
	return *e.end, e.end.Exit.Known, nil
}

func (k *Keeping) find(p messages.Process) *kept {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept[p]
}

// end returns how a process has ended, if the keeper has reported that.
func (k *Keeping) end(p messages.Process) (end wire.End, ended bool) {
	e := k.find(p)
	if e == nil {
		return wire.End{}, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.end == nil {
		return wire.End{}, false
	}
	return *e.end, true
}

// adopt makes the keeper keep a process that runs, unless it is its parent.
func (k *Keeping) adopt(ctx context.Context, name messages.Name, p messages.Process) {
	if k == nil || k.isParent(p) {
		return
	}
	adopted, err := k.current().Adopt(ctx, name, p, true, "")
	if err != nil {
		k.log.Warn("The keeper does not keep a unikernel", "name", name, "cause", err)
		return
	}
	if adopted.Pidfd >= 0 {
		_ = unix.Close(adopted.Pidfd) // there is a handle
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.entry(name.String(), p)
	e.orphan = true
	e.finish(adopted.End)
}

// console returns the console of a process that has ended, or nil if the keeper does not have
// it any more.
func (k *Keeping) console(ctx context.Context, p messages.Process) *os.File {
	if k.find(p) == nil {
		return nil
	}
	f, err := k.current().Take(ctx, p)
	if err != nil {
		k.log.Debug("What a unikernel printed last is not in its pipe", "pid", p.PID, "cause", err)
		return nil
	}
	return f
}

func (k *Keeping) isParent(p messages.Process) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.kept[p]
	return e != nil && !e.orphan
}

// Acknowledge makes the keeper forget a process when that has ended: its end is on record,
// or nobody needs it.
func (m *Machine) Acknowledge(p messages.Process) {
	if e := m.Keeping.find(p); e != nil {
		m.Keeping.mu.Lock()
		defer m.Keeping.mu.Unlock()
		e.acknowledged = true
		m.Keeping.hurry()
	}
}

// AcknowledgeOthers is Acknowledge for all processes that no record mentions: a daemon died
// before it had recorded them, or their record was damaged. None must have been launched yet.
func (m *Machine) AcknowledgeOthers(recorded map[messages.Process]bool) {
	k := m.Keeping
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for p, e := range k.kept {
		e.acknowledged = e.acknowledged || !recorded[p]
	}
	k.hurry()
}
