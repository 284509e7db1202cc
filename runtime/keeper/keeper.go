// Package keeper is the daemon's side of its keeper, albatross-keeper, the process that keeps
// running when the daemon ends. Through it the daemon starts tenders, learns how they end,
// and takes their consoles. Package wire documents the protocol.
//
// A Claim is the right to read consoles. The kernel frees it when this program ends. The
// keeper has it only while it reads, or reads what the daemon that is connected has left to it.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/seqpacket"
	"albatross/runtime/seqpacket/ask"
)

// answerTimeout bounds an answer. A keeper that runs answers at once; nobody waits for one
// that was stopped.
const answerTimeout = 10 * time.Second

var (
	// ErrLost says that the connection to the keeper has ended. Connect starts another keeper.
	ErrLost = errors.New("the connection to the keeper has ended")
	// ErrSilent says that the keeper runs, and has not answered in time.
	ErrSilent = errors.New("the keeper does not answer")
	// ErrNone says that no keeper runs.
	ErrNone = errors.New("no keeper runs")
	// ErrOlder says that the keeper is of a build that passes no descriptors on.
	ErrOlder = errors.New("the keeper is older than this daemon, and passes no descriptors on")
)

// A NewerError says that the keeper speaks a newer protocol than this daemon.
type NewerError struct{ Reason string }

func (e *NewerError) Error() string {
	return "cannot use the keeper: " + e.Reason + "; start the newer daemon"
}

// An Ended is a process that has ended. The keeper repeats it to each daemon until Forget.
type Ended struct {
	Name    string // of the unikernel
	Process messages.Process
	End     wire.End
}

// A Config says how to reach a keeper.
type Config struct {
	DBDir   string
	Program string // albatross-keeper, to start if none runs
	Build   string // of this program
	// Read: this program reads the consoles of all kept processes, and has the claim.
	Read bool
	// Await: somebody else starts a keeper if none runs. Until then the error is ErrNone.
	Await bool
	// Ended is called for each end, at least once, by one goroutine. It must not wait for an
	// answer of the keeper.
	Ended func(Ended)
	// Trouble is called in the same way for what has gone wrong in the keeper.
	Trouble func(text string)
}

// A Client is the connection of a daemon to its keeper. Its methods may be called
// concurrently.
type Client struct {
	conn    *ask.Conn[wire.Answer]
	ended   func(Ended)
	trouble func(string)

	mu      sync.Mutex
	build   string
	pass    bool // it passes descriptors on
	managed bool
}

// An answer is an Answer with its descriptors.
type answer struct {
	wire.Answer
	files []int
}

