package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"albatross/messages"
	"albatross/sockets/control"
)

// An EventStream reads events, as they happen.
type EventStream struct {
	conn   *Conn
	name   messages.Name
	stream *control.Stream
	begun  bool // something has arrived
}

// Events asks for the events of a name, or of all at and below a path, with names
// relative to it: those since a time, if one is given, and then all new ones. The Conn
// must be connected to the control socket, and cannot be used afterwards.
func (c *Conn) Events(ctx context.Context, name messages.Name, since messages.Option[time.Time]) (*EventStream, error) {
	request, err := control.AppendRequest(nil, name, messages.EventsSubscribe{Since: since})
	if err != nil {
		return nil, err
	}
	err = c.during(ctx, func() error {
		// A daemon that refuses may close before it has read all: Next returns the
		// reason.
		_, err := c.conn.Write(request)
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			return nil
		}
		return rootCause(err)
	})
	if err != nil {
		return nil, err
	}
	return &EventStream{conn: c, name: name, stream: control.NewStream(c.conn)}, nil
}

// Next waits for the next item: a messages.DataEvent, messages.DataMissed or
// messages.DataPresent. The stream ends only with the connection, which is an error: an
// *Ended if the daemon sends the reason.
func (e *EventStream) Next(ctx context.Context) (messages.Data, error) {
	var next messages.Payload
	err := e.conn.during(ctx, func() (err error) {
		next, err = e.stream.Next()
		return e.explain(err)
	})
	if err != nil {
		return nil, err
	}
	begun := e.begun
	e.begun = true
	switch p := next.(type) {
	case messages.DataEvent:
		list := []messages.DataEvent{p}
		asAsked(e.conn, e.name, list, func(d *messages.DataEvent) *messages.Name { return &d.Event.Name })
		return list[0], nil
	case messages.Data:
		return p, nil
	case messages.Failure:
		if begun {
			return nil, &Ended{Name: e.name, Text: string(p.Text)}
		}
		return nil, &Refusal{Name: e.name, Text: string(p.Text)}
	}
	return nil, e.conn.failed(fmt.Errorf("the stream has a %T in it", next))
}

// explain converts an error of the stream to one of this package.
func (e *EventStream) explain(err error) error {
	closed := err == io.EOF || errors.Is(err, syscall.ECONNRESET)
	switch {
	case err == nil:
		return nil
	case closed && !e.begun:
		return ErrNoAnswer
	case closed, err == io.ErrUnexpectedEOF:
		return ErrClosed
	}
	return e.conn.cause(err)
}
