package tender

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A Pair is a network device without a tap: two sockets, connected to each other, of which each
// message is a frame (SOCK_SEQPACKET). Whoever makes the network reads and writes Network. A
// tender gets both ends: the guest uses Device, and keeps Network open, unused. So the pair is
// there as long as the guest is, whoever ends at its other end, and that one's successor can be
// given a copy of Network. The reader of Network finds its end when the guest has ended, since
// nobody else has Device then.
type Pair struct{ Device, Network *os.File }

// pairBuffer is how many bytes a direction holds that nobody has read; the kernel doubles it,
// and counts what a frame costs. An ordinary user gets less, as net.core.wmem_max says.
const pairBuffer = 1 << 20

// NewPair makes a pair. The caller closes it when the tender has been launched, except for what
// it uses itself.
func NewPair() (Pair, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return Pair{}, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, pairBuffer) != nil { // who is not root
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, pairBuffer)
		}
	}
	return Pair{os.NewFile(uintptr(fds[0]), "device"), os.NewFile(uintptr(fds[1]), "network")}, nil
}

// Close closes both ends.
func (p Pair) Close() error { return errors.Join(p.Device.Close(), p.Network.Close()) }

// Files returns the descriptors that Args names, for a Command.
func (g Guest) Files() (files []*os.File) {
	for _, n := range g.Networks {
		if n.Pair != nil {
			files = append(files, n.Pair.Device, n.Pair.Network)
		}
	}
	return files
}
