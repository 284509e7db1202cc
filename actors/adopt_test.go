package actors_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// A foreign is a unikernel that another daemon runs. It prints to a FIFO.
type foreign struct {
	w    *world
	name string
	*os.File
}

// foreign starts one; link is the connection of the other daemon.
func (w *world) foreign(link *client, name string) *foreign {
	w.t.Helper()
	w.makeFIFO(name)
	require.Equal(w.t, messages.SuccessEmpty{}, link.ask(name, add(messages.MaxInt)))
	return w.runForeign(name)
}

// makeFIFO makes a FIFO that a daemon does not remove when it starts.
func (w *world) makeFIFO(name string) {
	w.t.Helper()
	w.infos(":")
	require.NoError(w.t, mkfifo(w.fifo(name)))
}

// mkfifo makes a FIFO as native albatross does, without opening it. A process that opened and
// closed it would be its last writer. The reader would take the close for the end of the unikernel.
func mkfifo(path string) error {
	if err := unix.Mkfifo(path, 0o600); err != unix.EEXIST {
		return err
	}
	return nil
}

func (w *world) fifo(name string) string { return filepath.Join(w.guests.FIFODir, name) }

func (w *world) runForeign(name string) *foreign {
	w.t.Helper()
	var f *os.File
	w.until("somebody reads it", func() (reads bool) {
		var err error
		f, err = os.OpenFile(w.fifo(name), os.O_WRONLY|unix.O_NONBLOCK, 0)
		return err == nil
	})
	return &foreign{w, name, f}
}

func (f *foreign) print(text string) {
	f.w.t.Helper()
	_, err := f.WriteString(text)
	require.NoError(f.w.t, err)
}

// end ends the unikernel as native albatross does, which removes the FIFO. A host that has started
// may have removed it before, since no process had it open.
func (f *foreign) end() {
	f.w.t.Helper()
	require.NoError(f.w.t, f.Close())
	if err := os.Remove(f.Name()); !errors.Is(err, os.ErrNotExist) {
		require.NoError(f.w.t, err)
	}
}

func add(limit int) messages.ConsoleAdd { return messages.ConsoleAdd{Max: messages.Some(limit)} }

// ask gives a command on a connection that stays open.
func (c *client) ask(name string, command messages.Command) messages.Payload {
	c.w.t.Helper()
	c.send(name, command)
	return c.receive().Payload
}

// inactive returns the names of the consoles without a unikernel.
func (w *world) inactive(path string) (names []string) {
	w.t.Helper()
	c := w.connect(messages.AtConsole)
	for _, n := range c.ask(path, messages.ConsoleListInactive{}).(messages.SuccessConsoles).List {
		names = append(names, n.String())
	}
	<-c.closed
	return names
}

func (w *world) untilInactive(path string, names ...string) {
	w.t.Helper()
	w.until(fmt.Sprint("inactive are ", names), func() bool { return fmt.Sprint(names) == fmt.Sprint(w.inactive(path)) })
}

// TestAConsoleOfAnotherDaemon: the daemon reads the console to its end. It is a post-mortem then.
// The same holds for the next run.
func TestAConsoleOfAnotherDaemon(t *testing.T) {
	w := newWorld(t)
	link := w.connect(messages.AtConsole)
	defer link.Close()
	early := w.follow("a:x", 0)
	defer early.Close()
	for run := range 3 {
		x := w.foreign(link, "a:x")
		x.print(fmt.Sprintf("run %d\nlast words", run))
		require.Equal(t, fmt.Sprintf("run %d", run), early.line())
		require.Empty(t, w.inactive(":"))
		x.end()
		require.Equal(t, "last words", early.line())
		w.untilInactive(":", "a:x")
	}
	require.Equal(t, []string{"run 0", "last words", "run 1", "last words", "run 2", "last words"}, w.lines("a:x", 6))

	require.Equal(t, messages.Failure{Text: "opening"}, link.ask("a:x", add(1)))
	require.Equal(t, []string{"a:x"}, w.inactive(":"), "nothing has changed")
	require.Empty(t, w.ends(":"), "how it has ended is not known")
}

// TestAUnikernelOfAnotherDaemonThatNeverRuns: the other daemon removes the FIFO, which nobody has
// ever written to. That is the end of the console, too.
func TestAUnikernelOfAnotherDaemonThatNeverRuns(t *testing.T) {
	w := newWorld(t)
	link := w.connect(messages.AtConsole)
	defer link.Close()
	for range 2 {
		w.makeFIFO(":x")
		require.Equal(t, messages.SuccessEmpty{}, link.ask(":x", add(1)))
		require.Empty(t, w.inactive(":"))
		require.NoError(t, os.Remove(w.fifo(":x")))
		w.untilInactive(":", ":x")
	}
}

