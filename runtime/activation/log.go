package activation

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"slices"

	"github.com/coreos/go-systemd/v22/journal"
)

// Stderr returns standard error for lines of one level. If it is connected to the journal
// of systemd, each line begins with its priority, which the journal removes.
func Stderr(level slog.Level) io.Writer {
	// A value of the variable that cannot be parsed does not come from systemd.
	if ours, err := journal.StderrIsJournalStream(); err != nil || !ours {
		return os.Stderr
	}
	return prefixed(priority(level))
}

// A systemLog sends lines of one level to syslog.
type systemLog func(line string) error

func (s systemLog) Write(b []byte) (int, error) {
	if err := s(string(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// NewSyslogHandler logs to syslog as name, with the priority of each record.
func NewSyslogHandler(name string, options *slog.HandlerOptions) (slog.Handler, error) {
	w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, name)
	if err != nil {
		return nil, fmt.Errorf("cannot log to syslog: %w", err)
	}
	return newByPriority(options, func(level slog.Level) io.Writer {
		switch {
		case level >= slog.LevelError:
			return systemLog(w.Err)
		case level >= slog.LevelWarn:
			return systemLog(w.Warning)
		case level >= slog.LevelInfo:
			return systemLog(w.Info)
		}
		return systemLog(w.Debug)
	}), nil
}

// priority returns syslog's number of a level, in the form of sd-daemon(3).
func priority(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "<3>"
	case level >= slog.LevelWarn:
		return "<4>"
	case level >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

// A prefixed writer puts its text before each line on standard error. One Write is one
// write(2), so that lines of several goroutines do not mix.
type prefixed string

func (p prefixed) Write(b []byte) (int, error) {
	var out []byte
	for line := range bytes.Lines(b) {
		out = append(append(out, p...), line...)
	}
	if _, err := os.Stderr.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// NewLogHandler logs to Stderr, as text. It omits the time if the journal adds one.
func NewLogHandler(options *slog.HandlerOptions) slog.Handler {
	return newByPriority(options, Stderr)
}

// newByPriority writes each record, as text, to the writer for its level.
func newByPriority(options *slog.HandlerOptions, to func(slog.Level) io.Writer) slog.Handler {
	h := byPriority{handlers: map[string]slog.Handler{}}
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		w, o := to(level), *options
		if w != os.Stderr {
			o.ReplaceAttr = withoutTime
		}
		h.handlers[priority(level)] = slog.NewTextHandler(w, &o)
	}
	return h
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// byPriority has a handler for the records of each priority. It gives a handler its attributes when
// there is a record: an actor keeps its logger, and there are thousands.
type byPriority struct {
	handlers map[string]slog.Handler
	attrs    []slog.Attr
}

func (b byPriority) Enabled(ctx context.Context, level slog.Level) bool {
	return b.handlers[priority(level)].Enabled(ctx, level)
}

func (b byPriority) Handle(ctx context.Context, r slog.Record) error {
	return b.handlers[priority(r.Level)].WithAttrs(b.attrs).Handle(ctx, r)
}

func (b byPriority) WithAttrs(attrs []slog.Attr) slog.Handler {
	return byPriority{b.handlers, slices.Concat(b.attrs, attrs)}
}

func (b byPriority) WithGroup(name string) slog.Handler {
	grouped := byPriority{handlers: map[string]slog.Handler{}}
	for p, one := range b.handlers {
		grouped.handlers[p] = one.WithAttrs(b.attrs).WithGroup(name)
	}
	return grouped
}
