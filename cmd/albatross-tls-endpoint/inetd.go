package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"albatross/sockets/remote"
)

// quiet makes sure that only TLS is written to a client: inetd makes its connection
// standard output and standard error, too.
func quiet() error {
	var stdin unix.Stat_t
	if unix.Fstat(unix.Stdin, &stdin) != nil || stdin.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	for _, fd := range []int{unix.Stdout, unix.Stderr} {
		var out unix.Stat_t
		if unix.Fstat(fd, &out) != nil || out.Dev != stdin.Dev || out.Ino != stdin.Ino {
			continue
		}
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return fmt.Errorf("cannot keep messages from the client: %w", err)
		}
	}
	return nil
}

// serveStdin serves the connection on standard input.
func serveStdin(ctx context.Context, server *remote.Server) error {
	c, err := net.FileConn(os.Stdin)
	if err != nil {
		return fmt.Errorf("cannot use standard input, which has to be a connection: %w", err)
	}
	// Otherwise it would stay open as long as this program runs.
	if err := os.Stdin.Close(); err != nil {
		return err
	}
	server.ServeConn(ctx, c)
	return nil
}
