package daemon

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrClaimed: there is another provider.
var ErrClaimed = errors.New("another albatross-kubelet serves this daemon: end that first")

// Claim makes this process the only provider for the daemon, until it ends or calls release. Two would
// each take what the other has made for its own, or fight for names.
func (d Daemon) Claim() (release func() error, err error) {
	dir, err := os.Open(d.sockets())
	if err != nil {
		return nil, fmt.Errorf("cannot find the sockets of the daemon: %w", err)
	}
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return dir.Close, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrClaimed
	}
	return nil, errors.Join(err, dir.Close())
}
