package main

import (
	"context"
	"errors"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
)

// The daemon may be restarted while a client follows something: the client connects again, and
// goes on behind what it has seen, from afar in a new session, if the endpoint still allows that. Not so
// with native's output, whose readers may wait for the end, and not with a certificate for one command.

const (
	// patientFor is how long a client waits for a daemon that has gone.
	patientFor = time.Minute
	// connectPause is between two tries.
	connectPause = 200 * time.Millisecond
)

const hasGoneAway = "the daemon has gone: waiting for it to come back"

// keepFollowing follows until it is over: after the daemon has gone, follow is called again.
func (d *daemon) keepFollowing(ctx context.Context, follow func(context.Context) error) error {
	err := follow(ctx)
	for d.out.format != nativeFormat && d.goesOn() && errors.Is(err, client.ErrClosed) {
		d.out.message(warning, hasGoneAway)
		if err = followAgain(ctx, follow, err); err == nil {
			return nil
		}
	}
	return err
}

// goesOn reports whether another connection can follow the first one.
func (d *daemon) goesOn() bool {
	return !d.destination.given() || d.destination.address != "" && d.destination.made == nil && !d.sessions.none.Load()
}

// isOurs reports whether another connection can follow the first one, and there is a control socket,
// which native daemons do not have.
func (d *daemon) isOurs(ctx context.Context) bool {
	if !d.goesOn() || d.socket != "" {
		return false
	}
	conn, err := d.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// isAway reports whether an error says that there is no daemon, or no endpoint, for now.
func isAway(err error) bool {
	var connect *client.ConnectError
	var refusal *client.Refusal
	return errors.As(err, &connect) || errors.Is(err, client.ErrNoAnswer) || errors.As(err, &refusal) && refusal.Text == client.NoDaemon
}

// followAgain calls follow until there is a daemon, for a while. The error of before tells why that
// is necessary.
func followAgain(ctx context.Context, follow func(context.Context) error, before error) error {
	pause := time.NewTicker(connectPause)
	defer pause.Stop()
	for over := time.Now().Add(patientFor); time.Now().Before(over); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
		err := follow(ctx)
		if !isAway(err) {
			return err
		}
	}
	return before
}

// A place is how far a console was read: all lines before a time, and so many of that time.
type place struct {
	at   time.Time
	many int
	skip int // lines of that time that are repeated
}

// subscription returns what to ask for to go on behind the place; first is for one where nothing was
// read.
func (p *place) subscription(first messages.ConsoleSubscribe) messages.ConsoleSubscribe {
	if p.at.IsZero() {
		return first
	}
	p.skip = p.many
	return messages.ConsoleSubscribe{Since: messages.Some(p.at)}
}

// pass reports whether a line is new, and then moves the place behind it.
func (p *place) pass(line messages.DataConsole) bool {
	switch {
	case !line.Time.Equal(p.at):
		p.at, p.many, p.skip = line.Time, 1, 0
	case p.skip > 0:
		p.skip--
		return false
	default:
		p.many++
	}
	return true
}
