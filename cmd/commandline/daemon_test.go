package commandline_test

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"albatross/cmd/commandline"
)

func TestDaemonTellsItsVersion(t *testing.T) {
	c := &cobra.Command{Use: "test", RunE: func(*cobra.Command, []string) error { return nil }}
	commandline.Daemon(c, "v1")
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetArgs([]string{"--version"})
	require.NoError(t, c.Execute())
	require.Equal(t, "version v1 protocol version 5\n", out.String())
}

// TestUntilTold ends by either signal, and not before.
func TestUntilTold(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		ctx, stop := commandline.UntilTold()
		require.NoError(t, ctx.Err())
		require.NoError(t, syscall.Kill(syscall.Getpid(), signal))
		<-ctx.Done()
		stop()
	}
}
