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
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/keeper/wire"
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
	conn    *net.UnixConn
	raw     syscall.RawConn
	pid     int
	ended   func(Ended)
	trouble func(string)
	turn    chan struct{} // held by the one that sends
	done    chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan answer
	lost    bool
	build   string
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
	case !nobodyListens(err):
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

// peer returns the process on the other side of a connection, if it may be trusted.
func peer(conn *net.UnixConn) (pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var checked error
	err = raw.Control(func(fd uintptr) { pid, checked = wire.CheckPeer(int(fd)) })
	return pid, errors.Join(err, checked)
}

func nobodyListens(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED)
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
		if failed == nil || !nobodyListens(err) {
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
	pid, err := peer(conn)
	if err != nil {
		return nil, fmt.Errorf("cannot trust the keeper: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("cannot use the keeper: %w", err)
	}
	c := &Client{
		conn: conn, raw: raw, pid: pid, ended: config.Ended, trouble: config.Trouble,
		turn: make(chan struct{}, 1), done: make(chan struct{}), waiting: map[uint64]chan answer{},
	}
	go c.receive()
	return c, nil
}

// dial connects. It uses a descriptor of the directory, since the kernel wants a short path.
func dial(ctx context.Context, dbdir string) (*net.UnixConn, error) {
	dir, err := unix.Open(filepath.Join(dbdir, wire.Dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixpacket", fmt.Sprintf("/proc/self/fd/%d/%s", dir, wire.Socket))
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
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
		return fmt.Errorf("cannot use the keeper, process %d: %w; kill it, and the next one takes over", c.pid, err)
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
	c.build, c.managed = a.Build, a.Managed
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

func (c *Client) setBuild(build string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.build = build
}

// PID returns the process of the keeper. An upgrade does not change it.
func (c *Client) PID() int { return c.pid }

// Done is closed when the connection has ended. No kept process ends with it.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection. The keeper begins to read consoles if nobody has the claim.
func (c *Client) Close() {
	_ = c.conn.Close()
	<-c.done
}

// ask sends a request and waits for the answer. The descriptors of both belong to the
// caller; after an error there are none.
func (c *Client) ask(ctx context.Context, r wire.Request, files []*os.File) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	id, waits, err := c.expect()
	if err != nil {
		return answer{}, err
	}
	r.ID = id
	if err := c.send(ctx, r, files); err != nil {
		c.disown(id, waits)
		return answer{}, err
	}
	select {
	case a, came := <-waits:
		if !came {
			return answer{}, ErrLost
		}
		return understand(a)
	case <-ctx.Done():
		c.disown(id, waits)
		return answer{}, fmt.Errorf("%w: %w", ErrSilent, ctx.Err())
	}
}

// understand returns a refusal as an error.
func understand(a answer) (answer, error) {
	err := error(nil)
	switch {
	case a.Err != "":
		err = errors.New(a.Err)
	case len(a.Files) != len(a.files):
		err = fmt.Errorf("the keeper has sent %d descriptors, not %d: %w", len(a.files), len(a.Files), wire.ErrCut)
	default:
		return a, nil
	}
	wire.CloseAll(a.files)
	a.files = nil
	return a, err
}

func (c *Client) expect() (id uint64, waits chan answer, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost {
		return 0, nil, ErrLost
	}
	c.next++
	waits = make(chan answer, 1)
	c.waiting[c.next] = waits
	return c.next, waits, nil
}

// disown gives up an answer. Its descriptors are closed, now or when it arrives.
func (c *Client) disown(id uint64, waits chan answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
	select {
	case a := <-waits: // a zero value if the connection has ended
		wire.CloseAll(a.files)
	default:
	}
}

func (c *Client) send(ctx context.Context, r wire.Request, files []*os.File) error {
	frame, err := wire.Encode(r)
	if err != nil {
		return err
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrSilent, ctx.Err())
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	end, _ := ctx.Deadline() // there is one
	if err := c.conn.SetWriteDeadline(end); err != nil {
		return ErrLost
	}
	var sent error
	err = c.raw.Write(func(fd uintptr) bool {
		sent = wire.Send(int(fd), frame, fds)
		return sent != unix.EAGAIN
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrSilent, context.DeadlineExceeded)
	case err != nil, sent == unix.EPIPE, sent == unix.ECONNRESET:
		return ErrLost
	}
	return os.NewSyscallError("sendmsg", sent)
}

// receive delivers messages until the connection ends.
func (c *Client) receive() {
	defer close(c.done)
	buffer := make([]byte, wire.MaxFrame)
	for c.receiveOne(buffer) {
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
	for _, waits := range c.waiting {
		close(waits)
	}
	c.waiting = nil
}

// receiveOne returns false at the end of the connection. A message that cannot be decoded
// ends it as well.
func (c *Client) receiveOne(buffer []byte) bool {
	var frame []byte
	var files []int
	var err error
	failed := c.raw.Read(func(fd uintptr) bool {
		frame, files, err = wire.Receive(int(fd), buffer)
		return err != unix.EAGAIN
	})
	if failed != nil || err != nil && err != wire.ErrCut || len(frame) == 0 {
		wire.CloseAll(files)
		return false
	}
	a := answer{files: files}
	if err := wire.Decode(frame, &a.Answer); err != nil {
		wire.CloseAll(files)
		return false
	}
	c.give(a)
	return true
}

// give delivers one message.
func (c *Client) give(a answer) {
	switch {
	case a.ID != 0:
	case a.End != nil:
		c.ended(Ended{a.Name, a.Process, *a.End})
	default:
		c.trouble(a.Err)
	}
	if !c.deliver(a) {
		wire.CloseAll(a.files)
	}
}

// deliver returns false if nobody waits for the answer.
func (c *Client) deliver(a answer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	waits, wanted := c.waiting[a.ID]
	if wanted {
		delete(c.waiting, a.ID)
		waits <- a // it has room for one
	}
	return wanted
}
