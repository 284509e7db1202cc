package tender_test

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
	"albatross/runtime/tender"
)

// own is the test binary in place of albatross-tender, to be launched by itself.
func own(t *testing.T, output *os.File, args ...string) tender.Command {
	t.Helper()
	program := filepath.Join(t.TempDir(), "albatross-tender")
	require.NoError(t, os.Symlink(self(), program))
	return tender.Command{Launcher: []string{program, "launch"}, Program: program, Args: args, Output: output}
}

// passed is a launcher that has passed its gate, and that goes on as the tender: its guest
// has not begun.
func passed(t *testing.T, args ...string) (tender.Command, *tender.Gated) {
	t.Helper()
	c := newConsole(t)
	command := own(t, c.writer, args...)
	g, err := tender.Launch(t.Context(), command)
	require.NoError(t, err)
	require.NoError(t, g.Release(t.Context()))
	line, err := bufio.NewReader(c.reader).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, strings.Join(args, " ")+"\n", line)
	return command, g
}

func TestALauncherOfItsOwnProgramGoesOn(t *testing.T) {
	_, g := passed(t, "spt", "--mem=16", "--", "image", "a")
	same, err := proc.Identify(g.Process().PID)
	require.NoError(t, err)
	require.Equal(t, g.Process(), same)
	require.NoError(t, g.Handle().Signal(unix.SIGTERM))
	require.Equal(t, messages.Exit{Known: true, Signal: int(unix.SIGTERM)}, ended(t, g.Handle()))
	require.NoError(t, g.Handle().Close())
	noChildren(t)
}

// TestSettleEndsWhoseGuestHasNotBegun: it is not known whether it will.
func TestSettleEndsWhoseGuestHasNotBegun(t *testing.T) {
	command, g := passed(t, "spt", "--mem=16", "--", "image")
	h, err := proc.Open(g.Process())
	require.NoError(t, err)
	defer func() { _ = h.Close() }()
	require.ErrorIs(t, tender.Settle(command.Launcher, h), proc.ErrGone)
	require.Equal(t, messages.Exit{Known: true, Signal: int(unix.SIGKILL)}, ended(t, g.Handle()))
	require.NoError(t, g.Handle().Close())
	noChildren(t)
}

// TestALauncherThatHasPassedItsGateIsFound, and one at its gate is not: that ends with its
// daemon.
func TestALauncherThatHasPassedItsGateIsFound(t *testing.T) {
	found := func(p messages.Process) []tender.Running {
		list, err := tender.FindRunning(nil)
		require.NoError(t, err)
		return slices.DeleteFunc(list, func(r tender.Running) bool { return r.Process != p })
	}
	args := []string{"spt", "--mem=16", "--", "image", "a"}
	gated, err := tender.Launch(t.Context(), own(t, newConsole(t).writer, args...))
	require.NoError(t, err)
	require.Empty(t, found(gated.Process()))
	require.NoError(t, gated.Abort())

	command, g := passed(t, args...)
	list := found(g.Process())
	require.Len(t, list, 1)
	require.Equal(t, command.Program, list[0].Program)
	require.Equal(t, tender.Guest{Image: "image", Memory: 16, Argv: []string{"a"}}, list[0].Guest)
	require.NoError(t, g.Handle().Signal(unix.SIGKILL))
	ended(t, g.Handle())
	require.NoError(t, g.Handle().Close())
	noChildren(t)
}
