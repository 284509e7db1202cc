package session

import (
	"context"
	"errors"
	"io"

	"albatross/actors/supervise"
	"albatross/messages"
)

// The failures that replace lost answers.
const (
	hasFailed = "internal error: the daemon failed while it handled this; its log tells more"
	hasGone   = "internal error: what was asked for has just gone; try again"
)

func receiveFrom(c *supervise.Context, client Client) {
	c.Go(func(context.Context) any {
		wire, err := client.Read()
		return received{wire, err}
	})
}

func writeTo(c *supervise.Context, client Client, list []messages.Wire) {
	c.Go(func(context.Context) any { return written{client.Write(list)} })
}

// hangUp ends a session. It does not log that a client has left.
func hangUp(c *supervise.Context, cause error) {
	if !errors.Is(cause, io.EOF) {
		c.Log().Info("Closing connection", "cause", cause)
	}
	c.Stop(c.Self())
}

func closeClient(c *supervise.Context, client Client) {
	if err := client.Close(); err != nil {
		c.Log().Debug("Cannot close connection", "error", err)
	}
}
