// Package process is the daemon's side of the process of a network, albatross-network, which
// serves DHCP and DNS, holds published ports, and is the switch of a network in user mode. Package
// wire documents the protocol.
//
// The process goes on when the daemon ends, and Connect finds it again. What the daemon has not
// told it, it does not know: a new process is told everything. A process that dies takes the
// connections of a network in user mode with it; the stations stay, if the daemon has a copy of
// their descriptors and attaches them to the next process.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/network/wire"
	"albatross/runtime/seqpacket"
	"albatross/runtime/seqpacket/ask"
)

// answerTimeout bounds an answer. A process that runs answers at once; nobody waits for one
// that was stopped.
const answerTimeout = 10 * time.Second

var (
	// ErrLost says that the process has ended. Connect starts another one.
	ErrLost = errors.New("the process of the network has ended")
	// ErrSilent says that the process runs, and has not answered in time.
	ErrSilent = errors.New("the process of the network does not answer")
)

// A RefusedError is why the process has refused a request, for clients.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// A Config says how to reach a process.
type Config struct {
	Dir     string // of this process alone; it is made if it is missing
	Bridge  string
	Program string // albatross-network, to start if no process runs
	Build   string // of this program
	// Log is called for what the process has to report, by one goroutine. It must not wait for
	// an answer of the process.
	Log func(text string)
}

// A Client is the connection of a daemon to the process of a network. Its methods may be called
// concurrently; requests are carried out in their order.
type Client struct {
	conn  *ask.Conn[wire.Answer]
	dir   string
	build string
	known wire.Config
}

// lostTries is how many processes in a row may end while a daemon speaks to them.
const lostTries = 5

// Connect connects to the process of a network, and starts one if none runs.
func Connect(ctx context.Context, config Config) (*Client, error) {
	for try := 1; ; try++ {
		c, err := connect(ctx, config)
		if !errors.Is(err, ErrLost) || try == lostTries { // it may have ended just then
			return c, err
		}
	}
}

func connect(ctx context.Context, config Config) (*Client, error) {
	conn, err := ask.Dial(ctx, config.Dir, wire.Socket)
	if ask.NobodyListens(err) {
		conn, err = dialNew(ctx, config)
	}
	if errors.Is(err, unix.EAGAIN) { // others wait before us
		err = ErrSilent
	}
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the process of network %s: %w", config.Bridge, err)
	}
	c, err := newClient(conn, config)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("cannot trust the process of network %s: %w", config.Bridge, err)
	}
	if err := c.greet(ctx, config); err != nil {
		c.Close()
		return nil, fmt.Errorf("cannot use the process of network %s, %d: %w", config.Bridge, c.PID(), err)
	}
	return c, nil
}

func newClient(conn *net.UnixConn, config Config) (*Client, error) {
	c := &Client{dir: config.Dir}
	var err error
	c.conn, err = ask.New(conn, ask.Protocol[wire.Answer]{
		MaxFrame: wire.MaxFrame,
		Timeout:  answerTimeout,
		Decode:   func(frame []byte, a *wire.Answer) error { return wire.Decode(frame, a) },
		ID:       func(a wire.Answer) uint64 { return a.ID },
		News:     func(a wire.Answer) { config.Log(a.Text) },
		Lost:     ErrLost,
		Silent:   ErrSilent,
	})
	return c, err
}

// startPoll is the pause before another process is started.
const startPoll = 50 * time.Millisecond

// dialNew starts a process. Another one may be about to listen, or about to end.
func dialNew(ctx context.Context, config Config) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, err
	}
	var last error
	for {
		taken, failed := start(ctx, config)
		if failed != nil && !taken {
			if ctx.Err() != nil && last != nil { // what it waited for says more
				failed = last
			}
			return nil, failed
		}
		last = failed
		conn, err := ask.Dial(ctx, config.Dir, wire.Socket)
		if failed == nil || !ask.NobodyListens(err) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, failed
		case <-time.After(startPoll):
		}
	}
}

// start starts a process and returns when it listens. It is no child of this program.
func start(ctx context.Context, config Config) (taken bool, err error) {
	c := exec.CommandContext(ctx, config.Program, "--detach", config.Dir, config.Bridge)
	c.Env, c.Dir = []string{}, "/"
	if out, err := c.CombinedOutput(); err != nil {
		taken = c.ProcessState != nil && c.ProcessState.ExitCode() == wire.Taken
		return taken, fmt.Errorf("cannot start it: %w: %s", err, bytes.TrimSpace(out))
	}
	return false, nil
}

// greet says hello.
func (c *Client) greet(ctx context.Context, config Config) error {
	a, _, err := c.ask(ctx, wire.Request{Do: wire.Hello, Protocol: wire.Protocol, Build: config.Build}, nil, 0)
	switch {
	case errors.Is(err, ErrSilent):
		return fmt.Errorf("%w; kill it, and the next one takes over", err)
	case err != nil:
		return err
	}
	c.build, c.known = a.Build, a.Config
	return nil
}

