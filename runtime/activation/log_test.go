package activation_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/activation"
)

// writeLog logs at every level.
func writeLog() {
	logAll(activation.NewLogHandler(&slog.HandlerOptions{Level: slog.LevelDebug - 1}))
	slog.New(activation.NewLogHandler(&slog.HandlerOptions{})).Debug("not wanted")
	fmt.Fprintf(activation.Stderr(slog.LevelError), "albatrossd: one\nand another\n")
	fmt.Fprint(activation.Stderr(slog.LevelInfo), "no end of line")
}

// writeSyslog logs the same to syslog.
func writeSyslog() {
	h, err := activation.NewSyslogHandler("albatrossd", &slog.HandlerOptions{Level: slog.LevelDebug - 1})
	if err != nil {
		say("error: %v", err)
		return
	}
	logAll(h)
}

func logAll(h slog.Handler) {
	log := slog.New(h)
	log.Log(context.Background(), slog.LevelDebug-1, "trace")
	log.Debug("debug")
	log.With("a", 1).Info("info")
	log.WithGroup("g").Warn("warn", "b", 2)
	log.WithGroup("g").With("c", 3).Error("two\nlines")
	log.Log(context.Background(), slog.LevelError+4, "fatal")
}

// logged returns what a daemon writes to standard error. The variable JOURNAL_STREAM gets its value
// from variable.
func logged(t *testing.T, variable func(unix.Stat_t) string) string {
	t.Helper()
	path := t.TempDir() + "/stderr"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer f.Close()
	var stat unix.Stat_t
	require.NoError(t, unix.Fstat(int(f.Fd()), &stat))
	c := daemon(t, "log", "", nil, "JOURNAL_STREAM="+variable(stat))
	c.Stderr = f
	require.NoError(t, c.Run())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// withoutTimes removes the time that every record has.
func withoutTimes(t *testing.T, text string) string {
	t.Helper()
	times := regexp.MustCompile(`(?m)^time=\S+ `)
	require.Len(t, times.FindAllString(text, -1), 6)
	return times.ReplaceAllString(text, "")
}

const asText = `level=DEBUG-1 msg=trace
level=DEBUG msg=debug
level=INFO msg=info a=1
level=WARN msg=warn g.b=2
level=ERROR msg="two\nlines" g.c=3
level=ERROR+4 msg=fatal
albatrossd: one
and another
no end of line`

const forTheJournal = `<7>level=DEBUG-1 msg=trace
<7>level=DEBUG msg=debug
<6>level=INFO msg=info a=1
<4>level=WARN msg=warn g.b=2
<3>level=ERROR msg="two\nlines" g.c=3
<3>level=ERROR+4 msg=fatal
<3>albatrossd: one
<3>and another
<6>no end of line`

// TestLog: lines have priorities, and no times, if they go to the journal, and only then.
func TestLog(t *testing.T) {
	require.Equal(t, forTheJournal, logged(t, func(s unix.Stat_t) string { return fmt.Sprintf("%d:%d", s.Dev, s.Ino) }))
	for _, variable := range []func(unix.Stat_t) string{
		func(s unix.Stat_t) string { return fmt.Sprintf("%d:%d", s.Dev, s.Ino+1) },
		func(unix.Stat_t) string { return "" },
		func(unix.Stat_t) string { return "what" },
	} {
		require.Equal(t, asText, withoutTimes(t, logged(t, variable)))
	}
}

// TestSyslog: lines have priorities there, and no times of ours.
func TestSyslog(t *testing.T) {
	const socket = "/dev/log"
	if _, err := os.Lstat(socket); err == nil || os.Geteuid() != 0 {
		t.Skip("there is a syslog already, or we may not be one")
	}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(t, err)
	defer os.Remove(socket)
	defer l.Close()
	said, err := daemon(t, "syslog", "", nil).CombinedOutput()
	require.NoError(t, err)
	require.Empty(t, string(said))
	const facility = 3 << 3 // the facility of daemons
	for _, want := range []struct {
		priority int
		line     string
	}{
		{7, "level=DEBUG-1 msg=trace"},
		{7, "level=DEBUG msg=debug"},
		{6, "level=INFO msg=info a=1"},
		{4, "level=WARN msg=warn g.b=2"},
		{3, `level=ERROR msg="two\nlines" g.c=3`},
		{3, "level=ERROR+4 msg=fatal"},
	} {
		require.NoError(t, l.SetReadDeadline(time.Now().Add(patience)))
		b := make([]byte, 1000)
		n, err := l.Read(b)
		require.NoError(t, err)
		require.Regexp(t, fmt.Sprintf(`^<%d>.* albatrossd\[\d+\]: %s\n$`, facility|want.priority, regexp.QuoteMeta(want.line)), string(b[:n]))
	}
}
