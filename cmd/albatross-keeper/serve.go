package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/seqpacket"
)

const (
	// maxConns bounds the connections.
	maxConns = 8
	// maxBusy bounds what runs beside the loop; further requests wait in their sockets.
	maxBusy = 16
)

// A conn is a connection. It is a daemon's after its hello.
type conn struct {
	fd     int
	pid    int // of the peer
	wants  uint32
	out    []outgoing // answers for which the socket had no room; no request is read meanwhile
	full   bool       // the socket has no room for more ends
	closed bool
}

// An outgoing is a message that owns its descriptors.
type outgoing struct {
	frame []byte
	files []int
}

// listen makes the socket. An existing one belongs to a keeper that has ended.
func (k *keeper) listen() (err error) {
	dir, err := unix.Open(k.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", k.dir, err)
	}
	defer func() { _ = unix.Close(dir) }()
	if err := unix.Unlinkat(dir, wire.Socket, 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("cannot remove a socket: %w", err)
	}
	k.listener, err = unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	// The kernel wants a short path.
	address := &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir, wire.Socket)}
	if err := unix.Bind(k.listener, address); err != nil {
		return fmt.Errorf("cannot listen at %s: %w", filepath.Join(k.dir, wire.Socket), err)
	}
	if err := unix.Fchmodat(dir, wire.Socket, 0o600, 0); err != nil {
		return os.NewSyscallError("fchmodat", err)
	}
	if err := unix.Listen(k.listener, maxConns); err != nil {
		return os.NewSyscallError("listen", err)
	}
	return k.watchListener()
}

func (k *keeper) watchListener() error {
	return k.watch(k.listener, unix.EPOLLIN, source{handle: k.accept})
}

func (k *keeper) accept() {
	fd, _, err := unix.Accept4(k.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	switch err {
	case nil:
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS: // the peer stays in the queue
		k.trouble.note("Cannot accept a daemon: %v", err)
		k.unwatch(k.listener)
		k.after(relistenAfter, func() {
			if err := k.watchListener(); err != nil {
				k.trouble.note("Cannot accept daemons any more: %v", err)
			}
		})
		return
	default:
		return
	}
	if err := k.welcome(fd); err != nil {
		k.trouble.note("Refused a connection: %v", err)
		_ = unix.Close(fd)
	}
}

func (k *keeper) welcome(fd int) error {
	pid, err := seqpacket.CheckPeer(fd)
	if err != nil {
		return err
	}
	if len(k.conns) >= maxConns {
		return errors.New("there are too many already")
	}
	return k.add(&conn{fd: fd, pid: pid})
}

func (k *keeper) add(c *conn) error {
	c.wants = unix.EPOLLIN
	if err := k.watch(c.fd, c.wants, source{conn: c}); err != nil {
		return err
	}
	k.conns[c.fd] = c
	return nil
}

// drop closes a connection. If it was the daemon's, the keeper reads all consoles again.
func (k *keeper) drop(c *conn) {
	if c.closed {
		return
	}
	c.closed = true
	delete(k.conns, c.fd)
	k.unwatch(c.fd)
	_ = unix.Close(c.fd)
	for _, o := range c.out {
		seqpacket.CloseAll(o.files)
	}
	if k.daemon == c {
		k.daemon = nil
		failpoint.Here("keeper/daemon-gone")
		k.daemonGone()
	}
}

func (k *keeper) daemonGone() {
	k.unreported = k.unreported[:0]
	for _, c := range k.children {
		c.read, c.reported = false, false
		if c.end != nil {
			k.unreported = append(k.unreported, c)
		}
	}
	slices.SortFunc(k.unreported, func(a, b *child) int { return int(a.end.Known() - b.end.Known()) })
	k.keepAll()
}

// serve handles the events of a connection.
func (k *keeper) serve(c *conn, events uint32) {
	if events&unix.EPOLLOUT != 0 {
		c.full = false
		k.flush(c)
	}
	if events&unix.EPOLLIN != 0 && k.reads(c) {
		k.receive(c)
	} else if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		k.drop(c)
	}
}

// reads reports whether requests of a connection are read now.
func (k *keeper) reads(c *conn) bool {
	return len(c.out) == 0 && k.change == nil && k.asides.busy < maxBusy
}

