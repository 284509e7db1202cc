package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/detach"
	"albatross/runtime/fifo"
	"albatross/runtime/history"
	client "albatross/runtime/keeper"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/tender/launcher"
	"albatross/test/netns"
	"albatross/test/programs"
)

// The tests run the real program as a process, and speak to it as a daemon does. The test
// binary runs itself again as tenders, and as daemons that are killed.
var (
	directory string
	builds    [2]string // of the program, which differ in their versions
	tender    string    // albatross-tender, whose launcher is used
)

// deadline is far above what anything here takes.
const deadline = time.Minute

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "print":
			printLines(os.Args[2:])
		case "daemon":
			tender = os.Args[4]
			daemon(os.Args[2], os.Args[3])
		}
	}
	netns.Enter()
	// Who is killed here leaves children, and this process is to inherit them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(directory)
		os.Exit(code)
	}))
}

func build() (err error) {
	if directory, err = os.MkdirTemp("", "albatross-keeper"); err != nil {
		return err
	}
	for i := range builds {
		builds[i] = filepath.Join(directory, strconv.Itoa(i), "albatross-keeper")
		out, err := exec.Command("go", "build", "-trimpath", "-ldflags", fmt.Sprintf("-X main.version=build-%d", i), "-o", builds[i], ".").CombinedOutput()
		if err != nil {
			return fmt.Errorf("cannot build: %w\n%s", err, out)
		}
	}
	tender = filepath.Join(directory, "albatross-tender")
	return programs.Build(directory, "albatross-tender")
}

func self() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// A world is a database directory with a keeper, and a daemon that may be connected.
type world struct {
	t      testing.TB
	dbdir  string
	client *client.Client // nil: no daemon runs
	claim  *client.Claim  // of that
	keeper int            // its process

	mu       sync.Mutex
	ends     map[messages.Process]client.Ended
	reported int // how often an end was reported
	trouble  []string
	news     chan struct{} // has something after an end was reported
}

func newWorld(t testing.TB) *world {
	return newWorldIn(t, t.TempDir())
}

func newWorldIn(t testing.TB, dbdir string) *world {
	w := &world{t: t, dbdir: dbdir, ends: map[messages.Process]client.Ended{}, news: make(chan struct{}, 1)}
	t.Cleanup(w.end)
	w.connect()
	return w
}

func (w *world) config() client.Config {
	return client.Config{
		DBDir: w.dbdir, Program: builds[0], Build: "test",
		Ended:   w.note,
		Trouble: func(text string) { w.mu.Lock(); defer w.mu.Unlock(); w.trouble = append(w.trouble, text) },
	}
}

func (w *world) note(e client.Ended) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends[e.Process] = e
	w.reported++
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// connect is the beginning of a daemon.
func (w *world) connect() {
	w.t.Helper()
	w.connectWith(w.config())
}

func (w *world) connectWith(config client.Config) {
	w.t.Helper()
	claim, err := client.NewClaim(w.ctx(), w.dbdir)
	require.NoError(w.t, err)
	c, err := client.Connect(w.ctx(), config)
	require.NoError(w.t, err)
	w.client, w.claim, w.keeper = c, claim, c.PID()
}

// serve replaces the keeper by one that a service manager has started.
func (w *world) serve() {
	w.t.Helper()
	w.disconnect()
	w.kill()
	reports, report, err := os.Pipe()
	require.NoError(w.t, err)
	c := exec.Command(builds[0], "--dbdir="+w.dbdir, "--ready=3")
	c.ExtraFiles = []*os.File{report}
	require.NoError(w.t, c.Start())
	require.NoError(w.t, report.Close())
	text, err := io.ReadAll(reports)
	require.NoError(w.t, err)
	require.NoError(w.t, reports.Close())
	require.Equal(w.t, detach.Ready, string(text))
	require.NoError(w.t, c.Process.Release())
	w.connect()
}

// disconnect is the end of a daemon.
func (w *world) disconnect() {
	if w.client != nil {
		w.client.Close()
		w.claim.Release()
		w.client = nil
	}
}

// end ends all that is left, and looks for what the keeper has left behind.
func (w *world) end() {
	w.disconnect()
	w.kill()
	for _, e := range w.journal() {
		if e.End == nil {
			_ = unix.Kill(e.Process.PID, unix.SIGKILL) // it may have ended
			reap(e.Process.PID)
		}
	}
	if !w.t.Failed() {
		require.Empty(w.t, w.trouble)
	}
}

// kill ends the keeper.
func (w *world) kill() {
	if w.keeper > 0 {
		_ = unix.Kill(w.keeper, unix.SIGKILL)
		reap(w.keeper)
		w.keeper = 0
	}
}

// reap waits for a child that has been killed; one of somebody else is left to that one.
func reap(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

func (w *world) journal() []entry {
	data, err := os.ReadFile(filepath.Join(w.dbdir, wire.Dir, wire.Journal))
	require.NoError(w.t, err)
	kept, whole := readJournal(data)
	require.True(w.t, whole)
	return kept
}

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	w.t.Cleanup(cancel)
	return ctx
}

