package actors_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/actors"
	"albatross/actors/console"
	"albatross/actors/host"
	"albatross/actors/meter"
	"albatross/actors/session"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/block"
	"albatross/runtime/confine"
	"albatross/runtime/fair"
	guestos "albatross/runtime/guest"
	"albatross/runtime/history"
	"albatross/runtime/machine"
	"albatross/runtime/proc"
	"albatross/runtime/store"
	"albatross/runtime/tender"
	"albatross/test/guests"
	"albatross/test/netns"
	"albatross/test/programs"
)

// deadline is for what must happen at all; nothing here waits for time to pass.
const deadline = time.Minute

// builtin is the path of albatross-tender.
var builtin string

func TestMain(m *testing.M) {
	netns.Enter()
	dir, err := os.MkdirTemp("", "actors")
	if err != nil {
		panic(err)
	}
	builtin = filepath.Join(dir, "albatross-tender")
	if err := programs.Build(dir, "albatross-tender"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// A world is a daemon without sockets: the actors, a database and a directory
// for consoles. Its unikernels are real.
type world struct {
	t      *testing.T
	dir    string
	opened func() // called when the database has been opened; may be nil
	config *actors.Config
	guests *guestos.Machine // of the config
	user   atomic.Uint32    // of the clients
	clock  supervise.Clock
	fault  func(actor string, message any) // called before each message is handled
	faults *supervise.Faults               // where fault is nil: what goes wrong
	cgroup string                          // the parent of the cgroups, if there are any

	log     io.Writer // of the daemon
	repairs []func()  // what makes the machine as it was

	system *supervise.System
	actors *actors.Actors
	ctx    context.Context // done when the daemon stops
	stop   context.CancelFunc
	serves sync.WaitGroup
}

func newWorld(t *testing.T, set ...func(*world)) *world {
	w := &world{t: t, dir: t.TempDir(), clock: supervise.WallClock(), log: t.Output()}
	w.user.Store(uint32(os.Getuid()))
	w.guests = &guestos.Machine{
		Tenders:  &tender.Finder{Dir: w.dir, Builtin: builtin, Policy: tender.Builtin},
		Launcher: []string{builtin, "launch"},
		FIFODir:  filepath.Join(w.dir, "fifo"),
		Confine:  &confine.Order{User: true},
	}
	w.config = &actors.Config{Config: host.Config{
		Console:        console.New,
		Machine:        w.guests,
		Watch:          machine.WatchAll,
		RootPolicy:     messages.Policy{Unikernels: messages.MaxInt, CPUIDs: []int{0, 1}, Memory: 256},
		Measure:        w.machine,
		Grace:          5 * time.Second,
		Trial:          host.Trial,
		Versions:       messages.DefaultPast,
		MaxSubscribers: 5,
		Meter:          meter.New("test"),
		Work:           fair.New(2),
		StatsInterval:  50 * time.Millisecond,
	}}
	require.NoError(t, os.Mkdir(w.guests.FIFODir, 0o700))
	for _, f := range set {
		f(w)
	}
	w.start()
	t.Cleanup(w.end)
	return w
}

// machine is what a machine has that does not change.
func (w *world) machine() (messages.Policy, error) { return w.config.RootPolicy, nil }

func (w *world) start() {
	var err error
	w.config.DB, err = store.Open(w.dir)
	require.NoError(w.t, err)
	if w.opened != nil {
		w.opened()
	}
	w.guests.Images, err = store.OpenImages(w.dir)
	require.NoError(w.t, err)
	w.config.Blocks, err = block.Open(filepath.Join(w.dir, "block"))
	require.NoError(w.t, err)
	w.guests.Blocks = w.config.Blocks
	w.config.History, err = history.Open(filepath.Join(w.dir, "console"), w.clock.Now)
	require.NoError(w.t, err)
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: level}))
	w.system = supervise.New(w.clock, log)
	w.injectFaults()
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.actors, err = actors.Start(w.system, w.config)
	require.NoError(w.t, err)
}

func (w *world) injectFaults() {
	switch {
	case w.fault != nil:
		w.system.InjectFaults(supervise.NewFaults(0, w.fault))
	case w.faults != nil:
		w.system.InjectFaults(w.faults)
	}
}

// shutdown stops the daemon. The unikernels go on.
func (w *world) shutdown() {
	w.stop()
	w.serves.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	require.NoError(w.t, w.actors.Stop(ctx))
	require.NoError(w.t, w.config.DB.Close())
}

