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

// Daemon gives the command of a program that goes on until it is told to end what all
// of these have.
func Daemon(c *cobra.Command, version string) {
	c.Version = version
	c.SetVersionTemplate(fmt.Sprintf("version %s protocol version %d\n", version, messages.CurrentVersion))
	c.SilenceErrors, c.SilenceUsage = true, true // Main tells them, in one line
	RegisterHelp(c.Flags())
}

// Main is a program that runs a command, and ends with a code where that fails.
func Main(c *cobra.Command, code int) {
	if err := c.Execute(); err != nil {
		Fail(c.Name(), err, code)
	}
}

// Fail ends a program with a code, and says why.
func Fail(program string, err error, code int) {
	fmt.Fprintf(activation.Stderr(slog.LevelError), "%s: %v\n", program, err)
	os.Exit(code)
}

// UntilTold ends by the signals that end a program in good order.
func UntilTold() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
}
