package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"albatross/messages"
	"albatross/sockets/client"
)

// A statsFollower prints statistics as they come.
type statsFollower struct {
	daemon    *daemon
	out       *printer
	inventory inventory
}

// followStats prints statistics until it is interrupted. If the daemon ends the stream,
// that is an error, since something may be missing.
func (s statsFollower) followStats(ctx context.Context, name messages.Name) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // see follow
	err := s.keepPrinting(ctx, name)
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, client.ErrClosed) {
		s.out.message(warning, "the daemon has been stopped, or it is a native one and somebody else follows "+nameText(name))
	}
	return err
}

// keepPrinting goes on when a daemon of ours is restarted. A native one ends the stream for the sake of
// another follower, and two of them must not do that to each other again and again.
func (s statsFollower) keepPrinting(ctx context.Context, name messages.Name) error {
	follow := func(ctx context.Context) error { return s.printStats(ctx, name) }
	if !s.daemon.isOurs(ctx) {
		return follow(ctx)
	}
	return s.daemon.keepFollowing(ctx, follow)
}

func (s statsFollower) printStats(ctx context.Context, name messages.Name) error {
	conn, answer, err := s.daemon.open(ctx, name, messages.StatsSubscribe{})
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.out.format == nativeFormat {
		if err := s.out.show(conn.Name(), answer); err != nil {
			return err
		}
	}
	s.warnIdle(ctx, name)
	for {
		relative, data, err := conn.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		stats, ok := data.(messages.DataStats)
		if !ok {
			return fmt.Errorf("%w (%T)", errOddAnswer, data)
		}
		if err := s.out.print(s.statsLine(inFull(conn.Name().Path, relative), stats)); err != nil {
			return err
		}
	}
}

func (s statsFollower) statsLine(name messages.Name, stats messages.DataStats) string {
	if s.out.format == jsonFormat {
		return statsJSON(name, stats)
	}
	return statsText(name, stats)
}

// warnIdle warns if what is followed does not run: nothing follows until it does. Only
// the daemon on this machine is asked, which need not answer.
func (s statsFollower) warnIdle(ctx context.Context, name messages.Name) {
	if s.daemon.destination.given() || s.daemon.socket != "" || name == (messages.Name{}) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	if _, infos, err := s.inventory.infos(ctx, name); err == nil && empty(infos) {
		s.inventory.warnNothing(name, "unikernel", true)
	}
}
