package remote

import (
	"crypto/tls"
	"encoding/binary"
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
	Idle  time.Duration // for the next command of a session
}

// DefaultPatience suits clients with 20 kbit/s.
var DefaultPatience = Patience{Step: 2 * time.Minute, Drain: 2 * time.Minute, Leave: 5 * time.Second, Idle: 5 * time.Minute}

// stepSize is how much a client must send or read in the time of a step.
const stepSize = 256 << 10

// A peer is the client's end of an exchange. One read and one write may be under way at a
// time.
type peer struct {
	tls      *tls.Conn
	header   messages.Header // of our own answers
	encode   encoding        // of our own answers
	patience Patience
	chunked  bool // in a session, what it is told is in chunks

	in, out   int64 // bytes of streams
	readLeft  int   // of the step
	writeLeft int
	endless   bool   // there are no deadlines
	chunk     []byte // of a session, while it is written
	dismissed atomic.Bool
}

// An encoding appends a message to dst, as it is sent.
type encoding func(dst []byte, m messages.Wire) ([]byte, error)

// Read reads bytes of the client's stream.
func (p *peer) Read(b []byte) (int, error) {
	if p.readLeft <= 0 && !p.endless {
		p.readLeft = stepSize
		if err := p.allow(p.tls.SetReadDeadline, 0); err != nil {
			return 0, err
		}
	}
	if !p.endless {
		b = b[:min(len(b), p.readLeft)]
	}
	n, err := p.tls.Read(b)
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
	if p.chunked {
		p.chunk = append(appendHead(p.chunk[:0], len(b)), b...)
		b = p.chunk
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
	answer, err := p.encode(nil, messages.Wire{Header: p.header, Payload: messages.Failure{Text: text}})
	if err != nil {
		return err
	}
	_, err = p.Write(answer)
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

// await waits for the next command of a session, and returns for which socket it is.
func (p *peer) await() (socket string, err error) {
	p.readLeft = stepSize
	err = p.tls.SetReadDeadline(time.Now().Add(p.patience.Idle))
	if p.dismissed.Load() { // perhaps just now
		p.dismiss()
	}
	if err != nil {
		return "", err
	}
	name, err := wire.ReadFrame(p, socketName)
	p.in, p.out, p.readLeft, p.writeLeft = 0, 0, 0, 0
	return string(name), err
}

// end marks the end of what a client is told in a conversation.
func (p *peer) end() error {
	if err := p.allow(p.tls.SetWriteDeadline, p.patience.Leave); err != nil {
		return err
	}
	return wire.WriteEnd(p.tls)
}

// appendHead appends the length of a chunk.
func appendHead(dst []byte, length int) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(length))
}
