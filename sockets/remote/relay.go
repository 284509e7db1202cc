package remote

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
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
func (x *exchange) relay() error {
	if x.conduct.Answers == messages.Forever {
		return x.relayForever()
	}
	if err := x.relayNext(); err != nil {
		return err
	}
	for x.conduct.Answers == messages.Dump && x.record.Result == Done {
		if err := x.daemon.SetReadDeadline(time.Now().Add(x.peer.patience.Step)); err != nil {
			return err
		}
		switch last, err := x.relayDump(); {
		case err != nil:
			return err
		case last:
			return nil
		}
	}
	return nil
}

// relayForever ends when either side leaves. That is no failure.
func (x *exchange) relayForever() error {
	if err := x.relayNext(); err != nil || x.record.Result == Failed {
		return err
	}
	if err := errors.Join(x.peer.follow(), x.daemon.SetDeadline(time.Time{})); err != nil {
		return err
	}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		x.peer.watch()
		_ = x.daemon.Close()
	}()
	for x.relayNext() == nil {
	}
	// The client is a subscriber: leave must not wait for it.
	_ = x.peer.tls.SetReadDeadline(time.Now())
	<-watching
	return nil
}

// relayNext passes on one message. It holds it in memory only if it fits into a record,
// or must be translated to an older version.
func (x *exchange) relayNext() error {
	head, length, err := x.readHead()
	switch {
	case err != nil && x.settled:
		return errCutOff
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errLate
	case err != nil:
		return client.ErrSilent
	case x.request.Version != messages.CurrentVersion:
		return x.translate(length)
	}
	x.buffer = slices.Grow(x.buffer[:0], recordSize)[:recordSize]
	n := copy(x.buffer, head)
	first := x.buffer[:min(n+length, recordSize)]
	if _, err := io.ReadFull(x.hears, first[n:]); err != nil {
		return errCutOff
	}
	x.judge(first[frameHead:], length)
	if _, err := x.peer.Write(first); err != nil {
		return errLeft
	}
	return x.pass(n + length - len(first))
}

// pass passes on the rest of a message, record by record.
func (x *exchange) pass(left int) error {
	for left > 0 {
		part := x.buffer[:min(left, recordSize)]
		if err := x.daemon.SetReadDeadline(time.Now().Add(x.peer.patience.Step)); err != nil {
			return errCutOff
		}
		if _, err := io.ReadFull(x.hears, part); err != nil {
			return errCutOff
		}
		if _, err := x.peer.Write(part); err != nil {
			return errLeft
		}
		left -= len(part)
	}
	return nil
}

// readHead reads the length of a message.
func (x *exchange) readHead() (head []byte, length int, err error) {
	head = make([]byte, frameHead)
	if _, err := io.ReadFull(x.hears, head); err != nil {
		return nil, 0, err
	}
	length = int(int32(binary.BigEndian.Uint32(head)))
	if length <= 0 {
		return nil, 0, wire.ErrEnd
	}
	return head, length, nil
}

// readMessage reads and decodes a message. It is valid until the next one is read.
func (x *exchange) readMessage(length int) (messages.Wire, error) {
	if length > wire.MaxChunk {
		return messages.Wire{}, errOldLarge
	}
	x.frame = slices.Grow(x.frame[:0], length)[:length]
	if _, err := io.ReadFull(x.hears, x.frame); err != nil {
		return messages.Wire{}, errCutOff
	}
	m, err := wire.Decode(x.frame)
	if err != nil {
		return messages.Wire{}, fmt.Errorf("cannot understand the daemon: %w", err)
	}
	return m, nil
}

// translate passes on a message in the version of the client.
func (x *exchange) translate(length int) error {
	m, err := x.readMessage(length)
	if err != nil {
		return err
	}
	x.judgeMessage(m)
	return x.say(m)
}

// say sends a message of the daemon, in a record of its own.
func (x *exchange) say(m messages.Wire) error {
	m.Header.Version = x.request.Version
	frame, err := wire.AppendFrame(x.buffer[:0], m)
	if err != nil {
		return fmt.Errorf("cannot say this in version %d: %w", x.request.Version, err)
	}
	x.buffer = frame
	for rest := frame; len(rest) > 0; {
		n := min(len(rest), recordSize)
		if _, err := x.peer.Write(rest[:n]); err != nil {
			return errLeft
		}
		rest = rest[n:]
	}
	return nil
}

// relayDump passes on a chunk of a dump, in chunks that fit into records.
func (x *exchange) relayDump() (last bool, err error) {
	_, length, err := x.readHead()
	if err != nil {
		return false, errCutOff
	}
	m, err := x.readMessage(length)
	if err != nil {
		return false, err
	}
	data, ok := m.Payload.(messages.DataBlock)
	if !ok {
		return false, errOddAnswer
	}
	if !data.Chunk.OK {
		return true, x.say(m)
	}
	for rest := data.Chunk.Value; len(rest) > 0; {
		n := min(len(rest), x.chunkSize())
		m.Payload = messages.DataBlock{Chunk: messages.Some(rest[:n])}
		if err := x.say(m); err != nil {
			return false, err
		}
		rest = rest[n:]
	}
	return false, nil
}

// chunkSize returns what fits into a record beside the name, which may be long.
func (x *exchange) chunkSize() int {
	const around = 100 // bytes of the message without its name and its chunk
	return min(dumpChunk, recordSize-around-len(x.request.Name.String()))
}

// judge finds out whether the daemon has accepted the command, from the beginning of a
// message of some length.
func (x *exchange) judge(beginning []byte, length int) {
	if x.settled {
		return
	}
	m, err := wire.Decode(beginning)
	if err != nil && length > len(beginning) && wire.BeginsFailure(beginning) {
		m.Payload = messages.Failure{Text: "a long text"}
	}
	x.judgeMessage(m)
}

func (x *exchange) judgeMessage(m messages.Wire) {
	if x.settled {
		return
	}
	x.settled, x.record.Result = true, Done
	if f, ok := m.Payload.(messages.Failure); ok {
		x.record.Result, x.record.Reason = Failed, string(f.Text)
	}
}
