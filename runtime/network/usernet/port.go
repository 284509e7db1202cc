package usernet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"albatross/runtime/network/wire"
)

const (
	// sendBuffer is the room for frames that a station has not read yet, in bytes, as far as the
	// kernel allows. It is the queue to the station: what has no room is lost.
	sendBuffer = 1 << 20
	// broadcasts and burstOfBroadcasts bound the frames to all stations that one may send, per
	// second. Further ones are refused: they would fill the queues of the others.
	broadcasts        = 200
	burstOfBroadcasts = 400
	// shortest is the least time for which a limited station may send at once.
	shortest = 100 * time.Millisecond
)

// An admitted is a station of the network, attached or not. It holds the limits and the counters, which
// outlast a descriptor.
type admitted struct {
	wire.Station
	limit      *rate.Limiter
	broadcasts *rate.Limiter
	refused    *atomic.Uint64
	lost       *atomic.Uint64
}

func newAdmitted(s wire.Station, mtu int) *admitted {
	return &admitted{
		Station: s, limit: rate.NewLimiter(limitOf(s, mtu)), broadcasts: rate.NewLimiter(broadcasts, burstOfBroadcasts),
		refused: new(atomic.Uint64), lost: new(atomic.Uint64),
	}
}

// again is a station that is admitted once more, with another name, address or rate.
func (s *admitted) again(next wire.Station, mtu int) *admitted {
	changed := *s
	changed.Station = next
	if next.Rate != s.Rate {
		changed.limit = rate.NewLimiter(limitOf(next, mtu))
	}
	return &changed
}

// limitOf returns how many bytes a station may send per second, and at once.
func limitOf(s wire.Station, mtu int) (rate.Limit, int) {
	if s.Rate == 0 {
		return rate.Inf, 0
	}
	return rate.Limit(s.Rate), max(etherHead+mtu, int(s.Rate*int64(shortest)/int64(time.Second)))
}

// A port is the switch's end of the connection to a station: a net.Conn whose Read and Write
// exchange one frame each. What the station must not send is not read. Write never waits and
// never fails, so that a station which does not read costs nobody else anything.
type port struct {
	judge   judge
	answer  func(s wire.Station, frame []byte) (reply []byte, ours bool) // of what is not for the switch
	station atomic.Pointer[admitted]
	file    *os.File
	raw     syscall.RawConn
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	plugged chan struct{} // closed by the second Read: frames for the station come here from then on
	reads   int           // by the switch so far, 3 at most
}

// newPort owns the descriptor from now on, except after an error.
func (n *Network) newPort(s *admitted, fd int) (*port, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return nil, errors.New("the descriptor is not a socket")
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || domain != unix.AF_UNIX || kind != unix.SOCK_SEQPACKET {
		return nil, errors.New("the descriptor is not a Unix socket that preserves messages")
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	p := &port{judge: n.judge, answer: n.neighbour, file: os.NewFile(uintptr(fd), s.MAC.String()), plugged: make(chan struct{})}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, err
	}
	p.station.Store(s)
	p.ctx, p.cancel = context.WithCancel(n.ctx)
	return p, nil
}

// Read returns the next frame that the station may send. A limited one waits for its turn here,
// and its socket fills up.
func (p *port) Read(b []byte) (int, error) {
	switch p.reads = min(p.reads+1, 3); p.reads {
	case 1:
		return p.announce(b), nil
	case 2:
		close(p.plugged)
	}
	for {
		n, err := p.receive(b)
		if err != nil {
			return 0, err
		}
		s := p.station.Load()
		if !p.judge.admits(s.Station, b[:n]) || isForAll(b[:n]) && !s.broadcasts.Allow() {
			s.refused.Add(1)
			continue
		}
		if err := s.limit.WaitN(p.ctx, n); err != nil {
			return 0, io.EOF
		}
		reply, ours := p.answer(s.Station, b[:n])
		if !ours {
			return n, nil
		}
		if reply != nil {
			_, _ = p.Write(reply) // which never fails
		}
	}
}

// isForAll reports whether the first bit of a destination says that it is not one station.
func isForAll(frame []byte) bool { return frame[0]&1 != 0 }

// announce returns a frame of the station to the gateway, which drops it. The switch learns from
// it where the station is: one that has replaced another, with an address that it knows, may wait
// for frames before it sends any.
func (p *port) announce(b []byte) int {
	mac := p.station.Load().MAC
	n := copy(b, p.judge.gateway[:])
	n += copy(b[n:], mac[:])
	return n + copy(b[n:], experimental[:])
}

// experimental is an EtherType that nobody uses (IEEE 802, Local Experimental 1).
var experimental = [2]byte{0x88, 0xb5}

// receive returns the next frame. An empty one is not the end, if the station is still there.
func (p *port) receive(b []byte) (n int, err error) {
	failed := p.raw.Read(func(fd uintptr) bool {
		for err = unix.EINTR; err == unix.EINTR; { // the daemon has the same socket, and may let it block
			n, _, err = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
		}
		if n == 0 && err == nil && ended(int(fd)) {
			err = io.EOF
		}
		return err != unix.EAGAIN
	})
	return n, errors.Join(failed, err)
}

// ended reports whether nobody has the other end any more.
func ended(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(poll, 0)
	return err == nil && poll[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// Write sends a frame to the station, if there is room for it.
func (p *port) Write(frame []byte) (int, error) {
	sent := unix.EBADF
	err := p.raw.Control(func(fd uintptr) {
		sent = unix.EINTR
		for sent == unix.EINTR {
			sent = errno(unix.Sendmsg(int(fd), frame, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL))
		}
	})
	if err != nil || sent != 0 {
		p.station.Load().lost.Add(1)
	}
	return len(frame), nil
}

func errno(err error) syscall.Errno {
	e, _ := err.(syscall.Errno) // Sendmsg returns no other
	return e
}

// duplicate returns another descriptor of the connection, which belongs to the caller.
func (p *port) duplicate() (fd int, err error) {
	failed := p.raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(failed, err)
}

// Close ends Read.
func (p *port) Close() error {
	p.cancel()
	return p.file.Close()
}

// The rest of a net.Conn, which the switch does not use.
func (p *port) LocalAddr() net.Addr              { return p }
func (p *port) RemoteAddr() net.Addr             { return p }
func (p *port) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (p *port) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (p *port) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
func (p *port) Network() string                  { return "seqpacket" }
func (p *port) String() string                   { return p.station.Load().MAC.String() }
