package activation_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/activation"
)

// writeLog logs at every level.
func writeLog() {
	log := slog.New(activation.NewLogHandler(&slog.HandlerOptions{Level: slog.LevelDebug - 1}))
	log.Log(context.Background(), slog.LevelDebug-1, "trace")
	log.Debug("debug")
	log.With("a", 1).Info("info")
	log.WithGroup("g").Warn("warn", "b", 2)
	log.WithGroup("g").With("c", 3).Error("two\nlines")
	log.Log(context.Background(), slog.LevelError+4, "fatal")
	slog.New(activation.NewLogHandler(&slog.HandlerOptions{})).Debug("not wanted")
	fmt.Fprintf(activation.Stderr(slog.LevelError), "albatrossd: one\nand another\n")
	fmt.Fprint(activation.Stderr(slog.LevelInfo), "no end of line")
}

// logged is what that writes, without times, when the environment says of
// standard error what variable makes of it.
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
	return regexp.MustCompile(`(?m)time=\S+ `).ReplaceAllString(string(text), "")
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

// TestLog: lines have priorities when they go to the journal, and only then.
func TestLog(t *testing.T) {
	require.Equal(t, forTheJournal, logged(t, func(s unix.Stat_t) string { return fmt.Sprintf("%d:%d", s.Dev, s.Ino) }))
	require.Equal(t, asText, logged(t, func(s unix.Stat_t) string { return fmt.Sprintf("%d:%d", s.Dev, s.Ino+1) }))
	require.Equal(t, asText, logged(t, func(unix.Stat_t) string { return "" }))
	require.Equal(t, asText, logged(t, func(unix.Stat_t) string { return "what" }))
}