// restart is a new daemon with the same directories.
func (w *world) restart() {
	w.shutdown()
	w.start()
}

// end ends everything, and fails the test where a bug of ours was logged that
// the test did not ask for.
func (w *world) end() {
	w.infos(":") // answered when all that is on record is known
	state, err := w.config.DB.Load()
	require.NoError(w.t, err)
	for _, r := range state.Unikernels { // those between two starts, too
		w.ask(r.Name.String(), messages.UnikernelDestroy{})
	}
	if w.fault == nil && w.faults == nil {
		require.Zero(w.t, w.system.Bugs())
	}
	w.shutdown()
}

// client is a connection that a test holds the other end of.
type client struct {
	w       *world
	in      chan messages.Wire // to the daemon
	stream  io.Reader          // behind a command
	out     chan messages.Wire // from it
	reserve func(int64) error  // memory for an answer; nil: there is enough
	closed  chan struct{}
	once    sync.Once
}

func (c *client) Read() (messages.Wire, error) {
	select {
	case m := <-c.in:
		return m, nil
	case <-c.closed:
		return messages.Wire{}, io.EOF
	}
}

func (c *client) ReadStream(b []byte) (int, error) { return c.stream.Read(b) }

func (c *client) Write(list []messages.Wire) error {
	for _, m := range separate(list) {
		c.w.checkPublic(m)
		if p, ok := m.Payload.(messages.DataBlock); ok && p.Chunk.OK { // it is ours until we return
			p.Chunk.Value = bytes.Clone(p.Chunk.Value)
			m.Payload = p
		}
		select {
		case c.out <- m:
		case <-c.closed:
			return errors.New("the client has left")
		}
	}
	return nil
}

// separate makes messages of lines, as on the wire.
func separate(list []messages.Wire) (all []messages.Wire) {
	for _, m := range list {
		lines, ok := m.Payload.(messages.DataLines)
		if !ok {
			all = append(all, m)
		}
		for _, l := range lines.Lines {
			m.Payload = messages.DataConsole{Old: lines.Old, Time: l.Time, Line: l.Text}
			all = append(all, m)
		}
	}
	return all
}

func (c *client) Peer() messages.Peer { return messages.Peer{UID: c.w.user.Load(), PID: 7} }

func (c *client) Reserve(bytes int64) error {
	if c.reserve == nil {
		return nil
	}
	return c.reserve(bytes)
}

func (c *client) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (w *world) connect(endpoint messages.Endpoint) *client {
	c := w.newClient()
	w.serve(endpoint, c)
	return c
}

func (w *world) newClient() *client {
	return &client{w: w, in: make(chan messages.Wire, 1), out: make(chan messages.Wire), closed: make(chan struct{})}
}

func (w *world) serve(endpoint messages.Endpoint, c session.Client) {
	w.serves.Go(func() {
		if err := w.actors.Serve(w.ctx, endpoint, c); err != nil {
			w.t.Error(err)
		}
	})
}

func (c *client) send(name string, payload messages.Payload) {
	n, err := messages.ParseName(name)
	require.NoError(c.w.t, err)
	c.in <- messages.Wire{Header: messages.Header{Version: messages.Version5, Sequence: 7, Name: n}, Payload: payload}
}

func (c *client) receive() messages.Wire {
	c.w.t.Helper()
	return c.receiveWithin(deadline)
}

func (c *client) receiveWithin(limit time.Duration) messages.Wire {
	c.w.t.Helper()
	select {
	case m := <-c.out:
		return m
	case <-c.closed:
		require.FailNow(c.w.t, "the daemon has closed the connection")
	case <-time.After(limit):
		require.FailNow(c.w.t, "no answer")
	}
	panic("unreachable")
}

// ask is a whole conversation: one command, one answer.
func (w *world) ask(name string, command messages.Command) messages.Payload {
	w.t.Helper()
	c := w.connect(messages.AtVMMD)
	c.send(name, command)
	m := c.receive()
	require.Equal(w.t, int64(7), m.Header.Sequence)
	require.Equal(w.t, messages.Version5, m.Header.Version)
	c.requireClosed()
	return m.Payload
}

func (c *client) requireClosed() {
	c.w.t.Helper()
	select {
	case <-c.closed:
	case <-time.After(deadline):
		require.FailNow(c.w.t, "the connection stays open")
	}
}

