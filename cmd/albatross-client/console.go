package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/client"
)

// consoleCount is how much history before the last run is shown by default.
const consoleCount = 20

func (a *app) consoleCommand() *cobra.Command {
	count := consoleCount
	var follow, past bool
	var since messages.Option[time.Time]
	c := a.aboutUnikernel(&cobra.Command{
		Use:   "console",
		Short: "Follow what a unikernel prints, until interrupted",
		Long: `Follow what a unikernel prints, until interrupted, also when it is gone.

It begins with all that is kept of the run that goes on, or of the last one, behind the
20 lines before that, which tell why the one before it ended. Where it is not known when
that began, as of one that is gone and asked for from afar, it begins with the last 20
lines. With --count it is so many lines exactly.

So many clients may follow a console (albatrossd --max-subscribers); one more takes
the place of the one that came first, which is told so and ends with exit code 115.`,
	}, func(c *cobra.Command, name messages.Name) error {
		subscribe, begin := messages.ConsoleSubscribe{Since: since}, beginning{few: consoleCount, print: a.linePrinter(name)}
		if !since.OK {
			subscribe.Count = messages.Some(count)
		}
		if !since.OK && !c.Flags().Changed("count") {
			if start, ok := a.started(c.Context(), name); ok {
				subscribe.Count, begin.start = messages.Some(keptLines), start
			}
		}
		return a.follow(c.Context(), name, subscribe, &begin, past)
	})
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with the lines that come, as without it")
	c.Flags().BoolVar(&past, "no-follow", false, "end behind the lines that there are now")
	excludeEachOther(c, "follow", "no-follow")
	c.Flags().VarP(one("N", parseInteger, &count), "count", "n", "begin with the last N lines, no more and no fewer; negative: all that there are")
	c.Flags().Var(maybe("TIME", parseTime, &since), "since", "begin with the lines since a time, such as "+sinceHelp)
	return c
}

// follow prints lines until it is interrupted, or only the existing ones.
func (a *app) follow(ctx context.Context, name messages.Name, subscribe messages.ConsoleSubscribe, begin *beginning, past bool) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	// If nobody reads our output, we hang while printing a line; a second interrupt ends
	// that.
	context.AfterFunc(ctx, stop)
	err := errors.Join(a.printLines(ctx, name, subscribe, begin, past), begin.end())
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (a *app) printLines(ctx context.Context, name messages.Name, subscribe messages.ConsoleSubscribe, begin *beginning, past bool) error {
	show := ignoreAnswer
	if a.format == nativeFormat {
		show = a.show
	}
	return a.lines(ctx, name, subscribe, past, show, begin.add)
}

// lines is linesOnce, and goes on when the daemon is restarted.
func (a *app) lines(ctx context.Context, name messages.Name, subscribe messages.ConsoleSubscribe, past bool,
	begin func(messages.Name, messages.Success) error, add func(messages.DataConsole) error,
) error {
	if past {
		return a.linesOnce(ctx, name, subscribe, past, begin, add)
	}
	var behind place
	return a.keepFollowing(ctx, func(ctx context.Context) error {
		return a.linesOnce(ctx, name, behind.subscription(subscribe), past, begin, func(line messages.DataConsole) error {
			if !behind.pass(line) {
				return nil
			}
			return add(line)
		})
	})
}

// linesOnce hands on the answer to a subscription, and the lines that follow: the existing ones, or all
// until ctx is done.
func (a *app) linesOnce(ctx context.Context, name messages.Name, subscribe messages.ConsoleSubscribe, past bool,
	begin func(messages.Name, messages.Success) error, add func(messages.DataConsole) error,
) error {
	conn, answer, err := a.open(ctx, name, subscribe)
	if err != nil {
		return err
	}
	defer conn.Close()
	if past && conn.OneCommand() {
		return errOnlySession
	}
	if past {
		if err := errors.Join(a.consoleExists(ctx, name, answer), conn.CloseWrite()); err != nil {
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

// linePrinter returns what prints the lines of a console.
func (a *app) linePrinter(name messages.Name) func(messages.DataConsole) error {
	return func(line messages.DataConsole) error {
		if a.format == jsonFormat {
			return a.print(asciiJSON(toLineObject(name, line)))
		}
		return a.print(lineText(line))
	}
}

// consoleExists returns an error if there is neither a console nor a unikernel: a daemon
// answers in the same way for a unikernel that may come later, and for one that has
// printed nothing.
func (a *app) consoleExists(ctx context.Context, name messages.Name, answer messages.Success) error {
	if answer != (messages.SuccessText{Text: "waiting for VM"}) {
		return nil
	}
	list := messages.Name{Path: name.Path}
	conn, answer, err := a.open(ctx, list, messages.ConsoleListInactive{})
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

func (a *app) inactiveConsolesCommand() *cobra.Command {
	var path messages.Path
	c := &cobra.Command{
		Use:   "inactive-consoles",
		Short: "Show the consoles of unikernels that are gone",
		Args:  positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			conn, answer, err := a.open(c.Context(), messages.Name{Path: path}, messages.ConsoleListInactive{})
			if err != nil {
				return err
			}
			asked := messages.Name{Path: path}
			return errors.Join(a.showList(asked, "inactive console", conn.Name(), answer), conn.Close())
		},
	}
	c.Flags().VarP(one("PATH", messages.ParsePath, &path), "path", "p", "only those at and below this path")
	return c
}
