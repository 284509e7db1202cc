package history

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"albatross/runtime/fifo"
)

// A Pipe is the end of a console from which a Log takes. Waiting for it occupies no
// thread. Stop and Close may be called at any time.
//
// The runtime of Go would poll the pipe all the time, so that each line written wakes a
// thread, which costs several times as much as all other work for the line. Instead, the
// runtime polls an epoll descriptor of our own, which reports the pipe once for each
// wait.
type Pipe struct {
	fifo  *os.File // not watched by the runtime
	epoll *os.File
}

// OpenPipe opens the console at path for reading and writing (see package fifo), so it
// has no end.
func OpenPipe(path string) (*Pipe, error) { return openPipe(path, fifo.OpenWriter) }

// OpenForeignPipe opens the console at path of another daemon's unikernel. It has an end,
// after which more may come.
func OpenForeignPipe(path string) (*Pipe, error) { return openPipe(path, fifo.OpenForeign) }

// WatchPipe is OpenPipe for an open file, which belongs to the pipe from then on. It closes
// the file if it fails.
func WatchPipe(f *os.File) (*Pipe, error) { return watched(f) }

func openPipe(path string, open func(string) (*os.File, error)) (*Pipe, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	return watched(f)
}

func watched(f *os.File) (*Pipe, error) {
	p, err := newPipe(f)
	if err != nil {
		return nil, fmt.Errorf("cannot watch console %s: %w", f.Name(), errors.Join(err, f.Close()))
	}
	return p, nil
}

func newPipe(f *os.File) (*Pipe, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // or the runtime would not poll it
		_ = unix.Close(epoll)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &Pipe{fifo: f, epoll: os.NewFile(uintptr(epoll), "epoll")}
	err = p.control(func(fd int) error {
		if err := unix.SetNonblock(fd, true); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		return os.NewSyscallError("epoll_ctl", unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{}))
	})
	if err != nil {
		return nil, errors.Join(err, p.epoll.Close())
	}
	return p, nil
}

// EndIfUnnamed reports whether the pipe of another daemon has lost its name. It ends then, if it
// has no writer.
func (p *Pipe) EndIfUnnamed() (bool, error) { return fifo.EndForeign(p.fifo) }

// Same reports whether both are ends of one pipe, whatever its name is now.
func (p *Pipe) Same(other *Pipe) bool {
	one, err := p.fifo.Stat()
	if err != nil {
		return false
	}
	two, err := other.fifo.Stat()
	return err == nil && os.SameFile(one, two)
}

// Stop ends the wait for output, now and later.
func (p *Pipe) Stop() { _ = p.epoll.SetReadDeadline(time.Unix(1, 0)) } // fails where it is closed

// Close closes the pipe.
func (p *Pipe) Close() error { return errors.Join(p.epoll.Close(), p.fifo.Close()) }

// wait waits until there may be something in the pipe. It returns io.EOF if it is empty
// and no writer is left.
func (p *Pipe) wait() error {
	conn, err := p.epoll.SyscallConn()
	if err != nil {
		return err
	}
	armed := false
	var failed error
	err = conn.Read(func(epoll uintptr) bool {
		if !armed {
			failed = p.arm(int(epoll))
			armed = true
		}
		var events [1]unix.EpollEvent
		n, err := unix.EpollWait(int(epoll), events[:], 0)
		failed = errors.Join(failed, os.NewSyscallError("epoll_wait", err))
		if n > 0 && events[0].Events&unix.EPOLLIN == 0 {
			failed = errors.Join(failed, io.EOF)
		}
		return n > 0 || failed != nil
	})
	return errors.Join(err, failed)
}

// arm makes epoll report the pipe once more.
func (p *Pipe) arm(epoll int) error {
	once := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
	return p.control(func(fd int) error {
		return os.NewSyscallError("epoll_ctl", unix.EpollCtl(epoll, unix.EPOLL_CTL_MOD, fd, &once))
	})
}

// control calls do with the descriptor of the pipe, which stays open meanwhile.
func (p *Pipe) control(do func(fd int) error) error {
	conn, err := p.fifo.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = do(int(fd)) })
	return errors.Join(err, failed)
}
