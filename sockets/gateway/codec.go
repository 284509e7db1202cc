package gateway

import (
	"errors"
	"io"

	"albatross/messages"
	"albatross/sockets/events"
	"albatross/sockets/wire"
)

// A Codec is what is spoken on a socket.
type Codec struct {
	// read reads one command of at most max bytes, and nothing behind it. The
	// error is io.EOF where the client has left in good order.
	read func(in *input, max int) (messages.Wire, error)
	// append appends an answer, or a part of a stream, to pieces that it has made.
	append func(pieces [][]byte, m messages.Wire) ([][]byte, error)
}

// What is spoken.
var (
	Wire   = Codec{readWire, appendWire}     // as native albatross does
	Events = Codec{readEvents, appendEvents} // what native albatross cannot say
)

func readWire(in *input, max int) (messages.Wire, error) {
	frame, err := wire.ReadFrameWithin(in, max, in.hold)
	switch {
	case errors.Is(err, wire.ErrEnd):
		return messages.Wire{}, io.EOF
	case err != nil:
		return messages.Wire{}, err
	}
	return wire.Decode(frame)
}

// readEvents reads commands that are smaller than what needs no memory of all.
func readEvents(in *input, max int) (messages.Wire, error) { return events.Read(in, max) }

// appendWire gives the answer to info the form of the question.
func appendWire(pieces [][]byte, m messages.Wire) ([][]byte, error) {
	if infos, ok := m.Payload.(messages.SuccessInfos); ok {
		m.Payload = wire.FitInfo(infos.Form, infos.List)
	}
	return wire.AppendPieces(pieces, m)
}

func appendEvents(pieces [][]byte, m messages.Wire) ([][]byte, error) {
	answer, err := events.Append(nil, m)
	return append(pieces, answer), err
}
