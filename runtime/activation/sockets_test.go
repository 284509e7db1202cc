package activation_test

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/activation"
)

// printSockets prints what a daemon gets whose sockets are one and two.
func printSockets(dir string) {
	handed, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	sockets, err := activation.Sockets(map[string]string{"one": socketPath(dir, "one"), "two": socketPath(dir, "two")})
	if err != nil {
		say("error: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(sockets)) {
		say("%s: %s", name, filepath.Base(sockets[name].Addr().String()))
	}
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "LISTEN_") {
			say("in the environment: %s", variable)
		}
	}
	for fd := 3; fd < 3+handed; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			say("inherited by others: %d", fd)
		}
	}
	for _, l := range sockets {
		if err := l.Close(); err != nil {
			say("cannot close: %v", err)
		}
	}
}

// listening returns a socket of a service manager.
func listening(t *testing.T, network, address string) *os.File {
	t.Helper()
	var l interface {
		File() (*os.File, error)
		Close() error
	}
	var err error
	switch network {
	case "tcp":
		l, err = net.ListenTCP(network, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	case "unixgram":
		l, err = net.ListenUnixgram(network, &net.UnixAddr{Name: address, Net: network})
	default:
		var u *net.UnixListener
		u, err = net.ListenUnix(network, &net.UnixAddr{Name: address, Net: network})
		u.SetUnlinkOnClose(false)
		l = u
	}
	require.NoError(t, err)
	defer l.Close()
	f, err := l.File()
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// An opener opens what a service manager hands over.
type opener func(t *testing.T, dir string) *os.File

type socketTest struct {
	files []opener
	names string // of the files; "-": there are no names
	want  string // DIR is the directory
}

// stream returns an opener of a socket as it should be, whose file has that name.
func stream(name string) opener {
	return func(t *testing.T, dir string) *os.File { return listening(t, "unix", socketPath(dir, name)) }
}

// refused returns a test with a file that cannot be one of our sockets.
func refused(open opener) socketTest {
	return socketTest{
		[]opener{open}, "one",
		"error: cannot use one, which the service manager has opened: it is not a Unix stream socket that listens\n",
	}
}

func TestSockets(t *testing.T) {
	const opened = ", which the service manager has opened: "
	for name, test := range map[string]socketTest{
		"none":                {nil, "", ""},
		"by their names":      {[]opener{stream("x"), stream("y")}, "two:one", "one: y.sock\ntwo: x.sock\n"},
		"a name before files": {[]opener{stream("one"), stream("two")}, "two:one", "one: two.sock\ntwo: one.sock\n"},
		"by their files":      {[]opener{stream("two"), stream("one")}, "-", "one: one.sock\ntwo: two.sock\n"},
		"names of units":      {[]opener{stream("two"), stream("one")}, "b.socket:a.socket", "one: one.sock\ntwo: two.sock\n"},
		"fewer names":         {[]opener{stream("x"), stream("one")}, "two", "one: one.sock\ntwo: x.sock\n"},
		"only one":            {[]opener{stream("x")}, "two", "two: x.sock\n"},
		"another way to its file": {[]opener{func(t *testing.T, dir string) *os.File {
			require.NoError(t, os.Symlink(dir, filepath.Join(dir, "link")))
			return listening(t, "unix", socketPath(filepath.Join(dir, "link"), "one"))
		}}, "-", "one: one.sock\n"},

		"unknown": {
			[]opener{stream("one"), stream("three")}, "one:b.socket",
			"error: cannot use socket b.socket at DIR/three.sock" + opened + "only one, two are known\n",
		},
		"several unknown, without names": {
			[]opener{stream("three"), stream("four")}, "-",
			"error: cannot use socket LISTEN_FD_3 at DIR/three.sock" + opened + "only one, two are known\n" +
				"cannot use socket LISTEN_FD_4 at DIR/four.sock" + opened + "only one, two are known\n",
		},
		"twice": {
			[]opener{stream("one"), stream("x")}, "-:one",
			"error: cannot use socket one at DIR/x.sock" + opened + "there is another one for one\n",
		},
		"no socket":        refused(func(t *testing.T, _ string) *os.File { return pipe(t) }),
		"of the network":   refused(func(t *testing.T, _ string) *os.File { return listening(t, "tcp", "") }),
		"of datagrams":     refused(func(t *testing.T, dir string) *os.File { return listening(t, "unixgram", socketPath(dir, "one")) }),
		"of packets":       refused(func(t *testing.T, dir string) *os.File { return listening(t, "unixpacket", socketPath(dir, "one")) }),
		"does not listen":  refused(func(t *testing.T, _ string) *os.File { return connected(t) }),
		"already closed":   refused(func(*testing.T, string) *os.File { return nil }),
		"not even a file":  {nil, "one", ""},
		"with more colons": {[]opener{stream("x")}, "one:two:", "one: x.sock\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := shortDir(t)
			var files []*os.File
			for _, open := range test.files {
				files = append(files, open(t, dir))
			}
			environment := []string{"LISTEN_FDS=" + strconv.Itoa(len(files))}
			if test.names != "-" {
				environment = append(environment, "LISTEN_FDNAMES="+test.names)
			}
			before := namesIn(t, dir)
			said, err := daemon(t, "sockets", dir, files, environment...).CombinedOutput()
			require.NoError(t, err, "%s", said)
			require.Equal(t, strings.ReplaceAll(test.want, "DIR", dir), string(said))
			require.Equal(t, before, namesIn(t, dir), "the files of sockets")
		})
	}
}

func pipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r
}

func connected(t *testing.T) *os.File {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	ours, theirs := os.NewFile(uintptr(fds[0]), ""), os.NewFile(uintptr(fds[1]), "")
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return theirs
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestSocketsOfAnotherProcess: sockets for the parent of the daemon stay open. Only their variables
// are removed from the environment.
func TestSocketsOfAnotherProcess(t *testing.T) {
	dir := shortDir(t)
	files := []*os.File{listening(t, "unix", socketPath(dir, "one"))}
	said, err := daemon(t, "sockets", dir, files, "PID=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=one").CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "inherited by others: 3\n", string(said))
}