// The next run may begin before the daemon sees the end of the last one. A console that has been
// added may be added again.
func TestAConsoleOfAnotherDaemonThatIsReadAlready(t *testing.T) {
	w := newWorld(t)
	link := w.connect(messages.AtConsole)
	defer link.Close()
	first := w.foreign(link, ":x")
	first.print("one\n")
	require.Equal(t, messages.SuccessEmpty{}, link.ask(":x", add(1)))
	first.print("two\n")
	require.NoError(t, os.Remove(first.Name()))

	second := w.foreign(link, ":x")
	second.print("three\n")
	require.Equal(t, []string{"one", "two", "three"}, w.lines(":x", 3))
	_, err := first.WriteString("nobody reads this")
	require.Error(t, err)
	require.NoError(t, first.Close())
	require.Empty(t, w.inactive(":"))
	second.end()
	w.untilInactive(":", ":x")
}

// The daemon refuses a console that it cannot read. Nothing else changes, and the connection of the
// other daemon stays open.
func TestWhatIsNoConsoleOfAnotherDaemon(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":ours", create(guest("hello")))
	w.lines(":ours", 1)
	w.makeFIFO(":there")
	require.NoError(t, os.WriteFile(w.fifo(":file"), []byte("secret\n"), 0o600))
	require.NoError(t, os.Mkdir(w.fifo(":dir"), 0o700))
	require.NoError(t, os.Symlink(w.fifo(":there"), w.fifo(":link")))
	listener, err := net.Listen("unix", w.fifo(":socket"))
	require.NoError(t, err)
	defer listener.Close()

	link := w.connect(messages.AtConsole)
	defer link.Close()
	for name, text := range map[string]string{
		":none":   "opening",
		"a:b:x":   "opening",
		":..":     "opening",
		":":       "path used instead of name",
		"a:":      "path used instead of name",
		":ours":   "cannot read the console: this daemon runs a unikernel of that name",
		":file":   "cannot read the console: not a named pipe",
		":dir":    "cannot read the console: not a named pipe",
		":link":   "cannot read the console: not a named pipe",
		":socket": "cannot read the console: not a named pipe",
	} {
		for _, max := range []messages.Option[int]{{}, messages.Some(messages.MinInt), messages.Some(3)} {
			require.Equal(t, messages.Failure{Text: messages.Public(text)}, link.ask(name, messages.ConsoleAdd{Max: max}), name)
		}
	}
	require.Equal(t, []string{":ours"}, w.histories())
	require.Empty(t, w.inactive(":"))
	w.until("only the console of ours is left", func() bool { return w.consoles() == 1 })
	require.Contains(t, w.lines(":ours", 2)[1], "tick ")
}

// A console of another daemon takes the place of the one that has been inactive longest, and never
// that of one of ours.
func TestConsolesOfOtherDaemonsAreLimited(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", "a:ours", create(guest("hello", "--once")))
	w.untilInactive("a:", ":ours")
	link := w.connect(messages.AtConsole)
	defer link.Close()
	for _, name := range []string{"a:z", "a:b", "a:y", "b:x"} {
		w.foreign(link, name).end()
		w.until("its end is seen", func() bool { return slices.Contains(w.inactive(":"), name) })
	}
	add := func(name string, limit int) {
		w.makeFIFO(name)
		require.Equal(t, messages.SuccessEmpty{}, link.ask(name, add(limit)))
	}
	add("a:m", 3)
	require.Equal(t, []string{":y", ":ours", ":b"}, w.inactive("a:"))
	add("a:n", messages.MinInt)
	require.Equal(t, []string{":ours"}, w.inactive("a:"))
	add("a:o", 1) // all run: none can be dropped
	for _, name := range []string{"a:m", "a:n", "a:o"} {
		w.runForeign(name).end()
	}
	w.untilInactive("a:", ":ours", ":o", ":n", ":m")
	require.Equal(t, []string{":x"}, w.inactive("b:"))

	w.makeFIFO("a:p")
	require.Equal(t, messages.SuccessEmpty{}, link.ask("a:p", messages.ConsoleAdd{}), "the policy of the root sets no limit")
	w.untilInactive("a:", ":ours", ":o", ":n", ":m")
	w.runForeign("a:p").end()
}

