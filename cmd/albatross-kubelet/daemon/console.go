package daemon

import (
	"context"
	"errors"
	"io"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
)

// Lines calls print for the lines that a unikernel has printed since a time, and with follow for those
// that come, until ctx is done or the console ends.
func (d Daemon) Lines(ctx context.Context, name messages.Name, since time.Time, follow bool, print func(messages.DataConsole) error) error {
	conn, err := d.dial(ctx, messages.AtConsole)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Ask(ctx, name, messages.ConsoleSubscribe{Since: messages.Some(since)}); err != nil {
		return err
	}
	if !follow {
		if err := conn.CloseWrite(); err != nil {
			return err
		}
	}
	for {
		line, err := conn.NextLine(ctx)
		switch {
		case err == io.EOF, !follow && errors.Is(err, client.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		if err := print(line); err != nil {
			return err
		}
	}
}
