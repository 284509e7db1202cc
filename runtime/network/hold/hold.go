// Package hold takes ports of the host, so that a port that somebody else has is found before
// anything depends on it. A network of the kernel forwards by rules and uses the port for nothing
// else; a network in user mode listens there.
package hold

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// At returns where a publication is: at all addresses of the host, if it has none and root
// has started this process, or else at loopback.
func At(p messages.Publication, root bool) netip.AddrPort {
	switch {
	case p.Host.IsValid():
		return netip.AddrPortFrom(p.Host, p.From)
	case root:
		return netip.AddrPortFrom(netip.IPv4Unspecified(), p.From)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), p.From)
}

// Port takes a port. For TCP it is not listened at: who connects is refused, until the kernel
// forwards it. The port is free again when the file is closed.
func Port(udp bool, at netip.AddrPort) (*os.File, error) {
	kind := unix.SOCK_STREAM
	if udp {
		kind = unix.SOCK_DGRAM
	}
	family, address := sockaddr(at)
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), at.String())
	if err := take(fd, udp, family, address); err != nil {
		_ = file.Close()
		return nil, Explain(at, err)
	}
	return file, nil
}

// take binds a socket. Connections of former users of a port may still be in the kernel for a
// minute (TIME_WAIT), and must not make the port busy: that takes SO_REUSEADDR. With that, two
// sockets that do not listen may have the same port, but one cannot listen where another one
// without it is. So it listens for a moment, which fails if anybody has the port; then it
// gives up the option, so that nobody else can listen there.
func take(fd int, udp bool, family int, address unix.Sockaddr) error {
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	if udp { // nothing reads: nothing is to be kept for that
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
			return err
		}
		return unix.Bind(fd, address)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, address); err != nil {
		return err
	}
	if err := unix.Listen(fd, 0); err != nil {
		return err
	}
	if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil { // it no longer listens, and keeps its port
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
}

func sockaddr(at netip.AddrPort) (family int, address unix.Sockaddr) {
	if at.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}

// Listen listens at a port by TCP.
func Listen(at netip.AddrPort) (net.Listener, error) {
	l, err := net.Listen(network("tcp", at), at.String())
	if err != nil {
		return nil, Explain(at, err)
	}
	return l, nil
}

// ListenPacket receives at a port by UDP.
func ListenPacket(at netip.AddrPort) (*net.UDPConn, error) {
	conn, err := net.ListenPacket(network("udp", at), at.String())
	if err != nil {
		return nil, Explain(at, err)
	}
	return conn.(*net.UDPConn), nil
}

func network(protocol string, at netip.AddrPort) string {
	if at.Addr().Is4() {
		return protocol + "4"
	}
	return protocol + "6"
}

// OnDevice returns sockets of one interface only, which other ones do not see.
func OnDevice(device string) *net.ListenConfig {
	return &net.ListenConfig{Control: func(network, _ string, raw syscall.RawConn) (err error) {
		early := [2]int{unix.IPPROTO_IP, unix.IP_FREEBIND}
		if strings.HasSuffix(network, "6") {
			early = [2]int{unix.IPPROTO_IPV6, unix.IPV6_FREEBIND}
		}
		controlled := raw.Control(func(fd uintptr) { err = bind(int(fd), device, early) })
		return errors.Join(controlled, err)
	}}
}

// bind needs no capability, since the socket is not bound yet. The address may come later than
// the socket: the daemon makes the bridge.
func bind(fd int, device string, early [2]int) error {
	if err := unix.BindToDevice(fd, device); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	for _, option := range [][2]int{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR},
		{unix.SOL_SOCKET, unix.SO_BROADCAST},
		early,
	} {
		if err := unix.SetsockoptInt(fd, option[0], option[1], 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// ListenOn listens at an address of an interface, by TCP and UDP.
func ListenOn(device string, at netip.AddrPort) (net.Listener, net.PacketConn, error) {
	config := OnDevice(device)
	listener, err := config.Listen(context.Background(), network("tcp", at), at.String())
	if err != nil {
		return nil, nil, err
	}
	conn, err := config.ListenPacket(context.Background(), network("udp", at), at.String())
	if err != nil {
		_ = listener.Close()
		return nil, nil, err
	}
	return listener, conn, nil
}

// Explain returns why a port cannot be taken, for clients.
func Explain(at netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("port %d is in use on the host", at.Port())
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("port %d needs root: choose one from 1024 on", at.Port())
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%s is not an address of the host", at.Addr())
	}
	return err
}
