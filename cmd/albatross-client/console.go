package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
)

// consoleCount is how much history is shown where nothing is said.
const consoleCount = 20

func (a *app) consoleCommand() *cobra.Command {
	count := consoleCount
	var since messages.Option[time.Time]
	c := &cobra.Command{
		Use:               "console " + nameArgument,
		Short:             "Follow what a unikernel prints, until interrupted",
		Args:              positional(nameArgument),
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(nameArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			subscribe := messages.ConsoleSubscribe{Since: since}
			if !since.OK {
				subscribe.Count = messages.Some(count)
			}
			return a.follow(c.Context(), name, subscribe)
		},
	}
	c.Flags().Var(one("N", parseNumber, &count), "count", "begin with the last N lines")
	c.Flags().Var(maybe("TIME", parseTime, &since), "since", "begin with the lines since a time, such as 2026-01-02T15:04:05Z")
	return c
}

// follow prints lines until it is interrupted, which is how it is meant to end.
func (a *app) follow(ctx context.Context, name messages.Name, subscribe messages.ConsoleSubscribe) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	// Whoever does not read our output has us wait with a line in hand; a second
	// interrupt ends that.
	context.AfterFunc(ctx, stop)
	err := a.printLines(ctx, name, subscribe)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (a *app) printLines(ctx context.Context, name messages.Name, subscribe messages.ConsoleSubscribe) error {
	conn, answer, err := a.open(ctx, consoleSocket, name, subscribe)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := a.show(conn.Name(), answer); err != nil {
		return err
	}
	for {
		line, err := conn.NextLine(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := a.print(lineText(line)); err != nil {
			return err
		}
	}
}
