package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/history"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/proc"
)

const (
	// atOnce bounds the descriptors of one turn of the loop.
	atOnce = 64
	// pace is the pause after a turn that has emptied all consoles. It lets lines gather,
	// since a turn costs as much as some dozens of them.
	pace = time.Millisecond
	// calmAfter is how long the keeper is at rest before it returns memory.
	calmAfter = time.Second
	// effort is how much work makes that worth while, in bytes of consoles or an equal cost.
	effort = 256 << 10
	// relistenAfter is the pause before the next accept if no descriptors are left.
	relistenAfter = time.Second
)

// A keeper belongs to the goroutine of its loop; no other touches it.
type keeper struct {
	dir  string // of the socket, the locks and the journal
	boot string

	epoll    int
	null     int
	lock     int
	claim    int // see readers.go
	listener int
	sources  map[int]source // what is polled, by descriptor
	alarms   []alarm
	asides   asides

	histories  *history.Dir
	journal    *journal
	rewriting  bool // later
	children   map[messages.Process]*child
	names      map[string]*child // the latest of each name: only that may run
	open       map[string]*child // whose history of a name is open: one at a time
	unreported []*child          // have ended, and the connected daemon does not know that
	unsynced   map[*child]bool   // their history is not on disk
	reading    bool              // we have the claim in this turn of the loop
	claimed    unix.Timespec     // when a daemon last got it, as far as we know
	readers    bool              // a daemon that is not connected has it
	awaiting   bool              // we wait for that daemon to end

	conns   map[int]*conn
	daemon  *conn // the one that has said hello
	trouble trouble
	change  *change // an upgrade that was asked for
	oom     string  // oom_score_adj for children; empty: as ours

	transient bool // see options
	served    bool // a daemon has been connected

	spent  int  // work since memory was returned
	moved  int  // bytes of consoles in this turn
	full   bool // a console may contain more
	buffer []byte
}

// A source says why a descriptor is polled.
type source struct {
	child   *child
	console bool // the console of child; otherwise its pidfd
	conn    *conn
	handle  func() // if there is neither child nor conn
}

// An alarm is to be done at its time.
type alarm struct {
	at time.Time
	do func()
}

