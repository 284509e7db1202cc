package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/sockets/client"
)

// A daemon is the one that commands are for, and how it is reached: by its sockets on this machine, or
// through an endpoint. It owns the options about that, and the sessions with the endpoint.
type daemon struct {
	out *printer // for what there is to say about the connection

	socket, tmpdir, dbdir string
	destination           destination
	sessions              sessions
	command               string // the name of the command that runs, for the files of a request
}

func (d *daemon) register(flags *pflag.FlagSet) {
	flags.StringVar(&d.socket, "socket", "", "ask the daemon at this socket; - only shows what would be sent")
	flags.StringVar(&d.tmpdir, "tmpdir", "/run/albatross", "where the daemon has its sockets")
	flags.StringVar(&d.dbdir, "dbdir", "/var/lib/albatross", "where the daemon keeps its state")
	d.destination.register(flags)
}

// connect connects to the recipient of a command: an endpoint, or the daemon's socket for
// it. The caller closes the connection.
func (d *daemon) connect(ctx context.Context, name messages.Name, command messages.Command) (*client.Conn, error) {
	switch {
	case d.destination.csr:
		return nil, d.writeRequest(name, command)
	case d.destination.address != "":
		return d.connectEndpoint(ctx, name, command)
	}
	properties, _ := messages.PropertiesOf(command)
	return d.connectSocket(ctx, properties.At)
}

// connectSocket connects to a socket of the daemon: on this machine, or in a session.
func (d *daemon) connectSocket(ctx context.Context, at messages.Endpoint) (*client.Conn, error) {
	switch {
	case d.destination.csr:
		return nil, errNoRequest
	case d.destination.address != "":
		return d.connectSession(ctx, at)
	}
	path := d.socket
	if path == "" {
		path = d.socketPath(at)
	}
	d.out.message(info, "connecting to "+path)
	return client.Dial(ctx, path)
}

// connectBeside is connectSocket, and connects to the daemon beside the socket that was given, if
// one was.
func (d *daemon) connectBeside(ctx context.Context, at messages.Endpoint) (*client.Conn, error) {
	if d.destination.given() {
		return d.connectSocket(ctx, at)
	}
	return client.Dial(ctx, d.beside(at))
}

// beside returns the path of another socket of the daemon on this machine, even if only
// that of commands was given.
func (d *daemon) beside(at messages.Endpoint) string {
	if d.socket != "" {
		return filepath.Join(filepath.Dir(d.socket), socketFile(at))
	}
	return d.socketPath(at)
}

// socketPath returns the path of a socket below the temporary directory of the daemon.
func (d *daemon) socketPath(at messages.Endpoint) string {
	return filepath.Join(d.tmpdir, "util", socketFile(at))
}

func socketFile(at messages.Endpoint) string { return string(at) + ".sock" }

// errNoRequest is about a command that no certificate can contain.
const errNoRequest = inputError("--csr cannot write a request for this: a certificate cannot say it")

// connectAdvice says how to reach a daemon.
func (d *daemon) connectAdvice(e *client.ConnectError) string {
	switch {
	case d.destination.address != "":
		return "Nobody can be reached there: an endpoint listens on port 1025, where it has not been told otherwise."
	case errors.Is(e, fs.ErrPermission):
		return "Only root and the members of the socket's group may ask the daemon: try as one of them."
	case errors.Is(e, syscall.EINVAL):
		return "The path of a socket has at most 107 bytes: choose a shorter one."
	case d.socket != "":
		return "No daemon listens there: give the socket of one that runs, or start one with 'albatrossd'."
	}
	return fmt.Sprintf("No daemon listens there. Start one with 'albatrossd --tmpdir %s', or tell with --tmpdir\n"+
		"or --socket where one runs.", escape(filepath.Clean(d.tmpdir)))
}
