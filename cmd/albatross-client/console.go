package main

import (
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
)

// consoleCount is how much history before the last run is shown by default.
const consoleCount = 20

func consoleCommand(complete completer, cons consoles) *cobra.Command {
	count := consoleCount
	var follow, past bool
	var since messages.Option[time.Time]
	c := complete.aboutUnikernel(&cobra.Command{
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
		subscribe, begin := messages.ConsoleSubscribe{Since: since}, beginning{few: consoleCount, print: cons.linePrinter(name)}
		if !since.OK {
			subscribe.Count = messages.Some(count)
		}
		if !since.OK && !c.Flags().Changed("count") {
			if start, ok := cons.started(c.Context(), name); ok {
				subscribe.Count, begin.start = messages.Some(keptLines), start
			}
		}
		return cons.follow(c.Context(), name, subscribe, &begin, past)
	})
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with the lines that come, as without it")
	c.Flags().BoolVar(&past, "no-follow", false, "end behind the lines that there are now")
	excludeEachOther(c, "follow", "no-follow")
	c.Flags().VarP(one("N", parseInteger, &count), "count", "n", "begin with the last N lines, no more and no fewer; negative: all that there are")
	c.Flags().Var(maybe("TIME", parseTime, &since), "since", "begin with the lines since a time, such as "+sinceHelp)
	return c
}
