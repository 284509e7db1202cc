package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"albatross/sockets/remote"
)

// quiet takes care that nothing but TLS is written to the client: inetd makes the
// connection standard output and standard error, too.
func quiet() error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	for _, fd := range []int{unix.Stdout, unix.Stderr} {
		if !sameFile(fd, unix.Stdin) {
			continue
		}
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return fmt.Errorf("cannot keep messages from the client: %w", err)
		}
	}
	return nil
}

func sameFile(a, b int) bool {
	var first, second unix.Stat_t
	return unix.Fstat(a, &first) == nil && unix.Fstat(b, &second) == nil &&
		first.Dev == second.Dev && first.Ino == second.Ino
}

// serveStdin serves the connection that is standard input.
func serveStdin(ctx context.Context, server *remote.Server) error {
	c, err := net.FileConn(os.Stdin)
	if err != nil {
		return fmt.Errorf("cannot use standard input, which has to be a connection: %w", err)
	}
	// Otherwise it would not be closed as long as this program runs.
	if err := os.Stdin.Close(); err != nil {
		return err
	}
	server.ServeConn(ctx, c)
	return nil
}
