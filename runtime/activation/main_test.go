package activation_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain: the test binary runs itself again as a daemon that was started by a
// service manager.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "sockets":
			printSockets(os.Args[2])
			return
		case "tcp":
			printTCP()
			return
		case "log":
			writeLog()
			return
		case "syslog":
			writeSyslog()
			return
		}
	}
	goleak.VerifyTestMain(m)
}

// daemon returns a process that plays a role, with files from descriptor 3 on. Its environment has
// its own pid, as from a service manager.
func daemon(t *testing.T, role, argument string, files []*os.File, environment ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=${PID:-$$} exec "$0" "$@"`, self, role, argument)
	c.Env = append(environment, "GORACE=atexit_sleep_ms=0")
	c.ExtraFiles = files
	return c
}

// shortDir returns a directory whose name is short enough for sockets in it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "act")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func socketPath(dir, name string) string { return filepath.Join(dir, name+".sock") }

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }
