package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/keeper/wire"
)

// stateVersion is raised when older builds would misread a state.
const stateVersion = 1

const (
	// acceptTimeout bounds the other build's reply that it can read the state.
	acceptTimeout = 10 * time.Second
	// changeTimeout bounds the wait for what runs beside the loop.
	changeTimeout = 10 * time.Second
)

// A change is an upgrade under way. It happens when nothing runs beside the loop. Until then
// requests wait in their sockets.
type change struct {
	conn     *conn
	id       uint64 // of the request
	program  string
	accepted bool // the program can read the state
}

// A state is what another build continues with: descriptors, and what they are. The process
// stays the same, and so its children stay its children.
type state struct {
	Version  int          `cbor:"1,keyasint"`
	Lock     int          `cbor:"2,keyasint"`
	Listener int          `cbor:"3,keyasint"`
	Asker    int          `cbor:"4,keyasint"` // the connection to answer
	ID       uint64       `cbor:"5,keyasint"`
	OOM      string       `cbor:"6,keyasint,omitempty"`
	Conns    []connState  `cbor:"7,keyasint"`
	Protocol int          `cbor:"8,keyasint"` // that the daemon speaks
	Children []childState `cbor:"9,keyasint"`

	Transient bool `cbor:"10,keyasint,omitempty"`
	Served    bool `cbor:"11,keyasint,omitempty"`
}

type connState struct {
	FD     int  `cbor:"1,keyasint"`
	PID    int  `cbor:"2,keyasint"`
	Daemon bool `cbor:"3,keyasint,omitempty"`
}

type childState struct {
	Name     string           `cbor:"1,keyasint"`
	Process  messages.Process `cbor:"2,keyasint"`
	Pidfd    int              `cbor:"3,keyasint"`
	Console  int              `cbor:"4,keyasint"`
	Memory   int              `cbor:"5,keyasint"`
	Ours     bool             `cbor:"6,keyasint,omitempty"`
	Read     bool             `cbor:"7,keyasint,omitempty"`
	Reported bool             `cbor:"8,keyasint,omitempty"`
	End      *wire.End        `cbor:"9,keyasint,omitempty"`
	Dirs     []string         `cbor:"10,keyasint,omitempty"`
}

// files returns the descriptors in the state.
func (s state) files() []int {
	list := []int{s.Lock, s.Listener}
	for _, c := range s.Conns {
		list = append(list, c.FD)
	}
	for _, c := range s.Children {
		list = append(list, present(c.Pidfd, c.Console, c.Memory)...)
	}
	return list
}

// upgrade asks the other build whether it can read the state.
func (k *keeper) upgrade(c *conn, r wire.Request) error {
	if !filepath.IsAbs(r.Program) {
		return fmt.Errorf("cannot execute %q: it is no absolute path", r.Program)
	}
	if k.daemon != nil && k.daemon != c {
		return fmt.Errorf("another daemon, process %d, is connected", k.daemon.pid)
	}
	mine := &change{conn: c, id: r.ID, program: r.Program}
	k.change = mine
	k.aside(func() func() {
		err := accepts(r.Program)
		return func() {
			if mine.accepted = err == nil; err != nil {
				k.unchanged(mine, err)
			}
		}
	})
	k.after(changeTimeout+acceptTimeout, func() { k.unchanged(mine, errors.New("work under way does not end")) })
	return nil
}

// accepts returns nil if a program says that it can read the state.
func accepts(program string) error {
	ctx, cancel := context.WithTimeout(context.Background(), acceptTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, program, "--accepts="+strconv.Itoa(stateVersion))
	c.Env, c.Dir, c.WaitDelay = []string{}, "/", acceptTimeout
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not take over: %w: %.300s", filepath.Base(program), err, out)
	}
	return nil
}

// unchanged ends an upgrade that has failed.
func (k *keeper) unchanged(c *change, err error) {
	if k.change != c {
		return
	}
	k.change = nil
	k.answer(c.conn, wire.Answer{ID: c.id, Err: errText(fmt.Errorf("cannot upgrade the keeper: %w", err))}, nil)
}

// tryChange executes the other build when nothing runs beside the loop.
func (k *keeper) tryChange() {
	c := k.change
	if c == nil || !c.accepted || k.asides.busy > 0 {
		return
	}
	for _, conn := range k.conns {
		if len(conn.out) > 0 {
			return
		}
	}
	if c.conn.closed { // nobody waits for it
		k.change = nil
		return
	}
	k.unchanged(c, k.execute(c))
	k.keepAll()
}

