package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
)

// logsOptions say what 'logs' prints of a console, and how.
type logsOptions struct {
	follow, times bool
	json          bool
	count         int
	since, until  messages.Option[time.Time]
}

func logsCommand(d *daemon, out *printer, complete completer, cons consoles) *cobra.Command {
	o := logsOptions{count: -1}
	c := &cobra.Command{
		Use:   "logs " + nameArgument + "...",
		Short: "Print what unikernels have printed",
		Long: `Print what unikernels have printed, without anything around it, also when they are gone: all
lines that the daemon keeps, some 1,000 of each. The lines of several unikernels are in the
order of their times, and have the names before them.`,
		Example: `  albatross-client logs web:site --since 10m -t
  albatross-client logs -f web:site web:mail`,
		Args:              atLeast(nameArgument),
		ValidArgsFunction: complete.moreNames,
		RunE: func(c *cobra.Command, args []string) error {
			names, err := parseNames(args)
			switch {
			case err != nil:
				return err
			case d.destination.csr:
				return usageError("--csr writes no request for 'logs': use 'console'")
			}
			l := newLabels(names, out.colours())
			if o.json = out.format == jsonFormat; o.json {
				l = nil
			}
			if o.follow {
				return logReader{out, cons}.followLogs(c.Context(), names, o, l)
			}
			return logReader{out, cons}.pastLogs(c.Context(), names, o, l)
		},
	}
	flags := c.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on with the lines that come, until interrupted")
	flags.VarP(one("N", parseInteger, &o.count), "count", "n", "only the last N lines of each; negative: all that there are")
	flags.Var(maybe("TIME", parseTime, &o.since), "since", "only the lines since a time, such as "+sinceHelp)
	flags.Var(maybe("TIME", parseTime, &o.until), "until", "only the lines before a time")
	flags.BoolVarP(&o.times, "timestamps", "t", false, "put its time before each line")
	excludeEachOther(c, "follow", "until")
	return c
}

// subscription returns what to ask for. A daemon can be asked for a time or for a number.
func (o logsOptions) subscription() messages.ConsoleSubscribe {
	if o.since.OK {
		return messages.ConsoleSubscribe{Since: o.since}
	}
	return messages.ConsoleSubscribe{Count: messages.Some(o.count)}
}

// text returns a line as it is printed.
func (o logsOptions) text(name messages.Name, line messages.DataConsole) string {
	if o.json {
		return asciiJSON(toLineObject(name, line))
	}
	if o.times {
		return timeText(line.Time) + " " + escapeLine(line.Line)
	}
	return escapeLine(line.Line)
}

// A logLine is a line of the console with a number.
type logLine struct {
	messages.DataConsole
	console int
}

// A logReader prints the lines of consoles without anything around them.
type logReader struct {
	out      *printer
	consoles consoles
}

// pastLogs prints the lines that there are.
func (lr logReader) pastLogs(ctx context.Context, names []messages.Name, o logsOptions, l labels) error {
	var all []logLine
	err := forEach(names, func(number int, name messages.Name) error {
		lines, err := lr.pastLines(ctx, name, o)
		for _, line := range lines {
			all = append(all, logLine{line, number})
		}
		return err
	})
	slices.SortStableFunc(all, func(x, y logLine) int { return x.Time.Compare(y.Time) })
	for _, line := range all {
		if failed := lr.out.print(l.before(line.console) + o.text(names[line.console], line.DataConsole)); failed != nil {
			return cmp.Or(err, failed)
		}
	}
	return err
}

// pastLines returns the wanted lines of one console.
func (lr logReader) pastLines(ctx context.Context, name messages.Name, o logsOptions) (list []messages.DataConsole, err error) {
	err = lr.consoles.lines(ctx, name, o.subscription(), true, ignoreAnswer, func(line messages.DataConsole) error {
		if !o.until.OK || line.Time.Before(o.until.Value) {
			list = append(list, line)
		}
		return nil
	})
	if o.since.OK && o.count >= 0 {
		list = list[max(0, len(list)-o.count):]
	}
	return list, err
}

// followLogs prints lines as they come, until it is interrupted, or nothing is left to follow.
func (lr logReader) followLogs(ctx context.Context, names []messages.Name, o logsOptions, l labels) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends us even if nobody reads our output
	var mu sync.Mutex            // guards the output, and failed
	var failed severalErrors
	var following sync.WaitGroup
	for number, name := range names {
		following.Go(func() {
			err := lr.consoles.lines(ctx, name, o.subscription(), false, ignoreAnswer, func(line messages.DataConsole) error {
				mu.Lock()
				defer mu.Unlock()
				return lr.out.print(l.before(number) + o.text(name, line))
			})
			if err != nil && ctx.Err() == nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	following.Wait()
	return failed.orNil()
}

// Labels are what is before the lines of each console: nothing if there is only one.
type labels []string

// palette are the colours of names, as the numbers of ECMA-48.
var palette = []int{36, 33, 32, 35, 34, 31}

func newLabels(names []messages.Name, coloured bool) (l labels) {
	if len(names) == 1 {
		return nil
	}
	width := 0
	for _, name := range names {
		width = max(width, len(shortName(name)))
	}
	for n, name := range names {
		label := fmt.Sprintf("%-*s | ", width, shortName(name))
		if coloured {
			label = fmt.Sprintf("\x1b[%dm%s\x1b[0m", palette[n%len(palette)], label)
		}
		l = append(l, label)
	}
	return l
}

func (l labels) before(console int) string {
	if l == nil {
		return ""
	}
	return l[console]
}