// Connect connects to the keeper of a database directory, and starts one if none runs. It
// upgrades a keeper that speaks an older protocol.
func Connect(ctx context.Context, config Config) (*Client, error) {
	var c *Client
	err := RetryLost(func() (err error) {
		c, err = connect(ctx, config)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// lostTries is how many keepers in a row may end while a daemon speaks to them.
const lostTries = 5

// RetryLost repeats what has failed with ErrLost: a keeper may have died, or have ended just
// then because it kept nothing, and the next one answers.
func RetryLost(do func() error) error {
	for try := 1; ; try++ {
		if err := do(); try == lostTries || !errors.Is(err, ErrLost) {
			return err
		}
	}
}

func connect(ctx context.Context, config Config) (*Client, error) {
	conn, err := dial(ctx, config.DBDir)
	switch {
	case !ask.NobodyListens(err):
	case config.Await:
		err = ErrNone
	default:
		conn, err = dialNew(ctx, config)
	}
	if errors.Is(err, unix.EAGAIN) { // others wait before us
		err = ErrSilent
	}
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the keeper: %w", err)
	}
	c, err := newClient(conn, config)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if err := c.greet(ctx, config); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// dialNew starts a keeper. Another one may be about to listen, which a daemon that was just
// killed has started, or about to end, because it keeps nothing.
func dialNew(ctx context.Context, config Config) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for {
		failed := run(ctx, config)
		if failed != nil && !errors.Is(failed, errTaken) {
			return nil, failed
		}
		conn, err := dial(ctx, config.DBDir)
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

// startPoll is the pause before another keeper is started.
const startPoll = 50 * time.Millisecond

func newClient(conn *net.UnixConn, config Config) (*Client, error) {
	c := &Client{ended: config.Ended, trouble: config.Trouble}
	var err error
	c.conn, err = ask.New(conn, ask.Protocol[wire.Answer]{
		MaxFrame: wire.MaxFrame,
		Timeout:  answerTimeout,
		Decode:   func(frame []byte, a *wire.Answer) error { return wire.Decode(frame, a) },
		ID:       func(a wire.Answer) uint64 { return a.ID },
		News:     c.hear,
		Lost:     ErrLost,
		Silent:   ErrSilent,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot trust the keeper: %w", err)
	}
	return c, nil
}

func dial(ctx context.Context, dbdir string) (*net.UnixConn, error) {
	return ask.Dial(ctx, filepath.Join(dbdir, wire.Dir), wire.Socket)
}

// greet says hello.
func (c *Client) greet(ctx context.Context, config Config) error {
	hello := wire.Request{Do: wire.Hello, Protocol: wire.Protocol, Build: config.Build, Read: config.Read}
	a, err := c.ask(ctx, hello, nil)
	if err == nil {
		c.greeted(a)
		return nil
	}
	switch {
	case errors.Is(err, ErrSilent):
		return fmt.Errorf("cannot use the keeper, process %d: %w; kill it, and the next one takes over", c.PID(), err)
	case a.Protocol > wire.Protocol:
		return &NewerError{err.Error()}
	case a.Protocol == 0 || a.Protocol == wire.Protocol:
		return fmt.Errorf("cannot use the keeper: %w", err)
	}
	if err := c.Upgrade(ctx, config.Program); err != nil {
		return err
	}
	if a, err = c.ask(ctx, hello, nil); err != nil {
		return fmt.Errorf("cannot use the keeper: %w", err)
	}
	c.greeted(a)
	return nil
}

// greeted notes the answer to a hello.
func (c *Client) greeted(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.build, c.pass, c.managed = a.Build, a.Pass, a.Managed
}

// Managed reports whether a service manager starts the keeper again when it ends.
func (c *Client) Managed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.managed
}

// Build returns the build of the keeper.
func (c *Client) Build() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.build
}

// learn notes what another build of the keeper is.
func (c *Client) learn(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.build, c.pass = a.Build, a.Pass
}

func (c *Client) passes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pass
}

// PID returns the process of the keeper. An upgrade does not change it.
func (c *Client) PID() int { return c.conn.PID() }

// Done is closed when the connection has ended. No kept process ends with it.
func (c *Client) Done() <-chan struct{} { return c.conn.Done() }

// Close ends the connection. The keeper begins to read consoles if nobody has the claim.
func (c *Client) Close() { c.conn.Close() }

// ask sends a request and waits for the answer. The descriptors of both belong to the
// caller; after an error there are none.
func (c *Client) ask(ctx context.Context, r wire.Request, files []*os.File) (answer, error) {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	a, received, err := c.conn.Ask(ctx, func(id uint64) ([]byte, error) {
		r.ID = id
		return wire.Encode(r)
	}, fds)
	if err != nil {
		return answer{}, err
	}
	return understand(answer{a, received})
}

// understand returns a refusal as an error.
func understand(a answer) (answer, error) {
	err := error(nil)
	switch {
	case a.Err != "":
		err = errors.New(a.Err)
	case len(a.Files) != len(a.files):
		err = fmt.Errorf("the keeper has sent %d descriptors, not %d: %w", len(a.files), len(a.Files), seqpacket.ErrCut)
	default:
		return a, nil
	}
	seqpacket.CloseAll(a.files)
	a.files = nil
	return a, err
}

// hear passes on what nobody has asked for.
func (c *Client) hear(a wire.Answer) {
	if a.End != nil {
		c.ended(Ended{a.Name, a.Process, *a.End})
		return
	}
	c.trouble(a.Err)
}
