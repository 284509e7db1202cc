package gateway

import (
	"errors"
	"io"

	"albatross/messages"
	"albatross/sockets/events"
	"albatross/sockets/wire"
)

// A Codec encodes and decodes the messages of a socket.
type Codec struct {
	// read reads one command of at most max bytes, and nothing after it. It returns
	// io.EOF if the client has left properly.
	read func(in *input, max int) (messages.Wire, error)
	// append appends the frames of an answer, or of a part of a stream.
	append func(pieces [][]byte, m messages.Wire) ([][]byte, error)
}

// The protocols.
var (
	Wire   = Codec{readWire, appendWire}     // of native albatross
	Events = Codec{readEvents, appendEvents} // for what the native one lacks
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

// readEvents reads commands that are too small to count their memory.
func readEvents(in *input, max int) (messages.Wire, error) { return events.Read(in, max) }

// appendWire answers info in the form of the question.
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
