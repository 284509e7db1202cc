package remote

import (
	"crypto/tls"
	"io"
	"sync/atomic"
	"time"

	"albatross/messages"
	"albatross/sockets/wire"
)

// recordSize is the capacity of a TLS record. Some clients drop what follows a message in
// the same record, so each message begins a record, and most fit into one.
const recordSize = 16 << 10

// Patience bounds the waiting for verified clients.
type Patience struct {
	Step  time.Duration // for each further part of a stream or an answer
	Drain time.Duration // for the rest of a stream that is not needed
	Leave time.Duration // for a client to read the end of the connection
}

// DefaultPatience suits clients with 20 kbit/s.
var DefaultPatience = Patience{Step: 2 * time.Minute, Drain: 2 * time.Minute, Leave: 5 * time.Second}

// stepSize is how much a client must send or read in the time of a step.
const stepSize = 256 << 10

// A peer is the client's end of an exchange. One read and one write may be under way at a
// time.
type peer struct {
	tls      *tls.Conn
	header   messages.Header // of our own answers
	patience Patience

	in, out   int64 // bytes of streams
	readLeft  int   // of the step
	writeLeft int
	endless   bool // reading has no deadline
	dismissed atomic.Bool
}

// Read reads bytes of the client's stream.
func (p *peer) Read(b []byte) (int, error) {
	if p.readLeft <= 0 {
		p.readLeft = stepSize
		if err := p.allow(p.tls.SetReadDeadline, 0); err != nil {
			return 0, err
		}
	}
	n, err := p.tls.Read(b[:min(len(b), p.readLeft)])
	p.readLeft -= n
	p.in += int64(n)
	return n, err
}

// Write writes a part of an answer, at most a record.
func (p *peer) Write(b []byte) (int, error) {
	if p.writeLeft <= 0 && !p.endless {
		p.writeLeft = stepSize
		if err := p.allow(p.tls.SetWriteDeadline, p.patience.Leave); err != nil {
			return 0, err
		}
	}
	n, err := p.tls.Write(b)
	p.writeLeft -= n
	p.out += int64(n)
	return n, err
}

// allow sets the deadline of a step, which is another one if the client is dismissed.
func (p *peer) allow(set func(time.Time) error, dismissed time.Duration) error {
	err := set(time.Now().Add(p.patience.Step))
	if p.dismissed.Load() { // perhaps just now
		err = set(time.Now().Add(dismissed))
	}
	return err
}

// follow removes the deadlines for a subscriber.
func (p *peer) follow() error {
	p.endless = true
	err := p.tls.SetDeadline(time.Time{})
	if p.dismissed.Load() { // perhaps just now
		p.dismiss()
	}
	return err
}

// dismiss ends what is being read, and gives what is written as long as the client gets
// to leave. It may be called beside all else.
func (p *peer) dismiss() {
	p.dismissed.Store(true)
	now := time.Now()
	_, _ = p.tls.SetReadDeadline(now), p.tls.SetWriteDeadline(now.Add(p.patience.Leave)) // where that fails it has left
}

// fail sends the client the reason of a failure.
func (p *peer) fail(text messages.Public) error {
	frame, err := wire.AppendFrame(nil, messages.Wire{Header: p.header, Payload: messages.Failure{Text: text}})
	if err != nil {
		return err
	}
	_, err = p.Write(frame)
	return err
}

// drain reads the rest of a stream, in limited time; then it cuts the connection off.
func (p *peer) drain(stream io.Reader) {
	defer p.hurry()()
	// Neither the contents nor the error matter.
	_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{stream}, make([]byte, recordSize))
}

// hurry limits the time of a stream that is not needed.
func (p *peer) hurry() (stop func()) {
	cut := time.AfterFunc(p.patience.Drain, func() { _ = p.tls.NetConn().Close() })
	return func() { cut.Stop() }
}

// leave closes the connection properly. It reads what the client has sent in addition,
// since otherwise the client would not see the last answer.
func (p *peer) leave() {
	if p.tls.SetDeadline(time.Now().Add(p.patience.Leave)) != nil || p.tls.CloseWrite() != nil {
		return
	}
	raw := p.tls.NetConn()
	if c, ok := raw.(*countedConn); ok {
		raw = c.Conn
	}
	if half, ok := raw.(interface{ CloseWrite() error }); ok && half.CloseWrite() != nil {
		return
	}
	_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{raw}, make([]byte, recordSize))
}

// watch returns when a subscriber leaves, or sends anything.
func (p *peer) watch() {
	_, _ = p.tls.Read(make([]byte, 1))
}
