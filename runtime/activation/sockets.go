// Package activation owns what a service manager such as systemd and the daemon
// tell each other: which sockets it has opened for the daemon; that the daemon is
// ready, still works, or stops; and how urgent a line of the log is.
//
// All of that is arranged by environment variables. Where they are not set, the
// daemon was started by somebody else, who tells nothing and wants to know
// nothing.
package activation

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Sockets are those that the service manager has opened for us, by their names.
// Paths are all names that a socket may have, each with the file that it would
// have if we made it ourselves: where a socket was not given one of these names,
// its file tells which it is.
//
// No other program inherits them. Their files are not removed when they are
// closed, and who connects from then on waits for the next daemon.
//
// Sockets can be asked for once only. After an error there are none.
func Sockets(paths map[string]string) (map[string]*net.UnixListener, error) {
	sockets := map[string]*net.UnixListener{}
	var failed error
	for _, f := range activation.Files(true) {
		failed = errors.Join(failed, adopt(sockets, f, paths))
	}
	if failed != nil {
		for _, l := range sockets {
			_ = l.Close()
		}
		return nil, failed
	}
	return sockets, nil
}

// adopt makes a listener of a file, and puts it where it belongs.
func adopt(sockets map[string]*net.UnixListener, f *os.File, paths map[string]string) error {
	defer func() { _ = f.Close() }()
	l, err := listener(f)
	if err != nil {
		return fmt.Errorf("cannot use %s, which the service manager has opened: %w", f.Name(), err)
	}
	name := nameOf(f.Name(), l.Addr().String(), paths)
	switch {
	case name == "":
		err = fmt.Errorf("only %s are known", strings.Join(slices.Sorted(maps.Keys(paths)), ", "))
	case sockets[name] != nil:
		err = fmt.Errorf("there is another one for %s", name)
	default:
		sockets[name] = l
		return nil
	}
	return errors.Join(fmt.Errorf("cannot use socket %s at %s, which the service manager has opened: %w", f.Name(), l.Addr(), err), l.Close())
}

var errNoListener = errors.New("it is not a Unix stream socket that listens")

func listener(f *os.File) (*net.UnixListener, error) {
	if !listens(f) {
		return nil, errNoListener
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	if l.Addr().Network() != "unix" {
		return nil, errors.Join(errNoListener, l.Close())
	}
	return l.(*net.UnixListener), nil
}

// listens tells whether a file is a socket that listens. Fd would make it block,
// for whoever else has it, too.
func listens(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	value, valueErr := 0, error(nil)
	err = raw.Control(func(fd uintptr) {
		value, valueErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	})
	return err == nil && valueErr == nil && value == 1
}

// nameOf is which of our sockets one is that was given a name, and is at a path;
// none where it is empty.
func nameOf(given, path string, paths map[string]string) string {
	if _, ok := paths[given]; ok {
		return given
	}
	for name, ours := range paths {
		if sameFile(path, ours) {
			return name
		}
	}
	return ""
}

// sameFile looks at the files: there are several ways to say where one is.
func sameFile(path, other string) bool {
	a, err := os.Stat(path)
	if err != nil {
		return false
	}
	b, err := os.Stat(other)
	return err == nil && os.SameFile(a, b)
}
