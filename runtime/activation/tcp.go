package activation

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
)

var errNoTCP = errors.New("it is not a TCP socket that listens")

// TCP returns the one TCP socket that the service manager has opened for us, or nil. Like
// Sockets, it works once.
func TCP() (*net.TCPListener, error) {
	files := activation.Files(true)
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	switch len(files) {
	case 0:
		return nil, nil
	case 1:
		l, err := tcpListener(files[0])
		if err != nil {
			return nil, fmt.Errorf("cannot use %s, which the service manager has opened: %w", files[0].Name(), err)
		}
		return l, nil
	}
	return nil, fmt.Errorf("cannot use the %d sockets that the service manager has opened: only one is served", len(files))
}

func tcpListener(f *os.File) (*net.TCPListener, error) {
	if !listens(f) {
		return nil, errNoTCP
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(errNoTCP, l.Close())
	}
	return tcp, nil
}
