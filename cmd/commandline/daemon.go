package commandline

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/activation"
)

// Daemon sets up the command of a daemon.
func Daemon(c *cobra.Command, version string) {
	c.Version = version
	c.SetVersionTemplate(fmt.Sprintf("version %s protocol version %d\n", version, messages.CurrentVersion))
	c.SilenceErrors, c.SilenceUsage = true, true // Main prints them, in one line
	RegisterHelp(c.Flags())
}

// Main runs a command, and exits with a code if it fails.
func Main(c *cobra.Command, code int) {
	if err := c.Execute(); err != nil {
		Fail(c.Name(), err, code)
	}
}

// Fail prints an error and exits with a code.
func Fail(program string, err error, code int) {
	fmt.Fprintf(activation.Stderr(slog.LevelError), "%s: %v\n", program, err)
	os.Exit(code)
}

// UntilTold returns a context that ends with the usual signals.
func UntilTold() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
}
