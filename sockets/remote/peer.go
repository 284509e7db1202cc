package remote

import (
	"crypto/tls"
	"io"
	"time"

	"albatross/messages"
	"albatross/sockets/wire"
)

// recordSize is what a record of TLS can hold. Some clients drop what is behind a
// message in the same record, so each begins one, and most fill no more.
const recordSize = 16 << 10

// Patience is how long is waited for known clients.
type Patience struct {
	Step  time.Duration // for each further part of a stream or an answer
	Drain time.Duration // for the end of a stream that nobody wants
	Leave time.Duration // for a client to take note of the end
}

// DefaultPatience has room for clients with 20 kbit/s.
var DefaultPatience = Patience{Step: 2 * time.Minute, Drain: 2 * time.Minute, Leave: 5 * time.Second}

// stepSize is what a client has to send or take in the time of a step.
const stepSize = 256 << 10

// A peer is the client's end of an exchange. It reads and writes at most one thing
// at a time each.
type peer struct {
	tls      *tls.Conn
	header   messages.Header // of answers that are ours
	patience Patience

	in, out   int64 // bytes of streams
	readLeft  int   // of the step
	writeLeft int
	endless   bool // it may take as long as it likes to read on
}

// Read reads bytes of the client's stream.
func (p *peer) Read(b []byte) (int, error) {
	if p.readLeft <= 0 {
		p.readLeft = stepSize
		if err := p.tls.SetReadDeadline(time.Now().Add(p.patience.Step)); err != nil {
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
		if err := p.tls.SetWriteDeadline(time.Now().Add(p.patience.Step)); err != nil {
			return 0, err
		}
	}
	n, err := p.tls.Write(b)
	p.writeLeft -= n
	p.out += int64(n)
	return n, err
}

// follow takes away the deadlines: the client subscribes.
func (p *peer) follow() error {
	p.endless = true
	return p.tls.SetDeadline(time.Time{})
}

// fail tells the client why nothing comes of its command.
func (p *peer) fail(text messages.Public) error {
	frame, err := wire.AppendFrame(nil, messages.Wire{Header: p.header, Payload: messages.Failure{Text: text}})
	if err != nil {
		return err
	}
	_, err = p.Write(frame)
	return err
}

// drain reads the rest of a stream. Its time is limited as a whole: then the
// connection is cut off.
func (p *peer) drain(stream io.Reader) {
	defer p.hurry()()
	// What was in it is of no use, and why it ends, neither.
	_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{stream}, make([]byte, recordSize))
}

// hurry limits the time of a stream that nobody wants.
func (p *peer) hurry() (stop func()) {
	cut := time.AfterFunc(p.patience.Drain, func() { _ = p.tls.NetConn().Close() })
	return func() { cut.Stop() }
}

// leave ends the connection in good order. What the client has sent in addition is
// read, for otherwise it would not see the last answer.
func (p *peer) leave() {
	if p.tls.SetDeadline(time.Now().Add(p.patience.Leave)) != nil || p.tls.CloseWrite() != nil {
		return
	}
	raw := p.tls.NetConn()
	if c, ok := raw.(*meter); ok {
		raw = c.Conn
	}
	if half, ok := raw.(interface{ CloseWrite() error }); ok && half.CloseWrite() != nil {
		return
	}
	_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{raw}, make([]byte, recordSize))
}

// watch returns when a client that only listens has left, or says anything.
func (p *peer) watch() {
	_, _ = p.tls.Read(make([]byte, 1))
}
