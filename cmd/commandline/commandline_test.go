package commandline_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"albatross/cmd/commandline"
)

// TestWhatIsLogged: as natively, --quiet counts more than --verbosity, and that more than -v. By
// default the log shows what has been done, too.
func TestWhatIsLogged(t *testing.T) {
	const none = slog.LevelError + 1
	for _, c := range []struct {
		args  []string
		least slog.Level
	}{
		{nil, slog.LevelInfo},
		{[]string{"-v"}, slog.LevelDebug},
		{[]string{"-vv"}, slog.LevelDebug},
		{[]string{"-v", "--verbosity=warning"}, slog.LevelWarn},
		{[]string{"--verbosity", "info"}, slog.LevelInfo},
		{[]string{"--verbosity=error"}, slog.LevelError},
		{[]string{"--verbosity=app"}, slog.LevelError},
		{[]string{"--verbosity=debug", "--color=always"}, slog.LevelDebug},
		{[]string{"--verbosity=quiet"}, none},
		{[]string{"-q", "-v", "--verbosity=debug", "--color", "never"}, none},
	} {
		log, err := parsed(t, c.args).Logger("test")
		require.NoError(t, err)
		for level := slog.LevelDebug; level <= slog.LevelError; level += 4 {
			require.Equal(t, level >= c.least, log.Enabled(context.Background(), level), "%q %v", c.args, level)
		}
	}
}

func parsed(t *testing.T, args []string) *commandline.Logging {
	var l commandline.Logging
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	l.Register(flags)
	require.NoError(t, flags.Parse(args))
	return &l
}

func TestWordsThatAreUnknown(t *testing.T) {
	for _, arg := range []string{"--verbosity=loud", "--color=red", "--color"} {
		var l commandline.Logging
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		l.Register(flags)
		require.Error(t, flags.Parse([]string{arg}), arg)
	}
}

// TestHelp is printed in every format that can be chosen.
func TestHelp(t *testing.T) {
	for arg, shown := range map[string]bool{
		"-h": true, "--help": true, "--help=plain": true, "--help=groff": true, "--help=pager": true, "--help=false": false,
	} {
		ran := false
		c := &cobra.Command{Use: "test", Run: func(*cobra.Command, []string) { ran = true }}
		commandline.RegisterHelp(c.Flags())
		c.SetArgs([]string{arg})
		c.SetOut(io.Discard)
		require.NoError(t, c.Execute(), arg)
		require.Equal(t, !shown, ran, arg)
	}
}
