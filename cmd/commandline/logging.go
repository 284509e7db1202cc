package commandline

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"albatross/runtime/activation"
)

// Logging holds the options of the log.
type Logging struct {
	verbose   int
	quiet     bool
	verbosity oneOf
	syslog    bool
}

// Register registers the options with native's names. The default is what native logs
// with one -v.
func (l *Logging) Register(flags *pflag.FlagSet) {
	l.verbosity = oneOf{among: []string{"quiet", "app", "error", "warning", "info", "debug"}}
	flags.CountVarP(&l.verbose, "verbose", "v", "log more")
	flags.BoolVarP(&l.quiet, "quiet", "q", false, "log nothing")
	flags.Var(&l.verbosity, "verbosity", "log only what is as urgent: quiet, error, warning, info or debug (default info)")
	flags.BoolVar(&l.syslog, "syslog", false, "log to syslog instead of standard error")
	RegisterColor(flags)
}

// RegisterColor accepts an option without effect: we never use colours.
func RegisterColor(flags *pflag.FlagSet) {
	when := &oneOf{among: []string{"auto", "always", "never"}}
	flags.Var(when, "color", "auto, always or never; nothing is coloured in any case")
}

// Logger returns the log of the program with that name. As natively, --quiet overrides
// --verbosity, and that overrides --verbose.
func (l *Logging) Logger(program string) (*slog.Logger, error) {
	level, some := l.level()
	if !some {
		return slog.New(slog.DiscardHandler), nil
	}
	handling := &slog.HandlerOptions{Level: level}
	if !l.syslog {
		return slog.New(activation.NewLogHandler(handling)), nil
	}
	h, err := activation.NewSyslogHandler(program, handling)
	if err != nil {
		return nil, err
	}
	return slog.New(h), nil
}

// level returns the lowest level to log, if anything is logged.
func (l *Logging) level() (level slog.Level, some bool) {
	switch {
	case l.quiet || l.verbosity.given == "quiet":
		return 0, false
	case l.verbosity.given == "error" || l.verbosity.given == "app":
		return slog.LevelError, true
	case l.verbosity.given == "warning":
		return slog.LevelWarn, true
	case l.verbosity.given == "debug" || l.verbosity.given == "" && l.verbose > 0:
		return slog.LevelDebug, true
	}
	return slog.LevelInfo, true
}

// oneOf is an option with a few possible words.
type oneOf struct {
	among []string
	given string
}

func (o *oneOf) String() string { return o.given }
func (o *oneOf) Type() string   { return "WORD" }

func (o *oneOf) Set(s string) error {
	if !slices.Contains(o.among, s) {
		return fmt.Errorf("expected one of %s", strings.Join(o.among, ", "))
	}
	o.given = s
	return nil
}
