package control

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"albatross/messages"
)

// maxList is far more than a host has, and limits the memory for an answer.
const maxList = 1 << 20

// all is the item after the last one of a list: an empty map.
var all = []byte{0xa0}

type failure struct {
	Text string `cbor:"0,keyasint"`
}

type end struct {
	Name     string          `cbor:"1,keyasint"`
	Code     *int            `cbor:"2,keyasint,omitempty"`
	Signal   *int            `cbor:"3,keyasint,omitempty"`
	Time     time.Time       `cbor:"4,keyasint,omitzero"`
	Restarts int             `cbor:"5,keyasint"`
	Found    time.Time       `cbor:"6,keyasint,omitzero"`
	Waits    time.Time       `cbor:"7,keyasint,omitzero"`
	Cause    messages.Public `cbor:"8,keyasint,omitempty"`
	Memory   bool            `cbor:"9,keyasint,omitempty"`
	Usage    *usage          `cbor:"10,keyasint,omitempty"`
	Stopped  time.Time       `cbor:"11,keyasint,omitzero"`
}

type usage struct {
	UserMicros   int64 `cbor:"1,keyasint"`
	SystemMicros int64 `cbor:"2,keyasint"`
	MaxMemory    int64 `cbor:"3,keyasint,omitempty"`
}

// Append appends the answer to a request to dst.
func Append(dst []byte, m messages.Wire) ([]byte, error) {
	switch p := m.Payload.(type) {
	case messages.SuccessEnds:
		return appendEnds(dst, p.List)
	case messages.SuccessStatuses:
		return appendStatuses(dst, p.List)
	case messages.SuccessOwners:
		return appendOwners(dst, p.List)
	case messages.SuccessHistory:
		return appendHistory(dst, p)
	case messages.SuccessSettings:
		return appendSettings(dst, p.List)
	case messages.SuccessNetworks:
		return appendNetworks(dst, p.List)
	case messages.SuccessText: // an action was carried out
		return append(dst, all...), nil
	case messages.SuccessEvents: // the events themselves are the answer
		return dst, nil
	case messages.Data:
		return appendData(dst, p)
	case messages.Failure: // of any bytes, but text is UTF-8 here
		return appendItem(dst, failure{strings.ToValidUTF8(string(p.Text), "\uFFFD")})
	}
	return dst, fmt.Errorf("internal error: a %T cannot be said on the control socket", m.Payload)
}

func appendEnds(dst []byte, list []messages.NamedEnd) (_ []byte, err error) {
	for _, e := range list {
		if dst, err = appendItem(dst, toEnd(e)); err != nil {
			return dst, err
		}
	}
	return append(dst, all...), nil
}

func toEnd(n messages.NamedEnd) end {
	e := end{Name: n.Name.String(), Restarts: n.End.Restarts}
	e.Code, e.Signal = fromExit(n.End.Exit)
	e.Memory = n.End.Exit.OutOfMemory
	e.Usage = fromUsage(n.End.Usage)
	e.Time, e.Found = fromMillis(n.End.AtMillis), fromMillis(n.End.FoundMillis)
	e.Stopped = fromMillis(n.StoppedMillis)
	if n.Wait.OK {
		e.Waits, e.Cause = n.Wait.Value.Since, n.Wait.Value.Cause
	}
	return e
}

// fromMillis returns a time; 0: the zero time.
func fromMillis(millis int64) (t time.Time) {
	if millis != 0 {
		t = time.UnixMilli(millis)
	}
	return t
}

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromExit returns an exit in wire form: at most one of both is not nil.
func fromExit(exit messages.Exit) (code, signal *int) {
	switch {
	case !exit.Known:
	case exit.Signal != 0:
		signal = &exit.Signal
	default:
		code = &exit.Code
	}
	return code, signal
}

// toExit parses that form.
func toExit(code, signal *int, memory bool) (messages.Exit, error) {
	switch {
	case code != nil && signal != nil:
		return messages.Exit{}, errors.New("it has both an exit code and a signal")
	case code != nil:
		return messages.Exit{Known: true, Code: *code}, nil
	case signal != nil && *signal < 1:
		return messages.Exit{}, fmt.Errorf("there is no signal %d", *signal)
	case signal != nil:
		return messages.Exit{Known: true, Signal: *signal, OutOfMemory: memory}, nil
	}
	return messages.Exit{}, nil
}

