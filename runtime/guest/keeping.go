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
	"albatross/runtime/proc"
	"albatross/runtime/tender"
)

const (
	// retryKeeper is the pause between tries to reach a keeper.
	retryKeeper = time.Second
	// reportTimeout is how long a keeper may take to report an end. It takes milliseconds,
	// unless it was stopped.
	reportTimeout = 10 * time.Second
	// managerTimeout is how long a service manager has to start a keeper again, before this
	// program starts one.
	managerTimeout = 5 * time.Second
)

// A Keeping is the daemon's keeper, and what it has reported. If the keeper dies, a new one
// is started, which adopts what runs; while it does not answer, the daemon does without. All
// methods but Close may be called on nil, which is no keeper, and concurrently.
type Keeping struct {
	config keeper.Config
	log    *slog.Logger
	cancel context.CancelFunc
	tended chan struct{} // closed when tend has returned
	wake   chan struct{} // an end is to be acknowledged

	mu     sync.Mutex
	client *keeper.Client // the last one, which may be lost; nil: none has answered yet
	kept   map[messages.Process]*kept
	// recorded are the processes of the records that the daemon began with, whose ends may be
	// needed, also if no keeper has reported them yet; nil: not known yet.
	recorded map[messages.Process]bool
	// unknown are processes whose ends were reported, and that this daemon may never have had;
	// see disown.
	unknown   []messages.Process
	launching int // launches under way
}

// A kept is a process that the keeper has started, has adopted, or reports. The lock of the
// Keeping guards it.
type kept struct {
	name         messages.Name
	dirs         []string      // of its cgroup; none: the keeper knows them
	known        chan struct{} // closed if the end is known, or if the keeper is not the parent
	end          *wire.End     // nil: it runs, as far as is known
	orphan       bool          // the keeper is not the parent
	ours         bool          // this daemon has started it, or noted that the keeper is not its parent
	over         bool          // it has ended, whether that was reported or not
	acknowledged bool          // nobody needs the end any more
}

// OpenKeeping connects to the keeper. This program has the claim to read all consoles. A
// keeper that does not answer is used as soon as it does.
func OpenKeeping(ctx context.Context, config keeper.Config, log *slog.Logger) (*Keeping, error) {
	k := &Keeping{config: config, log: log, tended: make(chan struct{}), wake: make(chan struct{}, 1), kept: map[messages.Process]*kept{}}
	k.config.Read = true
	k.config.Ended = func(e keeper.Ended) { k.noteEnd(e.Name, e.Process, e.End) }
	err := keeper.RetryLost(func() error { return k.connect(ctx, false) })
	if errors.Is(err, keeper.ErrSilent) && ctx.Err() == nil {
		log.Error("Going on without the keeper until it answers", "cause", err)
	} else if err != nil {
		return nil, err
	}
	tending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k.cancel = cancel
	go k.tend(tending)
	return k, nil
}

// Close ends the connection.
func (k *Keeping) Close() {
	k.cancel()
	<-k.tended
	if client := k.current(); client != nil {
		client.Close()
	}
}

// PID returns the process of the keeper; 0: there is none, or it does not answer.
func (k *Keeping) PID() int {
	if k == nil {
		return 0
	}
	if client := k.current(); client != nil {
		return client.PID()
	}
	return 0
}

func (k *Keeping) current() *keeper.Client {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.client
}

// connect reaches a keeper, and learns what it keeps. With await, it starts none.
func (k *Keeping) connect(ctx context.Context, await bool) error {
	config := k.config
	config.Await = await
	client, err := keeper.Connect(ctx, config)
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
		e.acknowledged = e.acknowledged || k.recorded != nil && !k.recorded[l.Process] && !e.ours
		if l.Child && l.End == nil && e.orphan {
			e.orphan, e.known = false, make(chan struct{})
		}
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
	if !e.ours {
		k.unknown = append(k.unknown, p)
		k.disown()
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
	if k.current() == nil {
		k.reach(ctx)
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-k.wake:
			k.acknowledge(ctx)
		case <-k.current().Done():
			k.log.Error("The keeper has ended")
			k.current().Close()
			k.reach(ctx)
		}
	}
	k.acknowledgeLast(ctx)
}

