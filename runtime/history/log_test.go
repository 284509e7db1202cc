package history

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestHistoryOutlivesTheDaemon(t *testing.T) {
	w := newWorld(t)
	w.print("one\ntw")
	w.clock.Add(int64(time.Second))
	w.restart()
	w.print("o\nthree\n")
	w.restart()
	require.Equal(t, []messages.ConsoleLine{
		{Time: epoch, Text: "one"}, {Time: epoch.Add(time.Second), Text: "two"}, {Time: epoch.Add(time.Second), Text: "three"},
	}, w.remembered())
	require.Empty(t, w.faults)
}

func TestAFileIsForOurEyesOnly(t *testing.T) {
	w := newWorld(t)
	w.print("secret\n")
	for path, mode := range map[string]os.FileMode{w.path: os.ModeDir | 0o700, w.file(): 0o600} {
		info, err := os.Lstat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode())
	}
}

// Lines have the same numbers in every log of a console, with and without a follower, until the
// console is removed.
func TestLinesAreNumbered(t *testing.T) {
	w := newWorld(t)
	next := func() int { return w.log.Next() - Lines }
	require.Zero(t, next())
	w.print("one\n\ntw")
	require.Equal(t, 1, next())
	w.log.Close()
	w.log = w.newLog()
	w.print("o\nthree\n"+strings.Repeat("x", maxLine), "xxx")
	require.Equal(t, 4, next())
	require.NoError(t, w.log.Finish(nil))
	require.Equal(t, 4, next())
	w.restart()
	require.Zero(t, next(), "by another daemon")
	w.print("one\n")
	remove := w.dir.Remove(hello)
	w.log.Close()
	require.NoError(t, remove())
	w.log = w.newLog()
	require.Zero(t, next())
}

func TestFinishTakesWhatIsLeftAndEndsTheLine(t *testing.T) {
	w := newWorld(t)
	w.follow()
	long := strings.Repeat("x\n", chunk)
	_, err := w.writer.WriteString(long + "last words")
	require.NoError(t, err)
	require.NoError(t, w.log.Finish(w.pipe))
	lines := w.heard()
	require.Len(t, lines, chunk+1)
	require.Equal(t, "last words", lines[chunk].Text)

	w.print("next\n")
	require.Equal(t, []string{"next"}, texts(w.heard()))
	w.restart()
	remembered := texts(w.remembered())
	require.Equal(t, []string{"last words", "next"}, remembered[Lines-2:])
}

func TestTakeTellsWhetherThereIsMore(t *testing.T) {
	w := newWorld(t)
	_, err := w.writer.Write(make([]byte, 2*chunk))
	require.NoError(t, err)
	for _, want := range []bool{true, false} {
		more, err := w.log.Take(w.pipe)
		require.NoError(t, err)
		require.Equal(t, want, more)
	}
}

// Members of its group may read a pipe beside the daemon, and take bytes that the daemon has just
// seen there.
func TestSomebodyElseReadsThePipe(t *testing.T) {
	w := newWorld(t)
	w.print("one\n")
	_, err := w.writer.WriteString("two\n")
	require.NoError(t, err)
	require.NoError(t, w.pipe.control(func(fd int) error {
		for _, want := range []int{4, 0} {
			n, err := w.log.file.splice(fd, 100, epoch)
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		n, _, err := w.log.copy(fd, 100, epoch)
		require.Zero(t, n)
		return err
	}))
	w.print("three\n")
	w.restart()
	require.Equal(t, []string{"one", "two", "three"}, texts(w.remembered()))
}

func TestFinishWithoutAPipe(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.log.Finish(nil))
	require.NoFileExists(t, w.file(), "nothing was printed")

	w.print("cut off")
	w.restart()
	require.NoError(t, w.log.Finish(nil))
	size := w.size()
	require.NoError(t, w.log.Finish(nil))
	require.Equal(t, size, w.size(), "there is nothing more to end")
	w.print("next\n")
	require.Equal(t, []string{"cut off", "next"}, texts(w.remembered()))
}

func (w *world) size() int64 {
	info, err := os.Stat(w.file())
	require.NoError(w.t, err)
	return info.Size()
}

func TestNothingIsMadeForASilentConsole(t *testing.T) {
	w := newWorld(t)
	require.Empty(t, w.remembered())
	require.True(t, w.log.Sync())
	w.restart()
	require.Empty(t, w.files())
}

