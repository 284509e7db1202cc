package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"albatross/runtime/network/wire"
)

// listen makes the socket. An existing one belongs to a process that has ended.
func listen(dir string) (*net.UnixListener, error) {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(at) }()
	if err := unix.Unlinkat(at, wire.Socket, 0); err != nil && err != unix.ENOENT {
		return nil, fmt.Errorf("cannot remove a socket: %w", err)
	}
	// The kernel wants a short path.
	address := &net.UnixAddr{Net: "unixpacket", Name: fmt.Sprintf("/proc/self/fd/%d/%s", at, wire.Socket)}
	listener, err := net.ListenUnix("unixpacket", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %w", filepath.Join(dir, wire.Socket), err)
	}
	listener.SetUnlinkOnClose(false) // it has no file system then
	if err := unix.Fchmodat(at, wire.Socket, 0o600, 0); err != nil {
		_ = listener.Close()
		return nil, os.NewSyscallError("fchmodat", err)
	}
	return listener, nil
}

// resolvers is where the host keeps the addresses of its resolvers.
const resolvers = "/etc/resolv.conf"

// maxResolvers bounds the resolvers that are asked, as those of libc are.
const maxResolvers = 3

// readResolvers returns the resolvers of the host, or none if they are not known.
func readResolvers() (list []netip.AddrPort) {
	config, err := dns.ClientConfigFromFile(resolvers)
	if err != nil {
		return nil
	}
	for _, server := range config.Servers {
		if a, err := netip.ParseAddr(server); err == nil && len(list) < maxResolvers {
			list = append(list, netip.AddrPortFrom(a, 53))
		}
	}
	return list
}