// execute becomes the other build. It returns only if it fails.
func (k *keeper) execute(c *change) error {
	k.mayRead() // or it gives up the histories, which a daemon may have written to
	for _, kept := range k.children {
		if kept.log != nil && !kept.log.Sync() {
			return errors.New("the history of a console is in memory, since it cannot be written")
		}
	}
	if k.rewrite(); k.journal.lacks {
		return errors.New("the journal cannot be written")
	}
	for _, kept := range k.children {
		k.stopKeeping(kept)
	}
	s := k.state(c)
	file, err := writeState(s)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(file) }()
	inherited := append(s.files(), file)
	inherit(inherited, 0)
	failpoint.Here("keeper/becoming-another")
	defer inherit(inherited, unix.FD_CLOEXEC)
	arguments := []string{c.program, "--dbdir=" + filepath.Dir(k.dir), "--resume=" + strconv.Itoa(file)}
	err = syscall.Exec(c.program, arguments, os.Environ())
	return fmt.Errorf("cannot execute %s: %w", c.program, err)
}

func (k *keeper) state(c *change) state {
	s := state{
		Version: stateVersion, Lock: k.lock, Listener: k.listener,
		Asker: c.conn.fd, ID: c.id, OOM: k.oom, Protocol: wire.Protocol,
		Transient: k.transient, Served: k.served,
	}
	for _, conn := range k.conns {
		s.Conns = append(s.Conns, connState{FD: conn.fd, PID: conn.pid, Daemon: conn == k.daemon})
	}
	for _, kept := range k.children {
		s.Children = append(s.Children, childState{
			Name: kept.name, Process: kept.process, Pidfd: kept.pidfd, Console: kept.console, Memory: kept.memory,
			Ours: kept.ours, Read: kept.read, Reported: kept.reported, End: kept.end, Dirs: kept.dirs,
		})
	}
	return s
}

// inherit sets whether an exec closes descriptors.
func inherit(files []int, flag int) {
	for _, fd := range files {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag) // they are open
	}
}

// writeState writes a state to a memfd.
func writeState(s state) (fd int, err error) {
	data, err := messages.Encode(s)
	if err != nil {
		return -1, err
	}
	if fd, err = unix.MemfdCreate("keeper", unix.MFD_CLOEXEC); err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	for len(data) > 0 && err == nil {
		var n int
		n, err = unix.Write(fd, data)
		data = data[max(0, n):]
	}
	if err == nil {
		_, err = unix.Seek(fd, 0, io.SeekStart)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("write", err)
	}
	return fd, nil
}

func readState(fd int) (s state, err error) {
	f := os.NewFile(uintptr(fd), "state")
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(f)
	if err == nil {
		err = messages.Decode(data, &s)
	}
	if err == nil && s.Version != stateVersion {
		err = fmt.Errorf("it has version %d", s.Version)
	}
	if err != nil {
		return s, fmt.Errorf("cannot continue with the state of another build: %w", err)
	}
	return s, nil
}

// resume continues for another build.
func (k *keeper) resume(fd int) error {
	s, err := readState(fd)
	if err != nil {
		return err
	}
	inherit(s.files(), unix.FD_CLOEXEC)
	k.lock, k.listener, k.oom = s.Lock, s.Listener, s.OOM
	k.transient, k.served = s.Transient, s.Served
	if err := k.watchListener(); err != nil {
		return err
	}
	for _, c := range s.Conns {
		conn := &conn{fd: c.FD, pid: c.PID}
		if err := k.add(conn); err != nil {
			return err
		}
		if c.Daemon && s.Protocol == wire.Protocol {
			k.daemon = conn
		}
	}
	for _, c := range s.Children {
		if err := k.goOn(c); err != nil {
			return err
		}
	}
	failpoint.Here("keeper/resumed")
	k.rewrite()
	if asker := k.conns[s.Asker]; asker != nil {
		k.answer(asker, wire.Answer{ID: s.ID, Protocol: wire.Protocol, Build: version, Pass: true}, nil)
	}
	return nil
}

// goOn adds a process that another build has kept.
func (k *keeper) goOn(s childState) error {
	c := &child{
		name: s.Name, process: s.Process, pidfd: s.Pidfd, console: s.Console, memory: s.Memory,
		dirs: s.Dirs, ours: s.Ours, read: s.Read, reported: s.Reported, end: s.End,
	}
	if c.end == nil {
		return k.keep(c)
	}
	k.children[c.process] = c
	if !c.reported || k.daemon == nil {
		c.reported = false
		k.unreported = append(k.unreported, c)
	}
	k.keepConsole(c)
	return nil
}
