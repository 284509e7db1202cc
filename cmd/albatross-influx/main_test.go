package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/test/programs"
)

// TestTheProgram runs it as a process, and as the user nobody if it can.
func TestTheProgram(t *testing.T) {
	dir, err := os.MkdirTemp("", "albatross-influx")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, programs.Build(dir, "albatross-influx"))
	run := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(t.Context(), dir+"/albatross-influx", args...)
		if os.Getuid() == 0 {
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		return c
	}

	t.Run("wrong command lines", func(t *testing.T) {
		for _, args := range [][]string{{}, {"--influx", ":"}, {"--influx", "x", "-n", "no name"}, {"--nonsense"}, {"--influx", "x", "y"}} {
			out, err := run(args...).CombinedOutput()
			var exit *exec.ExitError
			require.True(t, errors.As(err, &exit), "%v: %s", args, out)
			require.Equal(t, 124, exit.ExitCode())
			require.Regexp(t, "^albatross-influx: .*\n$", string(out))
		}
	})
	t.Run("native command lines", func(t *testing.T) {
		for i, args := range [][]string{
			{"--drop-label"},
			{"--no-drop-path", "--verbosity=warning", "--color=never"},
			{"-q", "--color", "always"},
		} {
			l, conns := listen(t, "unix", fmt.Sprintf("%s/native%d", dir, i))
			require.NoError(t, os.Chmod(l.Addr().String(), 0o777))
			tcp, pushes := listen(t, "tcp", "127.0.0.1:0")
			c := run(append(args, "--influx="+tcp.Addr().String(), "--socket", l.Addr().String())...)
			require.NoError(t, c.Start())
			daemon, influx := subscribed(t, conns), pushed(t, pushes)
			daemon.send("a:hello", 1)
			influx.mustGet(map[bool]string{true: "a:hello", false: "hello"}[args[0] == "--no-drop-path"], 1)
			require.NoError(t, c.Process.Signal(unix.SIGTERM))
			require.NoError(t, c.Wait(), "success")
		}
	})
	t.Run("signals", func(t *testing.T) {
		for _, s := range []syscall.Signal{unix.SIGTERM, unix.SIGINT} {
			l, conns := listen(t, "unix", dir+"/"+s.String())
			require.NoError(t, os.Chmod(l.Addr().String(), 0o777))
			tcp, pushes := listen(t, "tcp", "127.0.0.1:0")
			c := run("--influx", tcp.Addr().String(), "--socket", l.Addr().String())
			require.NoError(t, c.Start())
			daemon, influx := subscribed(t, conns), pushed(t, pushes)
			daemon.send("hello", 1)
			influx.mustGet("hello", 1)
			require.NoError(t, c.Process.Signal(unix.SIGHUP), "which does not end it")
			daemon.send("hello", 2)
			influx.mustGet("hello", 2)
			require.NoError(t, c.Process.Signal(s))
			require.NoError(t, c.Wait(), "success")
		}
	})
}
