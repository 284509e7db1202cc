package gateway

import (
	"errors"
	"io"

	"albatross/messages"
	"albatross/sockets/control"
	"albatross/sockets/wire"
)

// A Codec encodes and decodes the messages of a socket.
type Codec struct {
	// read reads one command of at most max bytes, and nothing after it. It returns
	// io.EOF if the client has left properly.
	read func(in *input, max int) (messages.Wire, error)
	// encode prepares an answer, or a part of a stream.
	encode func(m messages.Wire) encoding
}

// An encoding is a message that is about to be encoded.
type encoding struct {
	size int // in bytes, of an answer; what is in memory already does not count
	// append appends the frames of the message, once.
	append func(pieces [][]byte) ([][]byte, error)
}

// The protocols.
var (
	Wire    = Codec{readWire, encodeWire}       // of native albatross
	Control = Codec{readControl, encodeControl} // for what the native one lacks
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

// readControl reads commands that are too small to count their memory, except for the native
// message that follows some of them.
func readControl(in *input, max int) (messages.Wire, error) {
	m, err := control.Read(in, min(max, control.MaxItem))
	if control.Native(m.Payload) == nil || err != nil {
		return m, err
	}
	native, err := readWire(in, max)
	switch {
	case errors.Is(err, io.EOF):
		return messages.Wire{}, io.ErrUnexpectedEOF
	case err != nil:
		return messages.Wire{}, err
	}
	return control.Complete(m, native), nil
}

func encodeWire(m messages.Wire) encoding {
	if lines, ok := m.Payload.(messages.DataLines); ok {
		return encoding{append: func(pieces [][]byte) ([][]byte, error) {
			frames, err := wire.AppendLines(nil, m.Header, lines)
			return append(pieces, frames), err
		}}
	}
	measured := wire.Measure(fit(m))
	return encoding{measured.Size(), measured.AppendPieces}
}

// fit returns the answer to info in the form of the question.
func fit(m messages.Wire) messages.Wire {
	if infos, ok := m.Payload.(messages.SuccessInfos); ok {
		m.Payload = wire.FitInfo(infos.Form, infos.List)
	}
	return m
}

// encodeControl counts no memory: these answers are small, too, some 200 bytes a unikernel.
func encodeControl(m messages.Wire) encoding {
	return encoding{append: func(pieces [][]byte) ([][]byte, error) {
		answer, err := control.Append(nil, m)
		return append(pieces, answer), err
	}}
}