// want polls a connection for what can be done.
func (k *keeper) want(c *conn) {
	var wants uint32
	if k.reads(c) {
		wants |= unix.EPOLLIN
	}
	if len(c.out) > 0 || c.full {
		wants |= unix.EPOLLOUT
	}
	if c.closed || wants == c.wants {
		return
	}
	c.wants = wants
	_ = unix.EpollCtl(k.epoll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: wants, Fd: int32(c.fd)}) // it is in there
}

func (k *keeper) wantAll() {
	for _, c := range k.conns {
		k.want(c)
	}
}

func (k *keeper) receive(c *conn) {
	frame, files, err := seqpacket.Receive(c.fd, k.buffer)
	switch {
	case err == unix.EAGAIN:
		return
	case err == seqpacket.ErrCut: // answered below
	case err != nil, len(frame) == 0:
		seqpacket.CloseAll(files)
		k.drop(c)
		return
	}
	var r wire.Request
	failed := wire.Decode(frame, &r)
	if failed == nil {
		failed = r.Check()
	}
	if failed != nil {
		k.trouble.note("Refused process %d, which is connected: %v", c.pid, failed)
		seqpacket.CloseAll(files)
		k.drop(c)
		return
	}
	parts, partsErr := assign(r.Files, files)
	if err = errors.Join(err, partsErr); err == nil {
		err = k.do(c, r, &parts)
	}
	parts.close()
	if err != nil {
		k.answer(c, wire.Answer{ID: r.ID, Err: errText(err)}, nil)
	}
}

// errText returns an error as a text of the protocol.
func errText(err error) string {
	text := strings.ToValidUTF8(err.Error(), "?")
	return text[:min(len(text), wire.MaxText)]
}

// parts are the descriptors of a request, by their purpose. Those that nobody takes are
// closed.
type parts struct {
	one    map[wire.File]int
	passed []int // of which there may be several
}

func assign(names []wire.File, files []int) (parts, error) {
	p := parts{one: map[wire.File]int{}}
	if len(names) != len(files) {
		seqpacket.CloseAll(files)
		return p, fmt.Errorf("there are %d descriptors, not %d", len(files), len(names))
	}
	for i, name := range names {
		if name == wire.Passed {
			p.passed = append(p.passed, files[i])
			continue
		}
		if _, twice := p.one[name]; twice {
			seqpacket.CloseAll(files[i:])
			return p, fmt.Errorf("there are two descriptors for %q", name)
		}
		p.one[name] = files[i]
	}
	return p, nil
}

func (p parts) close() {
	for _, fd := range p.one {
		_ = unix.Close(fd)
	}
	seqpacket.CloseAll(p.passed)
}

// take returns a descriptor that belongs to the caller from now on, or -1.
func (p *parts) take(name wire.File) int {
	fd, there := p.one[name]
	if !there {
		return -1
	}
	delete(p.one, name)
	return fd
}

func (p *parts) takePassed() []int {
	list := p.passed
	p.passed = nil
	return list
}