// A unikernel of ours takes the place of one of another daemon.
func TestOursComesFirst(t *testing.T) {
	w := newWorld(t)
	link := w.connect(messages.AtConsole)
	defer link.Close()
	x := w.foreign(link, ":x")
	x.print("theirs\n")
	require.Equal(t, []string{"theirs"}, w.lines(":x", 1))
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	require.Equal(t, "hello from albatross: --name=x --quiet", w.lines(":x", 2)[1])
	require.Equal(t, messages.Failure{Text: "cannot read the console: this daemon runs a unikernel of that name"}, link.ask(":x", add(1)))
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	require.Equal(t, []string{":x"}, w.inactive(":"))
	require.NoError(t, x.Close())
}

// TestInactive: the list has the order of listings, and relative names.
func TestInactive(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{":b", ":a", "a:x", "a:b:y", "a:runs"} {
		config := guest("hello", "--once")
		if name == "a:runs" {
			config = guest("hello", "--quiet")
		}
		w.succeeds("created unikernel", name, create(config))
	}
	w.follow("a:nothing", 0).Close()
	w.untilInactive(":", ":b", ":a", "a:x", "a:b:y")
	require.Equal(t, []string{":x", "b:y"}, w.inactive("a:"))
	require.Empty(t, w.inactive("c:"))
	c := w.connect(messages.AtConsole)
	require.Equal(t, messages.Failure{Text: "name used"}, c.ask("a:x", messages.ConsoleListInactive{}))
	<-c.closed

	w.restart()
	require.Equal(t, []string{":b", ":a", "a:x", "a:b:y"}, w.inactive(":"))
}

// A create that was refused leaves no console, and no post-mortem is dropped for it.
func TestWhatWasRefusedEvictsNothing(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, success("added policy"), w.addPolicy("a:", policy(1, 64)))
	w.succeeds("created unikernel", "a:x", create(guest("hello", "--once")))
	w.untilInactive("a:", ":x")
	wrong := guest("hello")
	wrong.Image = []byte("no image")
	follower := w.follow("a:y", 0)
	defer follower.Close()
	for _, name := range []string{"a:y", "a:z"} {
		require.IsType(t, messages.Failure{}, w.ask(name, create(wrong)))
	}
	require.Equal(t, []string{":x"}, w.inactive("a:"))
	w.until("only what is followed is left", func() bool { return w.consoles() == 2 })
	w.succeeds("created unikernel", "a:y", create(guest("hello", "--quiet")))
	require.Equal(t, "hello from albatross: --name=y --quiet", follower.line())
	w.until("now it has", func() bool { return w.consoles() == 1 })
}

// TestSubscribersEvictNothing, however many there are.
func TestSubscribersEvictNothing(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, success("added policy"), w.addPolicy("a:", policy(1, 64)))
	w.succeeds("created unikernel", "a:x", create(guest("hello", "--once")))
	w.untilInactive("a:", ":x")
	for i := range 100 {
		w.follow(fmt.Sprint("a:nothing", i), 0).Close()
	}
	require.Equal(t, []string{":x"}, w.inactive("a:"))
	require.Equal(t, []string{"hello from albatross: --name=x --once"}, w.lines("a:x", 1))
	w.until("they leave nothing", func() bool { return w.consoles() == 1 })
}

// A native daemon sends one command after the other on its connection. On another socket, the
// daemon closes the connection after the first.
func TestAddKeepsTheConnection(t *testing.T) {
	w := newWorld(t)
	link := w.connect(messages.AtConsole)
	require.Equal(t, messages.Failure{Text: "opening"}, link.ask(":x", add(1)))
	require.Equal(t, messages.Failure{Text: "unknown command"}, link.ask(":x", messages.UnikernelDestroy{}))
	<-link.closed
	c := w.connect(messages.AtVMMD)
	require.Equal(t, messages.Failure{Text: "unknown command"}, c.ask(":x", add(1)))
	<-c.closed
	subscriber := w.connect(messages.AtConsole)
	defer subscriber.Close()
	require.Equal(t, messages.Failure{Text: "opening"}, subscriber.ask(":x", add(1)))
	require.Equal(t, success("waiting for VM"), subscriber.ask(":x", messages.ConsoleSubscribe{Count: messages.Some(1)}))
	x := w.foreign(w.connect(messages.AtConsole), ":x")
	x.print("hello\n")
	require.Equal(t, "hello", subscriber.line())
	x.end()
}