func fromUsage(u messages.Option[messages.Usage]) *usage {
	if !u.OK {
		return nil
	}
	return &usage{u.Value.UserMicros, u.Value.SystemMicros, u.Value.MaxMemory}
}

func toUsage(u *usage) (known messages.Option[messages.Usage], err error) {
	switch {
	case u == nil:
		return known, nil
	case min(u.UserMicros, u.SystemMicros, u.MaxMemory) < 0:
		return known, errors.New("it has used less than nothing")
	}
	return messages.Some(messages.Usage{UserMicros: u.UserMicros, SystemMicros: u.SystemMicros, MaxMemory: u.MaxMemory}), nil
}

func (e end) named() (n messages.NamedEnd, err error) {
	if n.Name, err = messages.ParseName(e.Name); err != nil {
		return n, err
	}
	n.End.Restarts = e.Restarts
	if n.End.Exit, err = toExit(e.Code, e.Signal, e.Memory); err != nil {
		return n, err
	}
	if n.End.Usage, err = toUsage(e.Usage); err != nil {
		return n, err
	}
	n.End.AtMillis, n.End.FoundMillis = toMillis(e.Time), toMillis(e.Found)
	n.StoppedMillis = toMillis(e.Stopped)
	if !e.Waits.IsZero() {
		n.Wait = messages.Some(messages.Wait{Since: e.Waits.UTC(), Cause: e.Cause})
	}
	return n, nil
}

// ReadAnswer reads the answer to a request for ends, and all items of it: a
// messages.SuccessEnds, or a messages.Failure. It returns io.EOF if there is none, and
// io.ErrUnexpectedEOF if it is cut off.
func ReadAnswer(r io.Reader) (messages.Payload, error) { return readAnswer(r, maxList) }

// readAnswer is ReadAnswer for at most so many ends.
func readAnswer(r io.Reader, most int) (messages.Payload, error) {
	list, failure, err := readList(r, most, MaxItem, readEnd)
	switch {
	case err != nil:
		return nil, err
	case failure != nil:
		return *failure, nil
	}
	return messages.SuccessEnds{List: list}, nil
}

// ReadItem reads one item of an answer, for whoever passes it on, and what it says if it is a
// failure. Errors are those of ReadAnswer.
func ReadItem(r io.Reader) (item []byte, refused *messages.Failure, err error) {
	if item, err = readItem(r, MaxEvent); err != nil {
		return nil, nil, err
	}
	var said struct {
		Text *string `cbor:"0,keyasint"`
	}
	if err := decMode.Unmarshal(item, &said); err != nil {
		return nil, nil, fmt.Errorf("cannot understand the answer: %w", err)
	}
	if said.Text != nil {
		refused = &messages.Failure{Text: messages.Public(*said.Text)}
	}
	return item, refused, nil
}

// readList reads items, of at most so many bytes each, up to the final one or a failure.
func readList[T any](r io.Reader, most, size int, one func([]byte) (T, error)) ([]T, *messages.Failure, error) {
	r = bufio.NewReader(r)
	var list []T
	for len(list) <= most {
		b, err := readItem(r, size)
		switch {
		case err == io.EOF && len(list) > 0:
			return nil, nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, nil, err
		case bytes.Equal(b, all):
			return list, nil, nil
		}
		var refused struct {
			Text *string `cbor:"0,keyasint"`
		}
		err = decMode.Unmarshal(b, &refused)
		if err == nil && refused.Text != nil {
			return nil, &messages.Failure{Text: messages.Public(*refused.Text)}, nil
		}
		var item T
		if err == nil {
			item, err = one(b)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("cannot understand the answer: %w", err)
		}
		list = append(list, item)
	}
	return nil, nil, fmt.Errorf("cannot read the answer: it has more than %d items", most)
}

// ReadDone reads the answer to a request for an action: a messages.SuccessEmpty, or a
// messages.Failure. Errors are those of ReadAnswer.
func ReadDone(r io.Reader) (messages.Payload, error) {
	none := func([]byte) (struct{}, error) { return struct{}{}, errors.New("it has something in it") }
	_, failure, err := readList(r, 0, MaxItem, none)
	switch {
	case err != nil:
		return nil, err
	case failure != nil:
		return *failure, nil
	}
	return messages.SuccessEmpty{}, nil
}

func readEnd(b []byte) (messages.NamedEnd, error) {
	var e end
	if err := decMode.Unmarshal(b, &e); err != nil {
		return messages.NamedEnd{}, err
	}
	return e.named()
}