func newKeeper(dbdir string) (*keeper, error) {
	k := &keeper{
		dir:      filepath.Join(dbdir, wire.Dir),
		sources:  map[int]source{},
		children: map[messages.Process]*child{},
		names:    map[string]*child{},
		open:     map[string]*child{},
		unsynced: map[*child]bool{},
		conns:    map[int]*conn{},
		buffer:   make([]byte, wire.MaxFrame),
	}
	k.journal = &journal{path: filepath.Join(k.dir, wire.Journal), trouble: &k.trouble}
	var err error
	if k.boot, err = proc.BootID(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(k.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := k.openClaim(); err != nil {
		return nil, err
	}
	if k.histories, err = history.OpenBeside(filepath.Join(dbdir, "console"), time.Now); err != nil {
		return nil, err
	}
	if k.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if k.null, err = unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", os.DevNull, err)
	}
	if err := k.asides.open(); err != nil {
		return nil, err
	}
	return k, k.watch(k.asides.wake, unix.EPOLLIN, source{handle: k.asidesDone})
}

// start begins if no keeper runs yet.
func (k *keeper) start() (err error) {
	if k.lock, err = lockWithin(takeoverTime, filepath.Join(k.dir, wire.Lock)); err != nil {
		if err == unix.EWOULDBLOCK {
			return errTaken
		}
		return err
	}
	failpoint.Here("keeper/locked")
	k.oom = spare()
	kept, whole, err := openJournal(k.journal.path)
	if err != nil {
		return err
	}
	if !whole {
		k.trouble.note("The journal is damaged; what followed the damage is lost")
	}
	if err := k.listen(); err != nil {
		return err
	}
	failpoint.Here("keeper/listening")
	for _, e := range kept {
		k.takeOver(e)
	}
	failpoint.Here("keeper/taken-over")
	k.rewrite()
	return nil
}

const (
	// takeoverTime bounds the wait for a keeper that was killed to be gone: its lock lasts
	// until its last thread has ended, when it is no longer seen as a process.
	takeoverTime  = time.Second
	takeoverPause = 10 * time.Millisecond
)

// lockWithin is lockFile with so much time.
func lockWithin(limit time.Duration, path string) (fd int, err error) {
	for end := time.Now().Add(limit); ; time.Sleep(takeoverPause) {
		fd, err = lockFile(path)
		if err != unix.EWOULDBLOCK || time.Now().After(end) {
			return fd, err
		}
	}
}

// lockFile locks a file until the descriptor is closed, which an exec need not do. It
// returns unix.EWOULDBLOCK if another process has the lock.
func lockFile(path string) (fd int, err error) {
	fd, err = unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return -1, fmt.Errorf("cannot open %s: %w", path, err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// If memory runs out, the kernel should kill unikernels, which can be started again, before
// the keeper that knows of all of them. Children get the score that the keeper had before.
const (
	oomFile   = "oom_score_adj"
	oomSpared = "-900"
)

// spare protects this process, and returns its score from before. It returns nothing if the
// process lacks the privilege; it runs unprotected then.
func spare() string {
	before, err := os.ReadFile("/proc/self/" + oomFile)
	if err != nil || os.WriteFile("/proc/self/"+oomFile, []byte(oomSpared), 0) != nil {
		return ""
	}
	return string(before)
}

// run is the loop.
func (k *keeper) run() error {
	events := make([]unix.EpollEvent, atOnce)
	for {
		k.endReading()
		n, err := unix.EpollWait(k.epoll, events, k.timeout())
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		k.moved, k.full = 0, false
		for _, e := range events[:max(0, n)] {
			k.handle(int(e.Fd), e.Events)
		}
		k.ring()
		k.report()
		k.tryChange()
		k.wantAll()
		k.rest()
		if k.needless() {
			return nil
		}
	}
}

// needless reports whether a transient keeper has nothing to do any more.
func (k *keeper) needless() bool {
	return k.transient && k.served && len(k.conns)+len(k.children)+k.asides.busy+len(k.unsynced) == 0
}

// handle serves a descriptor that has news. The number may belong to a newer descriptor by
// now; serving that one without news does no harm.
func (k *keeper) handle(fd int, events uint32) {
	s, there := k.sources[fd]
	switch {
	case !there:
	case s.console:
		k.move(s.child)
	case s.child != nil:
		k.reap(s.child)
	case s.conn != nil:
		k.serve(s.conn, events)
	default:
		s.handle()
	}
}

// rest lets small pieces of consoles gather, and counts the work.
func (k *keeper) rest() {
	k.endReading()
	if k.moved > 0 && !k.full {
		time.Sleep(pace)
	}
	k.spend(k.moved)
}

// spend counts work.
func (k *keeper) spend(cost int) {
	if cost == 0 {
		return
	}
	before := k.spent
	k.spent += cost
	if before < effort && k.spent >= effort {
		k.after(calmAfter, k.calm)
	}
}

func (k *keeper) calm() {
	if k.spent >= 2*effort { // not at rest
		k.spent = effort
		k.after(calmAfter, k.calm)
		return
	}
	k.spent = 0
	debug.FreeOSMemory()
}

// watch polls a descriptor.
func (k *keeper) watch(fd int, events uint32, s source) error {
	if err := unix.EpollCtl(k.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	k.sources[fd] = s
	return nil
}

// unwatch stops polling a descriptor. It comes before close: another process may have the
// same file open, which would stay in the epoll.
func (k *keeper) unwatch(fd int) {
	if _, there := k.sources[fd]; there {
		_ = unix.EpollCtl(k.epoll, unix.EPOLL_CTL_DEL, fd, nil) // it is in the epoll
		delete(k.sources, fd)
	}
}

// after runs do later.
func (k *keeper) after(d time.Duration, do func()) {
	k.alarms = append(k.alarms, alarm{time.Now().Add(d), do})
}

// timeout returns the milliseconds until the next alarm, or -1.
func (k *keeper) timeout() int {
	if len(k.alarms) == 0 {
		return -1
	}
	next := k.alarms[0].at
	for _, a := range k.alarms[1:] {
		if a.at.Before(next) {
			next = a.at
		}
	}
	return max(0, int((time.Until(next)+time.Millisecond-1)/time.Millisecond))
}

// ring runs the alarms that are due.
func (k *keeper) ring() {
	if len(k.alarms) == 0 {
		return
	}
	now := time.Now()
	all := k.alarms
	k.alarms = nil
	for _, a := range all {
		if a.at.After(now) {
			k.alarms = append(k.alarms, a)
		} else {
			a.do()
		}
	}
}