func (w *world) troubles() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.trouble)
}

// until waits for something that must happen.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(deadline); !done(); time.Sleep(5 * time.Millisecond) {
		require.True(w.t, time.Now().Before(end), "%s; trouble: %q", what, w.troubles())
	}
}

// A guest is a process that was started in place of a tender.
type guest struct {
	*client.Started
	name    messages.Name
	Console *os.File // nil: it belongs to somebody else
}

func (g guest) Close() {
	g.Started.Close()
	if g.Console != nil {
		_ = g.Console.Close()
	}
}

// start starts a process with a console as the daemon makes them.
func start(ctx context.Context, c *client.Client, o client.Order) (g guest, err error) {
	dir, err := os.MkdirTemp("", "console")
	if err != nil {
		return guest{}, err
	}
	path := fifo.Path(dir, o.Name)
	if err = fifo.Create(path); err == nil {
		o.Output, o.Console, err = fifo.Unname(path)
	}
	if err = errors.Join(err, os.Remove(dir)); err != nil {
		return guest{}, err
	}
	defer func() { _ = o.Output.Close() }()
	s, err := c.Start(ctx, o)
	if err != nil {
		_ = o.Console.Close()
		return guest{}, err
	}
	return guest{s, o.Name, o.Console}, nil
}

func named(label string) messages.Name { return messages.Name{Label: messages.Label(label)} }

// launch starts a program, which waits at its gate.
func (w *world) launch(name string, argv ...string) guest {
	w.t.Helper()
	g, err := start(w.ctx(), w.client, orderOf(name, argv...))
	require.NoError(w.t, err)
	return g
}

func orderOf(name string, argv ...string) client.Order {
	return client.Order{Name: named(name), Argv: append([]string{tender, "launch", "--cpus=", "--"}, argv...)}
}

// open lets it become the program.
func (g guest) open(t testing.TB) {
	t.Helper()
	_, err := g.Gate.Write([]byte{1})
	require.NoError(t, err)
	require.NoError(t, g.Status.SetReadDeadline(time.Now().Add(deadline)))
	report, err := io.ReadAll(g.Status)
	require.NoError(t, err)
	require.Equal(t, launcher.Began, string(report))
}

// run starts a program that runs.
func (w *world) run(name string, argv ...string) guest {
	w.t.Helper()
	g := w.launch(name, argv...)
	g.open(w.t)
	return g
}

func (w *world) shell(name, script string) guest {
	w.t.Helper()
	return w.run(name, "/bin/sh", "-c", script)
}

// ended waits until the end of a process was reported.
func (w *world) ended(p messages.Process) client.Ended {
	w.t.Helper()
	var e client.Ended
	w.until(fmt.Sprintf("process %d ends", p.PID), func() (known bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		e, known = w.ends[p]
		return known
	})
	return e
}

// forgetEnds is for a new daemon, which knows of nothing.
func (w *world) forgetEnds() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.ends)
}

func (w *world) endsReported() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ends)
}

// history is what the console of a unikernel remembers. It reads a copy: who opens the file itself
// replaces it where a frame is incomplete, which it is while the keeper writes one.
func (w *world) history(name string) (lines []string) {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dbdir, "console", named(name).String()))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(w.t, err)
	dir, err := os.MkdirTemp("", "history")
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, os.RemoveAll(dir)) }()
	require.NoError(w.t, os.WriteFile(filepath.Join(dir, named(name).String()), data, 0o600))
	d, err := history.Open(dir, time.Now)
	require.NoError(w.t, err)
	log := d.Log(named(name), func(err error) { w.t.Error(err) })
	defer log.Close()
	reader := log.FollowLast(-1)
	for {
		some, _ := reader.Read(log.Next())
		if len(some) == 0 {
			return lines
		}
		for _, l := range some {
			lines = append(lines, l.Text)
		}
	}
}

// printLines is a program that prints so many lines, as fast as it can or at so many a
// second, and exits with a code.
func printLines(arguments []string) {
	count, _ := strconv.Atoi(arguments[0])
	rate, _ := strconv.Atoi(arguments[1])
	code, _ := strconv.Atoi(arguments[2])
	for n := 1; n <= count; n++ {
		if _, err := fmt.Printf("line %d\n", n); err != nil {
			os.Exit(99)
		}
		if rate > 0 {
			time.Sleep(time.Second / time.Duration(rate))
		}
	}
	os.Exit(code)
}

// numbered are the lines that printLines prints, from one to another.
func numbered(first, last int) (lines []string) {
	for n := first; n <= last; n++ {
		lines = append(lines, fmt.Sprintf("line %d", n))
	}
	return lines
}

// daemon is one that starts a process, prints its pid, and is killed.
func daemon(dbdir, program string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	c, err := client.Connect(context.Background(), client.Config{DBDir: dbdir, Program: program, Ended: func(client.Ended) {}, Trouble: func(string) {}})
	fail(err)
	s, err := start(context.Background(), c, orderOf("gated", "/bin/sh", "-c", "echo it has run; exit 3"))
	fail(err)
	fmt.Println(s.Process.PID)
	select {}
}
