package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/seqpacket"
)

// An Order is a process to start, which waits at its gate first; see package launcher.
type Order struct {
	Name   messages.Name // of a unikernel that does not run
	Argv   []string      // the program, by an absolute path, and its arguments
	Cgroup string        // directory of the cgroup (version 2) to start in; empty: that of the keeper
	Dirs   []string      // of its cgroup, and then their parents; see package wire
	// Both ends of a console: the standard output of the process, and the one to read, which
	// this program does until Leave. They stay the caller's.
	Output, Console *os.File
	// Files are what else the process gets, from descriptor launcher.Passed on. They stay the
	// caller's. A keeper of an older build refuses them with ErrOlder.
	Files []*os.File
}

// A Started is a process that waits at its gate. Until the gate is opened, it ends when this
// program does. The caller owns the descriptors.
type Started struct {
	Process messages.Process
	Pidfd   int
	Gate    *os.File // one byte opens it
	Status  *os.File // nonblocking
}

// Close closes the descriptors.
func (s *Started) Close() {
	if s.Pidfd >= 0 {
		seqpacket.CloseAll([]int{s.Pidfd})
	}
	closeFiles(s.Gate, s.Status)
}

func closeFiles(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// Start starts a process as a child of the keeper.
func (c *Client) Start(ctx context.Context, o Order) (*Started, error) {
	if len(o.Files) > 0 && !c.passes() {
		return nil, ErrOlder
	}
	s := &Started{Pidfd: -1}
	err := c.start(ctx, o, s)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("cannot start a process: %w", err)
	}
	return s, nil
}

func (c *Client) start(ctx context.Context, o Order, s *Started) (err error) {
	var p parcel
	defer p.close()
	p.own(wire.Order)(writeOrder(o.Argv))
	end, gate, err := pipe(0)
	p.own(wire.Gate)(end, err)
	s.Gate = gate
	status, end, err := pipe(unix.O_NONBLOCK)
	p.own(wire.Status)(end, err)
	s.Status = status
	p.lend(wire.Output, o.Output)
	p.lend(wire.Console, o.Console)
	for _, f := range o.Files {
		p.lend(wire.Passed, f)
	}
	if o.Cgroup != "" {
		p.own(wire.Cgroup)(os.OpenFile(o.Cgroup, unix.O_PATH|unix.O_DIRECTORY, 0))
	}
	if p.err != nil {
		return p.err
	}
	r := wire.Request{Do: wire.Start, Name: o.Name.String(), Dirs: o.Dirs, Files: p.names}
	a, err := c.ask(ctx, r, p.files)
	if err != nil {
		return err
	}
	if s.Process = a.Process; len(a.files) != 1 {
		seqpacket.CloseAll(a.files)
		return errors.New("the keeper has not sent the process")
	}
	s.Pidfd = a.files[0]
	return nil
}

// A parcel collects descriptors to send.
type parcel struct {
	names []wire.File
	files []*os.File
	owned []*os.File // to close when they were sent
	err   error      // why one is missing
}

func (p *parcel) lend(name wire.File, f *os.File) {
	p.names = append(p.names, name)
	p.files = append(p.files, f)
}

// own adds a file that the parcel closes.
func (p *parcel) own(name wire.File) func(*os.File, error) {
	return func(f *os.File, err error) {
		if err != nil {
			p.err = errors.Join(p.err, err)
			return
		}
		p.owned = append(p.owned, f)
		p.lend(name, f)
	}
}

func (p *parcel) close() { closeFiles(p.owned...) }

// pipe makes a pipe that blocks unless the flags say otherwise, as the launcher expects.
func pipe(flags int) (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|flags); err != nil {
		return nil, nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "|0"), os.NewFile(uintptr(fds[1]), "|1"), nil
}

// writeOrder writes a command line to a memfd, since it may be larger than a message.
func writeOrder(argv []string) (*os.File, error) {
	line := strings.Join(argv, "\x00") + "\x00"
	switch {
	case len(argv) == 0 || strings.Count(line, "\x00") != len(argv):
		return nil, errors.New("the command line is empty, or has a zero byte in it")
	case len(line) > wire.MaxOrder:
		return nil, fmt.Errorf("the command line of %d bytes is too long", len(line))
	}
	fd, err := unix.MemfdCreate("order", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "order")
	if _, err := io.WriteString(f, line); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// An Adopted is a process that the keeper keeps without being its parent.
type Adopted struct {
	Pidfd int       // belongs to the caller; -1 if it has ended
	End   *wire.End // nil if it runs
}

// Adopt makes the keeper keep a process on record that it does not keep yet. Its exit will
// be known as far as the kernel reveals it. With read, this program reads its console.
func (c *Client) Adopt(ctx context.Context, name messages.Name, p messages.Process, read bool, dirs []string) (Adopted, error) {
	a, err := c.ask(ctx, wire.Request{Do: wire.Adopt, Name: name.String(), Dirs: dirs, Process: p, Read: read}, nil)
	if err != nil {
		return Adopted{}, fmt.Errorf("cannot keep process %d: %w", p.PID, err)
	}
	adopted := Adopted{Pidfd: -1, End: a.End}
	if len(a.files) == 1 {
		adopted.Pidfd = a.files[0]
	}
	return adopted, nil
}

// List returns all kept processes.
func (c *Client) List(ctx context.Context) (list []wire.Kept, err error) {
	r := wire.Request{Do: wire.List}
	for {
		a, err := c.ask(ctx, r, nil)
		if err != nil {
			return nil, fmt.Errorf("cannot find out what the keeper keeps: %w", err)
		}
		list = append(list, a.Kept...)
		if !a.More || len(a.Kept) == 0 {
			return list, nil
		}
		r.After = list[len(list)-1].Process
	}
}

// Take returns the console of a process. This program reads it until Leave.
func (c *Client) Take(ctx context.Context, p messages.Process) (*os.File, error) {
	a, err := c.ask(ctx, wire.Request{Do: wire.Take, Process: p}, nil)
	if err == nil && len(a.files) != 1 {
		seqpacket.CloseAll(a.files)
		err = errors.New("the keeper has not sent it")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot take the console of process %d: %w", p.PID, err)
	}
	return os.NewFile(uintptr(a.files[0]), "console"), nil
}

// Leave makes the keeper read a console. The caller has stopped, and has closed its history.
func (c *Client) Leave(ctx context.Context, p messages.Process) error {
	return c.do(ctx, wire.Leave, p)
}

// Forget acknowledges the end of a process.
func (c *Client) Forget(ctx context.Context, p messages.Process) error {
	return c.do(ctx, wire.Forget, p)
}

func (c *Client) do(ctx context.Context, do wire.Verb, p messages.Process) error {
	if _, err := c.ask(ctx, wire.Request{Do: do, Process: p}, nil); err != nil {
		return fmt.Errorf("cannot make the keeper %s process %d: %w", do, p.PID, err)
	}
	return nil
}

// Upgrade replaces the keeper by another build, which continues with all that it keeps.
func (c *Client) Upgrade(ctx context.Context, program string) error {
	a, err := c.ask(ctx, wire.Request{Do: wire.Upgrade, Program: program}, nil)
	if err != nil {
		return err
	}
	c.learn(a)
	return nil
}
