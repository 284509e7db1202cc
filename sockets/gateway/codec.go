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
	// size returns how many bytes append makes for an answer.
	size func(m messages.Wire) int
	// append appends the frames of an answer, or of a part of a stream.
	append func(pieces [][]byte, m messages.Wire) ([][]byte, error)
}

// The protocols.
var (
	Wire   = Codec{readWire, sizeWire, appendWire}       // of native albatross
	Events = Codec{readEvents, sizeEvents, appendEvents} // for what the native one lacks
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

func sizeWire(m messages.Wire) int { return wire.OwnSize(fit(m)) }

func appendWire(pieces [][]byte, m messages.Wire) ([][]byte, error) {
	if lines, ok := m.Payload.(messages.DataLines); ok {
		frames, err := wire.AppendLines(nil, m.Header, lines)
		return append(pieces, frames), err
	}
	return wire.AppendPieces(pieces, fit(m))
}

// fit returns the answer to info in the form of the question.
func fit(m messages.Wire) messages.Wire {
	if infos, ok := m.Payload.(messages.SuccessInfos); ok {
		m.Payload = wire.FitInfo(infos.Form, infos.List)
	}
	return m
}

// sizeEvents counts no memory: these answers are small, too, some 200 bytes a unikernel.
func sizeEvents(messages.Wire) int { return 0 }

func appendEvents(pieces [][]byte, m messages.Wire) ([][]byte, error) {
	answer, err := events.Append(nil, m)
	return append(pieces, answer), err
}
