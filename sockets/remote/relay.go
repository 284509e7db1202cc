package remote

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/control"
	"albatross/sockets/wire"
)

// dumpChunk is how much of a block device a message on TLS contains at most.
const dumpChunk = 16_000

var (
	errLate     = errors.New("the daemon has not answered in time")
	errOldLarge = errors.New("the answer is too long for a client that speaks this old a version")
	errCutOff   = errors.New("the daemon has closed the connection before the end")
	errLeft     = errors.New("the client has left before the end")
)

// relay passes on the daemon's answer, and what follows it.
func (e *exchange) relay() error {
	switch {
	case e.properties.Answers == messages.Forever && e.properties.At == messages.AtControl:
		return e.relayForever(e.relayItem)
	case e.properties.Answers == messages.Forever:
		return e.relayForever(e.relayNext)
	case e.native:
		return e.relayNatively()
	case e.properties.At == messages.AtControl:
		return e.relayControl()
	}
	if err := e.relayNext(); err != nil {
		return err
	}
	for e.properties.Answers == messages.Dump && e.record.Result == Done {
		if err := e.daemon.SetReadDeadline(time.Now().Add(e.peer.patience.Step)); err != nil {
			return err
		}
		switch last, err := e.relayDump(); {
		case err != nil:
			return err
		case last:
			return nil
		}
	}
	return nil
}

// relayNatively passes on the answer to a create on the control socket as a native one.
func (e *exchange) relayNatively() error {
	answer, err := control.ReadDone(e.fromDaemon)
	if err != nil {
		return e.unanswered(err)
	}
	if _, done := answer.(messages.Success); done {
		answer = messages.SuccessText{Text: "created unikernel"}
	}
	m := messages.Wire{Header: e.header(e.request.Name), Payload: answer}
	e.judgeMessage(m)
	return e.send(m)
}

// relayForever passes on message after message, and ends when either side leaves. That is no
// failure.
func (e *exchange) relayForever(next func() error) error {
	if err := next(); err != nil || e.record.Result == Failed {
		return err
	}
	if err := errors.Join(e.peer.follow(), e.daemon.SetDeadline(time.Time{})); err != nil {
		return err
	}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		e.watch()
	}()
	for next() == nil {
	}
	// The client is a subscriber: leave must not wait for it.
	_ = e.peer.tls.SetReadDeadline(time.Now())
	<-watching
	return nil
}

// watch waits until a subscriber leaves, or sends anything. In a session, one that says that it
// has said all gets what there is: the daemon ends the stream behind that.
func (e *exchange) watch() {
	if e.conversation == nil {
		_, _ = e.peer.Read(make([]byte, 1))
		_ = e.daemon.Close()
		return
	}
	_, err := e.conversation.Read(make([]byte, 1))
	if half, ok := e.daemon.(*net.UnixConn); !ok || err != io.EOF || half.CloseWrite() != nil {
		_ = e.daemon.Close()
	}
}

// relayNext passes on one message. It holds it in memory only if it fits into a record,
// or must be translated to an older version.
func (e *exchange) relayNext() error {
	head, length, err := e.readHead()
	switch {
	case err != nil:
		return e.unanswered(err)
	case e.request.Version != messages.CurrentVersion:
		return e.translate(length)
	}
	e.buffer = slices.Grow(e.buffer[:0], recordSize)[:recordSize]
	n := copy(e.buffer, head)
	first := e.buffer[:min(n+length, recordSize)]
	if _, err := io.ReadFull(e.fromDaemon, first[n:]); err != nil {
		return errCutOff
	}
	e.judge(first[frameHead:], length)
	e.partial = true
	if _, err := e.peer.Write(first); err != nil {
		return errLeft
	}
	err = e.pass(n + length - len(first))
	e.partial = err != nil
	return err
}

// unanswered returns why there is no message of the daemon, or no further one.
func (e *exchange) unanswered(err error) error {
	switch {
	case e.settled:
		return errCutOff
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errLate
	}
	return client.ErrSilent
}

