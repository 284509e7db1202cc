package history

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/test/netns"
)

// The test binary runs itself again as a daemon that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "daemon" {
		daemon(os.Args[2])
	}
	netns.Enter()
	goleak.VerifyTestMain(m)
}

// deadline bounds what must happen.
const deadline = 10 * time.Second

var hello = messages.Name{Label: "hello"}

// A world is a directory with a pipe, into which a unikernel writes, and its log.
type world struct {
	t      testing.TB
	path   string // of the directory
	dir    *Dir
	log    *Log
	reader *Reader // nil: nobody follows
	pipe   *Pipe
	writer *os.File // the unikernel's
	clock  atomic.Int64
	faults []string // the errors that the log has reported
}

func newWorld(t testing.TB) *world { return newWorldIn(t, t.TempDir()) }

func newWorldIn(t testing.TB, path string) *world {
	w := &world{t: t, path: filepath.Join(path, "console")}
	w.clock.Store(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC).UnixNano())
	pipe := filepath.Join(t.TempDir(), ":hello")
	require.NoError(t, fifo.Create(pipe))
	var err error
	w.pipe, err = OpenPipe(pipe)
	require.NoError(t, err)
	w.writer, err = fifo.OpenWriter(pipe)
	require.NoError(t, err)
	w.start()
	t.Cleanup(func() {
		w.log.Close()
		require.NoError(t, w.pipe.Close())
		require.NoError(t, w.writer.Close())
	})
	return w
}

// start starts a new daemon.
func (w *world) start() {
	var err error
	w.dir, err = Open(w.path, func() time.Time { return time.Unix(0, w.clock.Load()) })
	require.NoError(w.t, err)
	w.log, w.reader = w.newLog(), nil
}

func (w *world) newLog() *Log {
	return w.dir.Log(hello, func(err error) { w.faults = append(w.faults, err.Error()) })
}

func (w *world) restart() {
	w.log.Close()
	w.start()
}

func (w *world) file() string { return filepath.Join(w.path, ":hello") }

// print writes as the unikernel does, and takes all of it.
func (w *world) print(texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		_, err := w.writer.WriteString(text)
		require.NoError(w.t, err)
		for w.left() > 0 {
			_, err := w.log.Take(w.pipe)
			require.NoError(w.t, err)
		}
	}
}

// heard returns the next lines of the follower, who has missed none.
func (w *world) heard() []messages.ConsoleLine {
	w.t.Helper()
	lines, missed := readAll(w.reader)
	require.Zero(w.t, missed)
	return lines
}

// readAll reads what there is.
func readAll(r *Reader) (lines []messages.ConsoleLine, missed int) {
	for {
		some, lost := r.Read(r.log.Next())
		if len(some)+lost == 0 {
			return lines, missed
		}
		lines = append(lines, some...)
		missed += lost
	}
}

// left returns how many bytes are in the pipe.
func (w *world) left() (n int) {
	require.NoError(w.t, w.pipe.control(func(fd int) (err error) {
		n, err = available(fd)
		return err
	}))
	return n
}

// remembered returns the lines that a new follower gets.
func (w *world) remembered() []messages.ConsoleLine { return remembered(w.log) }

func remembered(log *Log) []messages.ConsoleLine {
	r := log.FollowLast(-1)
	defer r.Close()
	lines, _ := readAll(r)
	return lines
}

// consoleLines returns the lines in the form for followers.
func (t *tail) consoleLines() (list []messages.ConsoleLine) {
	t.each(func(l line) {
		list = append(list, messages.ConsoleLine{Time: l.at, Text: string(appendText(nil, l.kept))})
	})
	return list
}

// follow begins to follow, at the end.
func (w *world) follow() { w.reader = w.log.FollowLast(0) }

// texts returns the texts of lines.
func texts(lines []messages.ConsoleLine) (list []string) {
	for _, l := range lines {
		list = append(list, l.Text)
	}
	return list
}