func (w *world) files() (names []string) {
	entries, err := os.ReadDir(w.path)
	require.NoError(w.t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A file stays small whatever is printed, and the lines that are remembered are exact.
func TestALargeFileIsReplaced(t *testing.T) {
	for name, text := range map[string]string{
		"short lines": "x\n", "long lines": strings.Repeat("x", 5000) + "\n", "no line": strings.Repeat("x", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var model tail
			part := strings.Repeat(text, chunk/len(text))
			for range 3 * maxSize / len(part) {
				w.clock.Add(1)
				w.print(part)
				model.feed([]byte(part), w.dir.time())
				require.LessOrEqual(t, w.size(), int64(maxSize))
			}
			require.Equal(t, []string{":hello"}, w.files())
			require.Equal(t, model.consoleLines(), w.remembered())
			w.restart()
			require.Equal(t, model.consoleLines(), w.remembered())
		})
	}
}

func TestSyncPutsTheNameOnDiskOnce(t *testing.T) {
	w := newWorld(t)
	w.print("one\n")
	require.False(t, w.log.file.named.Load())
	require.True(t, w.log.Sync())
	require.True(t, w.log.file.named.Load())
}

func TestACloseEndsALog(t *testing.T) {
	w := newWorld(t)
	w.print("one\n")
	w.log.Close()
	w.log.Close()
	require.Empty(t, w.remembered())
	require.ErrorIs(t, w.log.Finish(w.pipe), os.ErrClosed)
	_, err := w.writer.WriteString("two\n")
	require.NoError(t, err)
	_, err = w.log.Take(w.pipe)
	require.ErrorIs(t, err, os.ErrClosed)
	require.True(t, w.log.Sync())
	w.start()
	_, err = w.log.Take(w.pipe)
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two"}, texts(w.remembered()), "nothing was taken by a closed log")
}

func TestTheNextLogWaitsForTheOneBefore(t *testing.T) {
	w := newWorld(t)
	w.print("one\n")
	next := w.newLog()
	defer next.Close()
	lines := make(chan []messages.ConsoleLine, 1)
	go func() { lines <- remembered(next) }()
	w.print("two\n")
	require.Empty(t, lines)
	w.log.Close()
	require.Equal(t, []string{"one", "two"}, texts(receive(t, lines)))
}

func TestRemove(t *testing.T) {
	w := newWorld(t)
	w.print("one\n")
	remove := w.dir.Remove(hello)
	next := w.newLog()
	removed := make(chan error, 1)
	go func() { removed <- remove() }()
	lines := make(chan []messages.ConsoleLine, 1)
	go func() { lines <- remembered(next) }()
	w.print("two\n")
	require.FileExists(t, w.file(), "the log is open")
	w.log.Close()
	require.NoError(t, receive(t, removed))
	require.Empty(t, receive(t, lines), "the next one starts anew")
	require.Empty(t, w.files())
	w.log = next
	w.print("three\n")
	w.restart()
	require.Equal(t, []string{"three"}, texts(w.remembered()))
	require.Empty(t, w.dir.last[messages.Name{Label: "other"}])
}

func TestRemoveOfNothing(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.dir.Remove(messages.Name{Label: "other"})())
	require.NoError(t, w.dir.Remove(messages.Name{Path: messages.Path(strings.Repeat("a:", 200) + "a"), Label: "x"})())
	require.Len(t, w.dir.last, 1, "who is done is forgotten")
	require.NoError(t, os.Mkdir(filepath.Join(w.path, ":dir"), 0o700))
	require.EqualError(t, w.dir.Remove(messages.Name{Label: "dir"})(),
		"cannot remove history of console :dir: unlink "+filepath.Join(w.path, ":dir")+": is a directory")
}

func TestSweep(t *testing.T) {
	w := newWorld(t)
	w.print("in use\n")
	for _, name := range []string{":keep", "a:b:keep", ":stranger", "a:b:stranger", "none of ours", "a:Upper", "tmp-1"} {
		require.NoError(t, os.WriteFile(filepath.Join(w.path, name), nil, 0o600))
	}
	keep := func(n messages.Name) bool { return n.Label == "keep" }
	require.NoError(t, w.dir.Sweep(keep))
	require.Equal(t, []string{":hello", ":keep", "a:Upper", "a:b:keep", "none of ours", "tmp-1"}, w.files())
	w.restart()
	require.Equal(t, []string{":hello", ":keep", "a:Upper", "a:b:keep", "none of ours"}, w.files(), "a temporary file goes when nobody can be writing it")
	w.log.Close()
	require.NoError(t, w.dir.Sweep(keep))
	require.Equal(t, []string{":keep", "a:Upper", "a:b:keep", "none of ours"}, w.files())

	require.NoError(t, os.Mkdir(filepath.Join(w.path, ":dir"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(w.path, ":stranger"), nil, 0o600))
	require.ErrorContains(t, w.dir.Sweep(keep), ":dir: is a directory")
	require.NoFileExists(t, filepath.Join(w.path, ":stranger"))
}
