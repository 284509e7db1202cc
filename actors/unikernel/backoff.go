package unikernel

import (
	"slices"
	"strings"
	"time"

	"albatross/messages"
)

// How a unikernel ends that does not understand its arguments: as MirageOS has it,
// and as the library cmdliner has it where that is on its own.
const (
	exitArguments   = 64
	exitCommandLine = 124
)

// restarts tells whether a unikernel that has ended by itself is started again.
// Exits that another start would not change never restart: 1 is how a tender
// refuses, 60 to 64 and 123 to 125 is how a unikernel refuses its arguments or
// ends after a bug of its own; and a signal is how somebody ended it on purpose, or
// it was broken. One that was killed for want of memory has failed, with no code. An
// end that nobody saw is none of these as far as we know.
func restarts(args messages.Arguments, exit messages.Exit) bool {
	switch {
	case !args.Fail.Restart, asksForText(args.Argv.Value):
		return false
	case !exit.Known:
		return true
	case exit.OutOfMemory:
		return len(args.Fail.Codes) == 0
	case exit.Signal != 0, exit.Code == 1, exit.Code >= 60 && exit.Code <= 64, exit.Code >= 123 && exit.Code <= 125:
		return false
	}
	return len(args.Fail.Codes) == 0 || slices.Contains(args.Fail.Codes, exit.Code)
}

// asksForText tells whether a unikernel has been asked to tell how it is used, or
// which version it is, and no more.
func asksForText(argv []string) bool {
	for _, arg := range argv {
		switch {
		case arg == "--": // what follows are no options
			return false
		case arg == "--version", arg == "--help", strings.HasPrefix(arg, "--help="):
			return true
		}
	}
	return false
}

// refusesArguments tells whether that is how it has ended.
func refusesArguments(exit messages.Exit) bool {
	return exit.Known && exit.Signal == 0 && (exit.Code == exitArguments || exit.Code == exitCommandLine)
}

// A unikernel that is restarted waits before, so that one that always fails
// does not eat the machine.
const (
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 30 * time.Second
	healthyAfter   = time.Minute // running for this long, it starts anew
)

// A backoff is the pause before the next restart.
type backoff struct {
	pause time.Duration // the last one
	since time.Time     // of the current run
}

func (b *backoff) started(now time.Time) { b.since = now }

// ended is how long to wait after a run, or after a start that has failed.
func (b *backoff) ended(now time.Time) time.Duration {
	if !b.since.IsZero() && now.Sub(b.since) >= healthyAfter {
		b.pause = 0
	}
	b.since = time.Time{}
	b.pause = min(max(2*b.pause, firstBackoff), longestBackoff)
	return b.pause
}
