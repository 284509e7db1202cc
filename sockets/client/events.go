package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"albatross/messages"
	"albatross/sockets/events"
)

// Ends asks how unikernels ended last: the one of a name, or all at and below a
// path, with names relative to it. The Conn must be one to the socket of events,
// and of no use for anything else afterwards.
func (c *Conn) Ends(ctx context.Context, name messages.Name) ([]messages.NamedEnd, error) {
	request, err := events.AppendRequest(nil, name, messages.EndList{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, AnswerTimeout, errNoAnswer)
	defer cancel()
	var answer messages.Payload
	err = c.during(ctx, func() (err error) {
		answer, err = c.exchangeEvents(request)
		return err
	})
	if err != nil {
		return nil, err
	}
	switch p := answer.(type) {
	case messages.SuccessEnds:
		return p.List, nil
	case messages.Failure:
		return nil, &Refusal{Name: name, Text: p.Text}
	}
	return nil, c.failed(fmt.Errorf("the answer is a %T", answer))
}

// exchangeEvents writes a request and reads the answer to it. A write that fails
// is no reason not to read: see exchange.
func (c *Conn) exchangeEvents(request []byte) (messages.Payload, error) {
	_, writeErr := c.conn.Write(request)
	answer, err := events.ReadAnswer(c.conn)
	switch {
	case err == nil:
		return answer, nil
	case writeErr != nil:
		return nil, fmt.Errorf("cannot send the command: %w", rootCause(writeErr))
	case err == io.EOF, errors.Is(err, syscall.ECONNRESET):
		return nil, ErrNoAnswer
	case err == io.ErrUnexpectedEOF:
		return nil, ErrClosed
	}
	return nil, rootCause(err)
}
