package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"

	"albatross/messages"
	"albatross/sockets/client"
)

// Consoles read what unikernels print, and print it.
type consoles struct {
	daemon    *daemon
	out       *printer
	inventory inventory
}

// follow prints lines until it is interrupted, or only the existing ones.
func (cs consoles) follow(ctx context.Context, name messages.Name, subscribe messages.ConsoleSubscribe, begin *beginning, past bool) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	// If nobody reads our output, we hang while printing a line; a second interrupt ends
	// that.
	context.AfterFunc(ctx, stop)
	err := errors.Join(cs.printLines(ctx, name, subscribe, begin, past), begin.end())
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (cs consoles) printLines(ctx context.Context, name messages.Name, subscribe messages.ConsoleSubscribe, begin *beginning, past bool) error {
	show := ignoreAnswer
	if cs.out.format == nativeFormat {
		show = cs.out.show
	}
	return cs.lines(ctx, name, subscribe, past, show, begin.add)
}

// lines is linesOnce, and goes on when the daemon is restarted.
func (cs consoles) lines(ctx context.Context, name messages.Name, subscribe messages.ConsoleSubscribe, past bool,
	begin func(messages.Name, messages.Success) error, add func(messages.DataConsole) error,
) error {
	if past {
		return cs.linesOnce(ctx, name, subscribe, past, begin, add)
	}
	var behind place
	return cs.daemon.keepFollowing(ctx, func(ctx context.Context) error {
		return cs.linesOnce(ctx, name, behind.subscription(subscribe), past, begin, func(line messages.DataConsole) error {
			if !behind.pass(line) {
				return nil
			}
			return add(line)
		})
	})
}

// linesOnce hands on the answer to a subscription, and the lines that follow: the existing ones, or all
// until ctx is done.
func (cs consoles) linesOnce(ctx context.Context, name messages.Name, subscribe messages.ConsoleSubscribe, past bool,
	begin func(messages.Name, messages.Success) error, add func(messages.DataConsole) error,
) error {
	conn, answer, err := cs.daemon.open(ctx, name, subscribe)
	if err != nil {
		return err
	}
	defer conn.Close()
	if past && conn.OneCommand() {
		return errOnlySession
	}
	if past {
		if err := errors.Join(cs.consoleExists(ctx, name, answer), conn.CloseWrite()); err != nil {
			return err
		}
	}
	if err := begin(conn.Name(), answer); err != nil {
		return err
	}
	for {
		line, err := conn.NextLine(ctx)
		if err == io.EOF || past && errors.Is(err, client.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := add(line); err != nil {
			return err
		}
	}
}

func ignoreAnswer(messages.Name, messages.Success) error { return nil }

// linePrinter returns what prints the lines of a console.
func (cs consoles) linePrinter(name messages.Name) func(messages.DataConsole) error {
	return func(line messages.DataConsole) error {
		if cs.out.format == jsonFormat {
			return cs.out.print(asciiJSON(toLineObject(name, line)))
		}
		return cs.out.print(lineText(line))
	}
}

// consoleExists returns an error if there is neither a console nor a unikernel: a daemon
// answers in the same way for a unikernel that may come later, and for one that has
// printed nothing.
func (cs consoles) consoleExists(ctx context.Context, name messages.Name, answer messages.Success) error {
	if answer != (messages.SuccessText{Text: "waiting for VM"}) {
		return nil
	}
	list := messages.Name{Path: name.Path}
	conn, answer, err := cs.daemon.open(ctx, list, messages.ConsoleListInactive{})
	if err != nil {
		return err
	}
	consoles, _ := answer.(messages.SuccessConsoles)
	if slices.ContainsFunc(consoles.List, func(n messages.Name) bool { return list.Relative(name) == n }) {
		return conn.Close()
	}
	return errors.Join(&client.Refusal{Name: name, Text: noConsole}, conn.Close())
}

// noConsole is our text: for the daemon it is no failure.
const noConsole = "there is no console of this name"