// acknowledge makes the keeper forget the ends that nobody needs.
func (k *Keeping) acknowledge(ctx context.Context) {
	client := k.current()
	if client == nil {
		return
	}
	for _, p := range k.needless() {
		err := client.Forget(ctx, p)
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
const acknowledgeTimeout = 5 * time.Second

// acknowledgeLast waits for reports that are about to come: of a process that is not its child,
// the keeper may report the end later than the daemon learns of it.
func (k *Keeping) acknowledgeLast(ctx context.Context) {
	client := k.current()
	if client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acknowledgeTimeout)
	defer cancel()
	for k.acknowledge(ctx); k.awaitsReports(); k.acknowledge(ctx) {
		select {
		case <-k.wake:
		case <-client.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

func (k *Keeping) awaitsReports() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.kept {
		if e.over && e.end == nil {
			return true
		}
	}
	return false
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

// reach connects to a keeper, or starts a new one, as soon as that is possible. It adopts
// what runs.
func (k *Keeping) reach(ctx context.Context) {
	said := ""
	var awaited time.Time // until then somebody else starts it
	if former := k.current(); former != nil && former.Managed() {
		awaited = time.Now().Add(managerTimeout)
		k.log.Info("Waiting for the service manager to start the keeper again", "for", managerTimeout)
	}
	for {
		err := k.connect(ctx, time.Now().Before(awaited))
		if err == nil {
			break
		}
		if err.Error() != said && ctx.Err() == nil && !errors.Is(err, keeper.ErrNone) {
			said = err.Error()
			k.log.Error("Cannot reach a keeper", "error", err)
		}
		k.mu.Lock()
		k.orphan(func(messages.Process) bool { return true })
		k.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryKeeper):
		}
	}
	k.log.Info("The keeper is used again", "pid", k.PID())
	for p, o := range k.orphans() {
		k.adopt(ctx, o.name, p, o.dirs)
	}
	k.hurry()
}

// An orphan is what a new keeper needs to know of a process.
type orphan struct {
	name messages.Name
	dirs []string // of its cgroup
}

// orphans returns the processes that run, and of which the keeper is not the parent. It
// drops those that nobody needs.
func (k *Keeping) orphans() map[messages.Process]orphan {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.kept, func(_ messages.Process, e *kept) bool { return e.orphan && e.acknowledged && e.end == nil })
	orphans := map[messages.Process]orphan{}
	for p, e := range k.kept {
		if e.orphan && e.end == nil {
			orphans[p] = orphan{e.name, e.dirs}
		}
	}
	return orphans
}

// beginLaunch counts a launch until the function that it returns is called.
func (k *Keeping) beginLaunch() (end func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.launching++
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.launching--
		k.disown()
	}
}

// disown acknowledges the ends of processes that this daemon has never had: the keeper has started
// them, and its answer was lost, for want of a descriptor for instance. As long as one is being
// launched, an end may be of that. It needs the lock.
func (k *Keeping) disown() {
	if k.launching > 0 || k.recorded == nil {
		return
	}
	for _, p := range k.unknown {
		if e := k.kept[p]; e != nil && !e.ours && !k.recorded[p] {
			e.acknowledged = true
			k.hurry()
		}
	}
	k.unknown = nil
}

// launch starts a process by the keeper, or by this program if the keeper cannot be
// reached: a keeper in trouble keeps no unikernel from being started.
func (k *Keeping) launch(ctx context.Context, c tender.Command) (*tender.Gated, error) {
	if k == nil {
		return tender.Launch(ctx, c)
	}
	defer k.beginLaunch()()
	c.Keeper = k.current() // nil as long as none has answered
	g, err := tender.Launch(ctx, c)
	without := errors.Is(err, keeper.ErrLost) || errors.Is(err, keeper.ErrSilent) || errors.Is(err, keeper.ErrOlder)
	if without && ctx.Err() == nil {
		k.log.Warn("Starting a unikernel without the keeper", "name", c.Name, "cause", err)
		c.Keeper = nil
		return tender.Launch(ctx, c)
	}
	if err == nil && c.Keeper != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		e := k.entry(c.Name.String(), g.Process())
		e.dirs = c.Dirs
		e.ours, e.acknowledged = true, false // a new keeper may have reported it before
	}
	return g, err
}

// report returns how a process has ended, as the keeper reports it. That is not known if the
// keeper is not the parent, or does not answer.
func (k *Keeping) report(ctx context.Context, p messages.Process) (end proc.End, ok bool) {
	e := k.find(p)
	if e == nil {
		return proc.End{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	k.mu.Lock()
	known := e.known
	k.mu.Unlock()
	select {
	case <-known:
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.end == nil {
		return proc.End{}, false
	}
	return proc.End{Exit: e.end.Exit, Usage: e.end.Usage()}, e.end.Exit.Known
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
func (k *Keeping) adopt(ctx context.Context, name messages.Name, p messages.Process, dirs []string) {
	if k == nil || k.isParent(p) {
		return
	}
	client := k.noteOrphan(name, p, dirs)
	if client == nil {
		return // it is adopted when the keeper answers
	}
	adopted, err := client.Adopt(ctx, name, p, true, dirs)
	if err != nil {
		k.log.Warn("The keeper does not keep a unikernel", "name", name, "cause", err)
		return
	}
	if adopted.Pidfd >= 0 {
		_ = unix.Close(adopted.Pidfd) // there is a handle
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.entry(name.String(), p).finish(adopted.End)
}

// noteOrphan notes that the keeper is not the parent of a process, and returns the keeper.
func (k *Keeping) noteOrphan(name messages.Name, p messages.Process, dirs []string) *keeper.Client {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.entry(name.String(), p)
	e.ours, e.orphan, e.dirs = true, true, dirs
	e.finish(nil)
	return k.client
}

// console returns the console of a process that has ended, or nil if the keeper does not have
// it any more.
func (k *Keeping) console(ctx context.Context, p messages.Process) *os.File {
	if k.find(p) == nil {
		return nil
	}
	client := k.current()
	if client == nil {
		return nil
	}
	f, err := client.Take(ctx, p)
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

// Acknowledge makes the keeper forget a process that has ended: its end is on record, or nobody
// needs it.
func (m *Machine) Acknowledge(p messages.Process) {
	k := m.Keeping
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.recorded, p)
	if e := k.kept[p]; e != nil {
		e.over, e.acknowledged = true, true
		k.hurry()
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
	k.recorded = map[messages.Process]bool{}
	maps.Copy(k.recorded, recorded)
	for p, e := range k.kept {
		e.acknowledged = e.acknowledged || !recorded[p]
	}
	k.hurry()
}