func (w *world) succeeds(text, name string, command messages.Command) {
	w.t.Helper()
	require.Equal(w.t, messages.SuccessText{Text: messages.Public(text)}, w.ask(name, command))
}

func (w *world) fails(text, name string, command messages.Command) {
	w.t.Helper()
	require.Equal(w.t, messages.Failure{Text: messages.Public(text)}, w.ask(name, command))
}

func (w *world) infos(name string) []messages.NamedInfo {
	w.t.Helper()
	return w.ask(name, messages.UnikernelInfo{Form: 6}).(messages.SuccessInfos).List
}

// lines follows a console until it has printed n lines.
func (w *world) lines(name string, n int) []string {
	w.t.Helper()
	c := w.follow(name, n)
	defer c.Close()
	var lines []string
	for range n {
		lines = append(lines, c.line())
	}
	return lines
}

// followUntil follows a console until it has printed a line.
func (w *world) followUntil(name, line string) {
	w.t.Helper()
	c := w.follow(name, messages.MaxInt)
	defer c.Close()
	for c.line() != line {
	}
}

func (w *world) follow(name string, count int) *client {
	w.t.Helper()
	c := w.connect(messages.AtConsole)
	c.send(name, messages.ConsoleSubscribe{Count: messages.Some(count)})
	require.Contains(w.t, []messages.Payload{
		messages.SuccessText{Text: "subscribed"}, messages.SuccessText{Text: "waiting for VM"},
	}, c.receive().Payload)
	return c
}

func (c *client) line() string {
	c.w.t.Helper()
	return c.receive().Payload.(messages.DataConsole).Line
}

// guest is a configuration that runs one of our unikernels.
func guest(program string, argv ...string) messages.Config {
	return messages.Config{
		Image: guests.Image(program, "spt"),
		Arguments: messages.Arguments{
			Memory: 16, CPUIDs: []int{0}, CPUs: 1, AddName: true, Argv: messages.Some(append([]string{}, argv...)),
		},
	}
}

func create(c messages.Config) messages.UnikernelCreate {
	return messages.UnikernelCreate{Form: 5, Config: c}
}

func force(c messages.Config) messages.UnikernelCreate {
	return messages.UnikernelCreate{Form: 5, Force: true, Config: c}
}

// record is what is on disk about a name.
func (w *world) record(name string) (messages.Record, bool) {
	w.t.Helper()
	state, err := w.config.DB.Load()
	require.NoError(w.t, err)
	for _, r := range state.Unikernels {
		if r.Name.String() == name {
			return r, true
		}
	}
	return messages.Record{}, false
}

// pid is that of the tender that is on record, and that is alive.
func (w *world) pid(name string) int {
	w.t.Helper()
	r, ok := w.record(name)
	require.True(w.t, ok, "%s is not on record", name)
	require.True(w.t, r.Runtime.OK, "no tender of %s is on record", name)
	p := r.Runtime.Value.Process
	now, err := proc.Identify(p.PID)
	require.NoError(w.t, err)
	require.Equal(w.t, p, now)
	return p.PID
}

// kill ends a tender from outside.
func (w *world) kill(name string) { require.NoError(w.t, unix.Kill(w.pid(name), unix.SIGKILL)) }

// killAndReap ends a process, and takes its exit away.
func (w *world) killAndReap(pid int) {
	require.NoError(w.t, unix.Kill(pid, unix.SIGKILL))
	_, err := unix.Wait4(pid, nil, 0, nil)
	require.NoError(w.t, err)
}

// until asks again and again for what will be true soon.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	require.Eventually(w.t, holds, deadline, 5*time.Millisecond, what)
}

// consoles is how many there are.
func (w *world) consoles() int { return w.system.Population()["console"].Actors }

// requireNothing makes sure that no trace of a unikernel is left.
func (w *world) requireNothing() {
	w.t.Helper()
	w.until("nothing runs", func() bool { return len(w.infos(":")) == 0 })
	state, err := w.config.DB.Load()
	require.NoError(w.t, err)
	require.Empty(w.t, state.Unikernels)
	w.until("no FIFO is left", func() bool { return w.empty("fifo") })
	w.until("no image is left", func() bool { return w.empty("images") })
}

func (w *world) empty(dir string) bool {
	entries, err := os.ReadDir(filepath.Join(w.dir, dir))
	require.NoError(w.t, err)
	return len(entries) == 0
}
