package activation_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/activation"
)

// printTCP prints what a program gets that serves one TCP socket.
func printTCP() {
	l, err := activation.TCP()
	switch {
	case err != nil:
		say("error: %v", err)
	case l == nil:
		say("none")
	default:
		say("%s", l.Addr())
		if err := l.Close(); err != nil {
			say("cannot close: %v", err)
		}
	}
}

func TestTCP(t *testing.T) {
	const opened = "error: cannot use LISTEN_FD_3, which the service manager has opened: "
	dir := shortDir(t)
	tcp := listening(t, "tcp", "")
	for want, files := range map[string][]*os.File{
		"^none\n$":                nil,
		"^127.0.0.1:[0-9]+\n$":    {tcp},
		"cannot use the 2 socket": {tcp, listening(t, "tcp", "")},
		opened + "it is not a TCP socket that listens\n$": {listening(t, "unix", socketPath(dir, "one"))},
		opened + "it is not a TCP socket":                 {connected(t)},
		opened:                                            {pipe(t)},
	} {
		said, err := daemon(t, "tcp", dir, files, "LISTEN_FDS="+strconv.Itoa(len(files))).CombinedOutput()
		require.NoError(t, err)
		require.Regexp(t, want, string(said))
	}
}
