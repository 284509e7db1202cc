package unikernel

import (
	"slices"
	"strings"
	"time"

	"albatross/messages"
)

// The exit codes of a unikernel that does not understand its arguments: of MirageOS, and
// of the library cmdliner on its own.
const (
	exitArguments   = 64
	exitCommandLine = 124
)

// restarts reports whether a unikernel that has ended by itself is started again. It is
// not after exits that another start would not change: with 1 a tender refuses, with 60
// to 64 and 123 to 125 a unikernel refuses its arguments or has a bug of its own; a
// signal means that somebody ended it on purpose, or that it was broken. A unikernel that
// was killed for lack of memory has failed, without a code. An unknown end is none of
// these as far as we know.
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

// asksForText reports whether a unikernel was asked to print its usage or its version,
// and no more.
func asksForText(argv []string) bool {
	for _, arg := range argv {
		switch {
		case arg == "--": // the rest are no options
			return false
		case arg == "--version", arg == "--help", strings.HasPrefix(arg, "--help="):
			return true
		}
	}
	return false
}

// refusesArguments reports whether a unikernel has refused its arguments.
func refusesArguments(exit messages.Exit) bool {
	return exit.Known && exit.Signal == 0 && (exit.Code == exitArguments || exit.Code == exitCommandLine)
}

// A restart is delayed, so that a unikernel that always fails does not use up the
// machine.
const (
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 30 * time.Second
	healthyAfter   = time.Minute // after running so long, the backoff starts anew
)

// A backoff is the pause before the next restart.
type backoff struct {
	pause time.Duration // the last one
	since time.Time     // of the current run
}

func (b *backoff) started(now time.Time) { b.since = now }

// ended returns how long to wait after a run, or after a failed start.
func (b *backoff) ended(now time.Time) time.Duration {
	if !b.since.IsZero() && now.Sub(b.since) >= healthyAfter {
		b.pause = 0
	}
	b.since = time.Time{}
	b.pause = min(max(2*b.pause, firstBackoff), longestBackoff)
	return b.pause
}
