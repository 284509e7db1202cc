// Package activation owns the conversation between the daemon and a service manager such
// as systemd: the sockets that it has opened for the daemon; whether the daemon is ready,
// works, or stops; and the priority of log lines.
//
// Environment variables arrange all of it. Without them there is no service manager.
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

// Sockets returns the sockets that the service manager has opened for us, by name. paths
// maps each name that a socket may have to the file that it would have if we made it. If
// the manager has given a socket none of these names, its file identifies it.
//
// No other program inherits the sockets. Closing them does not remove their files:
// clients that connect afterwards wait for the next daemon.
//
// Sockets works once. After an error there are none.
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

// adopt makes a listener of a file, and adds it to sockets under its name.
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

// listens reports whether a file is a listening socket. It avoids Fd, which would make
// the socket blocking for whoever shares it, too.
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

// nameOf returns which of our sockets this is, given its name and its path; empty: none.
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

// sameFile compares the files, since a path can be written in several ways.
func sameFile(path, other string) bool {
	a, err := os.Stat(path)
	if err != nil {
		return false
	}
	b, err := os.Stat(other)
	return err == nil && os.SameFile(a, b)
}