// pipe checks that a descriptor is there, and refers to a pipe.
func (p parts) pipe(name wire.File) error {
	var stat unix.Stat_t
	fd, there := p.one[name]
	if !there || unix.Fstat(fd, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFIFO {
		return fmt.Errorf("the %s is not a pipe", name)
	}
	return nil
}

// do carries out a request, and answers it unless it fails.
func (k *keeper) do(c *conn, r wire.Request, p *parts) error {
	switch {
	case r.Do == wire.Hello:
		return k.hello(c, r)
	case r.Do == wire.Upgrade:
		return k.upgrade(c, r)
	case k.daemon != c:
		return errors.New("say hello first")
	}
	switch r.Do {
	case wire.Start:
		return k.startAsked(c, r, p)
	case wire.Adopt:
		return k.adopt(c, r, p)
	case wire.List:
		return k.list(c, r)
	}
	kept := k.children[r.Process]
	if kept == nil {
		return fmt.Errorf("process %d is not kept here", r.Process.PID)
	}
	switch r.Do {
	case wire.Take:
		return k.take(c, r, kept)
	case wire.Leave:
		kept.read = false
		k.keepConsole(kept)
	case wire.Forget:
		if kept.end == nil {
			return fmt.Errorf("process %d still runs", r.Process.PID)
		}
		k.forget(kept)
	default:
		return fmt.Errorf("it is not known how to %q", r.Do)
	}
	k.answer(c, wire.Answer{ID: r.ID}, nil)
	return nil
}

// hello makes a connection the daemon's.
func (k *keeper) hello(c *conn, r wire.Request) error {
	answer := wire.Answer{ID: r.ID, Protocol: wire.Protocol, Build: version, Managed: os.Getenv(manager) != "", Pass: true}
	switch {
	case r.Protocol != wire.Protocol:
		answer.Err = fmt.Sprintf("this keeper (%s) speaks protocol %d, and the daemon (%s) protocol %d", version, wire.Protocol, r.Build, r.Protocol)
		k.answer(c, answer, nil)
		return nil
	case k.daemon != nil && k.daemon != c:
		return fmt.Errorf("another daemon, process %d, is connected", k.daemon.pid)
	case k.daemon == c:
		return errors.New("hello was said before")
	}
	k.daemon = c
	k.served = true
	k.readers = false
	k.noteClaim()
	for _, kept := range k.children {
		kept.read = r.Read && kept.end == nil
		if kept.end != nil || kept.read {
			k.stopKeeping(kept)
		}
	}
	k.keepAll()
	failpoint.Here("keeper/daemon-connected")
	k.answer(c, answer, nil)
	return nil
}

// startAsked starts a process, beside the loop.
func (k *keeper) startAsked(c *conn, r wire.Request, p *parts) error {
	if err := k.free(r.Name); err != nil {
		return err
	}
	for _, name := range []wire.File{wire.Gate, wire.Status, wire.Output, wire.Console} {
		if err := p.pipe(name); err != nil {
			return err
		}
	}
	o := order{
		name: r.Name, dirs: r.Dirs, line: p.take(wire.Order), gate: p.take(wire.Gate), status: p.take(wire.Status),
		output: p.take(wire.Output), console: p.take(wire.Console), cgroup: p.take(wire.Cgroup),
		passed: p.takePassed(),
	}
	k.names[r.Name] = &child{name: r.Name} // reserves the name
	null, oom := k.null, k.oom
	k.aside(func() func() {
		b, err := o.launch(null, oom)
		seqpacket.CloseAll(o.files())
		return func() { k.started(c, r, o, b, err) }
	})
	return nil
}

// free checks that no process of a name runs, and closes the history of the last.
func (k *keeper) free(name string) error {
	if n, err := messages.ParseName(name); err != nil || n.IsPath() || n.String() != name {
		return fmt.Errorf("%.100q is not the name of a unikernel", name)
	}
	if len(k.children)+k.asides.busy >= maxKept {
		return fmt.Errorf("%d processes are kept already, or have ended without that being acknowledged", len(k.children))
	}
	before := k.names[name]
	switch {
	case before == nil:
	case before.end != nil:
		k.stopKeeping(before)
	case before.process.PID == 0:
		return fmt.Errorf("%s is being started", name)
	default:
		if k.reap(before); before.end == nil {
			return fmt.Errorf("%s still runs, as process %d", name, before.process.PID)
		}
		k.stopKeeping(before)
	}
	return nil
}

// started keeps a started process. If its daemon has gone, its gate is closed, and it ends.
func (k *keeper) started(c *conn, r wire.Request, o order, b birth, err error) {
	delete(k.names, o.name)
	if err != nil {
		seqpacket.CloseAll(present(o.console))
		k.answer(c, wire.Answer{ID: r.ID, Err: errText(err)}, nil)
		return
	}
	kept := &child{
		name: o.name, process: b.process, pidfd: b.pidfd, console: o.console, memory: openKills(o.name, o.dirs), dirs: o.dirs,
		ours: true, read: k.daemon == c,
	}
	if err := k.keep(kept); err != nil { // no memory
		discard(b.process.PID)
		seqpacket.CloseAll(present(b.pidfd, o.console, kept.memory))
		k.answer(c, wire.Answer{ID: r.ID, Err: errText(err)}, nil)
		return
	}
	k.record(kept.entry())
	failpoint.Here("keeper/child-kept")
	k.answer(c, wire.Answer{ID: r.ID, Process: kept.process, Files: []wire.File{wire.Pidfd}}, []int{kept.pidfd})
}

// adopt keeps a process that is not our child.
func (k *keeper) adopt(c *conn, r wire.Request, p *parts) error {
	kept := k.children[r.Process]
	if kept == nil {
		if err := k.free(r.Name); err != nil {
			return err
		}
		if _, given := p.one[wire.Console]; given {
			if err := p.pipe(wire.Console); err != nil {
				return err
			}
		}
		kept = &child{
			name: r.Name, process: r.Process, pidfd: -1, console: p.take(wire.Console), memory: -1, dirs: r.Dirs,
			read: r.Read,
		}
		if err := k.hold(kept); err != nil {
			return err
		}
		k.record(kept.entry())
	}
	if kept.read = kept.read || r.Read && kept.end == nil; kept.read {
		k.stopKeeping(kept)
	}
	answer := wire.Answer{ID: r.ID, Process: kept.process, End: kept.end}
	if kept.end == nil {
		answer.Files = []wire.File{wire.Pidfd}
	}
	k.answer(c, answer, present(kept.pidfd))
	return nil
}

// take hands a console to the daemon.
func (k *keeper) take(c *conn, r wire.Request, kept *child) error {
	if kept.console < 0 {
		return errEnded
	}
	kept.read = true
	k.stopKeeping(kept)
	k.answer(c, wire.Answer{ID: r.ID, Files: []wire.File{wire.Console}}, []int{kept.console})
	return nil
}

// list answers with a part of what is kept.
func (k *keeper) list(c *conn, r wire.Request) error {
	all := make([]*child, 0, len(k.children))
	for _, kept := range k.children {
		if wire.Compare(kept.process, r.After) > 0 {
			all = append(all, kept)
		}
	}
	slices.SortFunc(all, func(a, b *child) int { return wire.Compare(a.process, b.process) })
	answer := wire.Answer{ID: r.ID}
	size := 0
	for _, kept := range all {
		if size += len(kept.name) + 128; len(answer.Kept) == wire.PerList || size > wire.MaxFrame/2 && len(answer.Kept) > 0 {
			answer.More = true
			break
		}
		answer.Kept = append(answer.Kept, wire.Kept{Name: kept.name, Process: kept.process, Child: kept.ours, Read: kept.read, End: kept.end})
	}
	k.answer(c, answer, nil)
	return nil
}

// answer sends an answer, now or when the socket has room.
func (k *keeper) answer(c *conn, a wire.Answer, files []int) {
	if c.closed {
		return
	}
	frame, err := wire.Encode(a)
	if err != nil {
		k.trouble.note("%v", err)
		k.drop(c)
		return
	}
	if len(c.out) == 0 {
		switch err := seqpacket.Send(c.fd, frame, files); err {
		case nil:
			return
		case unix.EAGAIN:
		default:
			k.unsendable(c, a, err)
			return
		}
	}
	own, err := duplicate(files)
	if err != nil {
		frame, _ = wire.Encode(wire.Answer{ID: a.ID, Err: errText(err)})
	}
	c.out = append(c.out, outgoing{frame, own})
}

// unsendable answers that descriptors cannot be sent.
func (k *keeper) unsendable(c *conn, a wire.Answer, err error) {
	if len(a.Files) == 0 {
		k.drop(c)
		return
	}
	k.answer(c, wire.Answer{ID: a.ID, Err: errText(os.NewSyscallError("sendmsg", err))}, nil)
}

func duplicate(files []int) (own []int, err error) {
	for _, fd := range files {
		other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			seqpacket.CloseAll(own)
			return nil, os.NewSyscallError("dup", err)
		}
		own = append(own, other)
	}
	return own, nil
}

