package control

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"albatross/messages"
)

type event struct {
	Name   string          `cbor:"1,keyasint"`
	Code   *int            `cbor:"2,keyasint,omitempty"`
	Signal *int            `cbor:"3,keyasint,omitempty"`
	Time   time.Time       `cbor:"4,keyasint"`
	Number uint64          `cbor:"5,keyasint"`
	Kind   string          `cbor:"6,keyasint"`
	Cause  messages.Public `cbor:"7,keyasint,omitempty"`
	Memory bool            `cbor:"9,keyasint,omitempty"`
	Usage  *usage          `cbor:"10,keyasint,omitempty"`
}

type missed struct {
	Count uint64 `cbor:"8,keyasint"`
}

// present follows the events from before the request.
var present = all

func appendData(dst []byte, data messages.Data) ([]byte, error) {
	switch p := data.(type) {
	case messages.DataEvent:
		return appendItem(dst, toEvent(p.NumberedEvent))
	case messages.DataMissed:
		return appendItem(dst, missed{p.Count})
	case messages.DataPresent:
		return append(dst, present...), nil
	}
	return dst, fmt.Errorf("internal error: a %T cannot be said on the control socket", data)
}

func toEvent(n messages.NumberedEvent) event {
	e := event{
		Name:   n.Event.Name.String(),
		Time:   n.Event.Time(),
		Number: n.Number,
		Kind:   string(n.Event.Kind),
		Cause:  n.Event.Cause,
	}
	if n.Event.Exit.OK {
		e.Code, e.Signal = fromExit(n.Event.Exit.Value)
		e.Memory = n.Event.Exit.Value.OutOfMemory
	}
	e.Usage = fromUsage(n.Event.Usage)
	return e
}

// A Stream reads events.
type Stream struct{ r *bufio.Reader }

// NewStream returns a Stream of the events that answer a request. It may read ahead.
func NewStream(r io.Reader) *Stream { return &Stream{bufio.NewReader(r)} }

// Next waits for the next item: a messages.DataEvent, messages.DataMissed or
// messages.DataPresent, or a messages.Failure, which is the last. It returns io.EOF if
// there is none, and io.ErrUnexpectedEOF if it is cut off.
func (s *Stream) Next() (messages.Payload, error) {
	b, err := readItem(s.r, MaxEvent)
	switch {
	case err != nil:
		return nil, err
	case bytes.Equal(b, present):
		return messages.DataPresent{}, nil
	}
	p, err := decodeData(b)
	if err != nil {
		return nil, fmt.Errorf("cannot understand an event: %w", err)
	}
	return p, nil
}

func decodeData(b []byte) (messages.Payload, error) {
	var item struct {
		Failure *string `cbor:"0,keyasint"`
		Missed  *uint64 `cbor:"8,keyasint"`
		event
	}
	if err := decMode.Unmarshal(b, &item); err != nil {
		return nil, err
	}
	switch {
	case item.Failure != nil:
		return messages.Failure{Text: messages.Public(*item.Failure)}, nil
	case item.Missed != nil:
		return messages.DataMissed{Count: *item.Missed}, nil
	}
	n, err := item.numbered()
	return messages.DataEvent{NumberedEvent: n}, err
}

func (e event) numbered() (n messages.NumberedEvent, err error) {
	n.Number = e.Number
	n.Event = messages.Event{Kind: messages.EventKind(e.Kind), AtMillis: e.Time.UnixMilli(), Cause: e.Cause}
	switch {
	case e.Kind == "":
		return n, errors.New("it is of no kind")
	case e.Time.IsZero():
		return n, errors.New("it has no time")
	}
	if n.Event.Name, err = messages.ParseName(e.Name); err != nil {
		return n, err
	}
	if n.Event.Usage, err = toUsage(e.Usage); err != nil {
		return n, err
	}
	exit, err := toExit(e.Code, e.Signal, e.Memory)
	if exit.Known || n.Event.Kind == messages.EventExited {
		n.Event.Exit = messages.Some(exit)
	}
	return n, err
}