// pass passes on the rest of a message, record by record.
func (e *exchange) pass(left int) error {
	for left > 0 {
		part := e.buffer[:min(left, recordSize)]
		if err := e.daemon.SetReadDeadline(time.Now().Add(e.peer.patience.Step)); err != nil {
			return errCutOff
		}
		if _, err := io.ReadFull(e.fromDaemon, part); err != nil {
			return errCutOff
		}
		if _, err := e.peer.Write(part); err != nil {
			return errLeft
		}
		left -= len(part)
	}
	return nil
}

// readHead reads the length of a message.
func (e *exchange) readHead() (head []byte, length int, err error) {
	head = make([]byte, frameHead)
	if _, err := io.ReadFull(e.fromDaemon, head); err != nil {
		return nil, 0, err
	}
	length = int(int32(binary.BigEndian.Uint32(head)))
	if length <= 0 {
		return nil, 0, wire.ErrEnd
	}
	return head, length, nil
}

// readMessage reads and decodes a message. It is valid until the next one is read.
func (e *exchange) readMessage(length int) (messages.Wire, error) {
	if length > wire.MaxChunk {
		return messages.Wire{}, errOldLarge
	}
	e.frame = slices.Grow(e.frame[:0], length)[:length]
	if _, err := io.ReadFull(e.fromDaemon, e.frame); err != nil {
		return messages.Wire{}, errCutOff
	}
	m, err := wire.Decode(e.frame)
	if err != nil {
		return messages.Wire{}, fmt.Errorf("cannot understand the daemon: %w", err)
	}
	return m, nil
}

// translate passes on a message in the version of the client.
func (e *exchange) translate(length int) error {
	m, err := e.readMessage(length)
	if err != nil {
		return err
	}
	e.judgeMessage(m)
	return e.send(m)
}

// send sends a message of the daemon, in a record of its own.
func (e *exchange) send(m messages.Wire) error {
	m.Header.Version = e.request.Version
	frame, err := wire.AppendFrame(e.buffer[:0], m)
	if err != nil {
		return fmt.Errorf("cannot say this in version %d: %w", e.request.Version, err)
	}
	e.buffer = frame
	return e.pour(frame)
}

// pour writes a whole message, record by record.
func (e *exchange) pour(message []byte) error {
	e.partial = true
	for rest := message; len(rest) > 0; {
		n := min(len(rest), recordSize)
		if _, err := e.peer.Write(rest[:n]); err != nil {
			return errLeft
		}
		rest = rest[n:]
	}
	e.partial = false
	return nil
}

// relayDump passes on a chunk of a dump, in chunks that fit into records.
func (e *exchange) relayDump() (last bool, err error) {
	_, length, err := e.readHead()
	if err != nil {
		return false, errCutOff
	}
	m, err := e.readMessage(length)
	if err != nil {
		return false, err
	}
	data, ok := m.Payload.(messages.DataBlock)
	if !ok {
		return false, errOddAnswer
	}
	if !data.Chunk.OK {
		return true, e.send(m)
	}
	for rest := data.Chunk.Value; len(rest) > 0; {
		n := min(len(rest), e.chunkSize())
		m.Payload = messages.DataBlock{Chunk: messages.Some(rest[:n])}
		if err := e.send(m); err != nil {
			return false, err
		}
		rest = rest[n:]
	}
	return false, nil
}

// chunkSize returns what fits into a record beside the name, which may be long.
func (e *exchange) chunkSize() int {
	const around = 100 // bytes of the message without its name and its chunk
	return min(dumpChunk, recordSize-around-len(e.request.Name.String()))
}

// judge finds out whether the daemon has accepted the command, from the beginning of a
// message of some length.
func (e *exchange) judge(beginning []byte, length int) {
	if e.settled {
		return
	}
	m, err := wire.Decode(beginning)
	if err != nil && length > len(beginning) && wire.BeginsFailure(beginning) {
		m.Payload = messages.Failure{Text: "a long text"}
	}
	e.judgeMessage(m)
}

func (e *exchange) judgeMessage(m messages.Wire) {
	if e.settled {
		return
	}
	e.settled, e.record.Result = true, Done
	if f, ok := m.Payload.(messages.Failure); ok {
		e.record.Result, e.record.Reason = Failed, string(f.Text)
	}
}