// Build returns the build of the process.
func (c *Client) Build() string { return c.build }

// Known returns how the process was configured when this program connected to it; it is zero
// for a new one.
func (c *Client) Known() wire.Config { return c.known }

// PID returns the process.
func (c *Client) PID() int { return c.conn.PID() }

// Done is closed when the connection has ended, as it does with the process.
func (c *Client) Done() <-chan struct{} { return c.conn.Done() }

// Close ends the connection. The process goes on.
func (c *Client) Close() { c.conn.Close() }

// ask sends a request and waits for the answer, which has as many descriptors as are wanted.
func (c *Client) ask(ctx context.Context, r wire.Request, files []int, wanted int) (wire.Answer, []int, error) {
	a, received, err := c.conn.Ask(ctx, func(id uint64) ([]byte, error) {
		r.ID = id
		return wire.Encode(r)
	}, files)
	switch {
	case err != nil:
		return a, nil, err
	case a.Err != "":
		err = &RefusedError{a.Err}
	case len(received) != wanted || a.Descriptors != wanted:
		err = fmt.Errorf("the process of the network has sent %d descriptors, not %d", len(received), wanted)
	default:
		return a, received, nil
	}
	seqpacket.CloseAll(received)
	return a, nil, err
}

func (c *Client) do(ctx context.Context, r wire.Request) error {
	_, _, err := c.ask(ctx, r, nil, 0)
	return err
}

// Configure begins the network. It has no effect if it is configured in the same way.
func (c *Client) Configure(ctx context.Context, config wire.Config) error {
	return c.do(ctx, wire.Request{Do: wire.Configure, Config: config})
}

// Admit serves a station, in place of one with the same MAC address.
func (c *Client) Admit(ctx context.Context, s wire.Station) error {
	return c.do(ctx, wire.Request{Do: wire.Admit, Station: s})
}

// Dismiss ends a station, if it is there.
func (c *Client) Dismiss(ctx context.Context, mac messages.MAC) error {
	return c.do(ctx, wire.Request{Do: wire.Dismiss, MAC: mac})
}

// Publish takes a port of the host, which in user mode leads to an address of the network from
// now on. A port that somebody else has is a RefusedError.
func (c *Client) Publish(ctx context.Context, p messages.Publication, target netip.Addr) error {
	return c.do(ctx, wire.Request{Do: wire.Publish, Publication: p, Target: target})
}

// Unpublish gives a port back, if it is held.
func (c *Client) Unpublish(ctx context.Context, p messages.Publication) error {
	return c.do(ctx, wire.Request{Do: wire.Unpublish, Publication: p})
}

// Attach connects an admitted station of a network in user mode. The file is the switch's end of
// a pair of sockets that preserve messages; it stays the caller's.
func (c *Client) Attach(ctx context.Context, mac messages.MAC, file *os.File) error {
	raw, err := file.SyscallConn() // Fd might change how both processes use it
	if err != nil {
		return err
	}
	var asked error
	err = raw.Control(func(fd uintptr) {
		_, _, asked = c.ask(ctx, wire.Request{Do: wire.Attach, MAC: mac}, []int{int(fd)}, 0)
	})
	return errors.Join(err, asked)
}

// Descriptor returns another descriptor of the one that is attached, for Attach to another
// process. It is closed by an exec.
func (c *Client) Descriptor(ctx context.Context, mac messages.MAC) (*os.File, error) {
	_, files, err := c.ask(ctx, wire.Request{Do: wire.Descriptor, MAC: mac}, nil, 1)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(files[0]), mac.String()), nil
}

// List returns all stations and publications that the process knows.
func (c *Client) List(ctx context.Context) (stations []wire.Admitted, ports []wire.Published, err error) {
	r := wire.Request{Do: wire.List}
	for {
		a, _, err := c.ask(ctx, r, nil, 0)
		if err != nil {
			return nil, nil, err
		}
		stations = append(stations, a.Stations...)
		ports = append(ports, a.Publications...)
		if !a.More || len(a.Stations)+len(a.Publications) == 0 {
			return stations, ports, nil
		}
		r.Published = len(ports)
		if n := len(stations); n > 0 {
			r.After = stations[n-1].Station.MAC
		}
	}
}

// Quit ends the process, and removes its directory when it has ended.
func (c *Client) Quit(ctx context.Context) error {
	err := c.do(ctx, wire.Request{Do: wire.Quit})
	if err != nil && !errors.Is(err, ErrLost) {
		return err
	}
	select {
	case <-c.Done():
		return remove(ctx, c.dir)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrSilent, ctx.Err())
	}
}

// remove removes the directory of a process that has ended. One that was started and given up may
// have made files there meanwhile.
func remove(ctx context.Context, dir string) error {
	for {
		err := os.RemoveAll(dir)
		if !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(startPoll):
		}
	}
}