// flush sends waiting answers.
func (k *keeper) flush(c *conn) {
	for len(c.out) > 0 {
		o := c.out[0]
		err := seqpacket.Send(c.fd, o.frame, o.files)
		if err == unix.EAGAIN {
			return
		}
		c.out = c.out[1:]
		seqpacket.CloseAll(o.files)
		if err != nil {
			k.drop(c)
			return
		}
	}
}

// report sends ends and troubles to the daemon.
func (k *keeper) report() {
	c := k.daemon
	if c == nil || len(c.out) > 0 || k.change != nil {
		return
	}
	for len(k.unreported) > 0 && !c.full {
		ended := k.unreported[0]
		if k.push(c, wire.Answer{Process: ended.process, Name: ended.name, End: ended.end}) {
			failpoint.Here("keeper/end-reported")
			ended.reported = true
			k.unreported = k.unreported[1:]
		}
	}
	for text := k.trouble.first(); text != "" && !c.full; text = k.trouble.first() {
		if k.push(c, wire.Answer{Err: text}) {
			k.trouble.removeOldest()
		}
	}
}

// push sends a message that is no answer. The connection is full if it had no room.
func (k *keeper) push(c *conn, a wire.Answer) (sent bool) {
	frame, err := wire.Encode(a)
	if err == nil {
		err = seqpacket.Send(c.fd, frame, nil)
	}
	if err != nil {
		c.full = true
		if err != unix.EAGAIN {
			k.drop(c)
		}
	}
	return err == nil
}
