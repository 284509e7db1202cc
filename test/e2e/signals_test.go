package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestSignalsThatEndNothing: a daemon goes on when the terminal is closed from which it was
// started, and at signals that it does not know. It logs the SIGHUP, which asks for nothing.
func TestSignalsThatEndNothing(t *testing.T) {
	h := newHost(t)
	for _, s := range []unix.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGPIPE, unix.SIGHUP} {
		require.NoError(t, h.daemon.Process.Signal(s))
	}
	h.until("it says so", func() bool { return strings.Contains(h.log(), "SIGHUP is ignored") })
	require.True(t, h.answers())
	require.NotContains(t, h.log(), "level=WARN")
}

// TestLogThatNobodyReads: a daemon goes on when the reader of its log has gone.
func TestLogThatNobodyReads(t *testing.T) {
	h := emptyHost(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	c := h.command()
	c.Stderr = w
	h.launch(c)
	require.NoError(t, w.Close())
	require.NoError(t, r.Close())
	h.until("it answers", h.answers)
	for range 10 { // each makes a line
		require.NoError(t, h.daemon.Process.Signal(unix.SIGHUP))
		require.True(t, h.answers())
	}
	require.NoError(t, h.stop())
	h.start()
}

// TestSignalsThatStop: the log says what has stopped a daemon.
func TestSignalsThatStop(t *testing.T) {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT} {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			h := newHost(t)
			require.NoError(t, h.daemon.Process.Signal(s))
			require.NoError(t, <-h.ended)
			h.daemon = nil
			require.Regexp(t, `msg="Stopping; the unikernels go on" cause=".*signal`, h.log())
		})
	}
}

// TestSignalsThatAbort: a daemon that must be ended like that writes to a file what it was doing,
// and its log is short.
func TestSignalsThatAbort(t *testing.T) {
	for _, s := range []unix.Signal{unix.SIGABRT, unix.SIGQUIT} {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			h := newHost(t)
			require.NoError(t, os.WriteFile(h.path("aborted.txt"), []byte("of an earlier one"), 0o644))
			require.NoError(t, h.daemon.Process.Signal(s))
			var exit *exec.ExitError
			require.ErrorAs(t, <-h.ended, &exit)
			h.daemon = nil
			require.Equal(t, 128+int(s), exit.ExitCode())
			require.Regexp(t, `level=ERROR msg="Ended by a signal; .*" signal=`+unix.SignalName(s), h.log())
			require.Less(t, strings.Count(h.log(), "\n"), 20)
			trace, err := os.ReadFile(h.path("aborted.txt"))
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(trace), "goroutine "))
			info, err := os.Stat(h.path("aborted.txt"))
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode())
			h.start()
		})
	}
}
