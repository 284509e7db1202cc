package history

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/fifo"
)

func TestTakeWaits(t *testing.T) {
	w := newWorld(t)
	taken := make(chan error, 1)
	go func() {
		_, err := w.log.Take(w.pipe)
		taken <- err
	}()
	w.follow() // it can be followed meanwhile
	require.True(t, w.log.Sync())
	_, err := w.writer.WriteString("at last\n")
	require.NoError(t, err)
	require.NoError(t, receive(t, taken))
	require.Equal(t, []string{"at last"}, texts(w.heard()))
}

func receive[T any](t *testing.T, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(deadline):
		require.FailNow(t, "nothing comes")
	}
	return value
}

// TestAForeignPipeWithoutAName ends, unless somebody can still write to it.
func TestAForeignPipeWithoutAName(t *testing.T) {
	for _, c := range []struct {
		name             string
		written, unnamed bool
		ends             bool
	}{
		{"named", false, false, false},
		{"named, with a writer", true, false, false},
		{"unnamed", false, true, true},
		{"unnamed, with a writer", true, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fifo")
			require.NoError(t, unix.Mkfifo(path, 0o600))
			p, err := OpenForeignPipe(path)
			require.NoError(t, err)
			defer p.Close()
			if c.written {
				writer, err := os.OpenFile(path, os.O_WRONLY, 0)
				require.NoError(t, err)
				defer writer.Close()
			}
			if c.unnamed {
				require.NoError(t, os.Remove(path))
			}
			unnamed, err := p.EndIfUnnamed()
			require.NoError(t, err)
			require.Equal(t, c.unnamed, unnamed)
			if c.ends {
				require.ErrorIs(t, p.wait(), io.EOF)
				return
			}
			p.Stop()
			require.ErrorIs(t, p.wait(), os.ErrDeadlineExceeded)
		})
	}
}

// At whichever moments a unikernel writes and a reader begins to wait, the reader does not wait
// while there is output.
func TestNobodyWaitsInVain(t *testing.T) {
	w := newWorld(t)
	const n = 20_000
	go func() {
		for range n {
			_, _ = w.writer.WriteString("line\n")
		}
	}()
	done := make(chan error, 1)
	go func() {
		for w.log.Next()-Lines < n {
			if _, err := w.log.Take(w.pipe); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	require.NoError(t, receive(t, done))
}

func TestStopAndCloseEndTheWait(t *testing.T) {
	for name, tc := range map[string]struct {
		end func(*Pipe)
		err string
	}{
		"stop":  {func(p *Pipe) { p.Stop() }, "i/o timeout"},
		"close": {func(p *Pipe) { _ = p.Close() }, "closed file"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			pipe, err := OpenPipe(w.pipe.fifo.Name())
			require.NoError(t, err)
			defer pipe.Close()
			ended := make(chan error, 1)
			go func() {
				_, err := w.log.Take(pipe)
				ended <- err
			}()
			tc.end(pipe)
			require.ErrorContains(t, receive(t, ended), tc.err)
			_, err = w.log.Take(pipe)
			require.ErrorContains(t, err, tc.err, "again")
		})
	}
}

// A reader can take the rest of a pipe that was stopped.
func TestAStoppedPipeCanBeFinished(t *testing.T) {
	w := newWorld(t)
	w.follow()
	w.pipe.Stop()
	_, err := w.writer.WriteString("last words")
	require.NoError(t, err)
	require.NoError(t, w.log.Finish(w.pipe))
	require.Equal(t, []string{"last words"}, texts(w.heard()))
}

// A write while no reader waits wakes none.
func TestAPipeCountsOnce(t *testing.T) {
	w := newWorld(t)
	ready := func() int {
		var events [1]unix.EpollEvent
		n, err := unix.EpollWait(int(w.pipe.epoll.Fd()), events[:], 0)
		require.NoError(t, err)
		return n
	}
	_, err := w.writer.WriteString("one\n")
	require.NoError(t, err)
	require.Zero(t, ready())
	require.NoError(t, w.pipe.arm(int(w.pipe.epoll.Fd())))
	require.Equal(t, 1, ready())
	_, err = w.writer.WriteString("two\n")
	require.NoError(t, err)
	require.Zero(t, ready())
}

// All output of a foreign pipe comes before its end, and it can have several ends.
func TestAForeignPipeHasAnEnd(t *testing.T) {
	w := newWorld(t)
	w.follow()
	path := filepath.Join(t.TempDir(), ":x")
	require.NoError(t, fifo.Create(path))
	pipe, err := OpenForeignPipe(path)
	require.NoError(t, err)
	defer pipe.Close()
	results := make(chan error)
	take := func() {
		for range 2 {
			_, err := w.log.Take(pipe)
			results <- err
		}
	}
	open := func() *os.File {
		writer, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		return writer
	}
	write := func(writer *os.File, text string) {
		_, err := writer.WriteString(text + "\n")
		require.NoError(t, err)
		require.NoError(t, writer.Close())
		require.NoError(t, receive(t, results))
		require.Equal(t, []string{text}, texts(w.heard()))
		require.ErrorIs(t, receive(t, results), io.EOF)
	}
	go take()
	write(open(), "one")

	// Without the next writer, the pipe would still be at its end.
	writer := open()
	go take()
	write(writer, "two")
}

func TestSamePipe(t *testing.T) {
	w := newWorld(t)
	path := w.pipe.fifo.Name()
	again, err := OpenForeignPipe(path)
	require.NoError(t, err)
	defer again.Close()
	require.True(t, w.pipe.Same(again))
	require.NoError(t, fifo.Remove(path))
	require.True(t, w.pipe.Same(again))
	require.NoError(t, fifo.Create(path))
	other, err := OpenForeignPipe(path)
	require.NoError(t, err)
	require.False(t, w.pipe.Same(other))
	require.NoError(t, other.Close())
	require.False(t, w.pipe.Same(other))
}

func TestOpenPipeOfWhatIsNone(t *testing.T) {
	_, err := OpenPipe(filepath.Join(t.TempDir(), ":none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	file, err := os.Create(filepath.Join(t.TempDir(), ":file"))
	require.NoError(t, err)
	defer file.Close()
	_, err = OpenPipe(file.Name())
	require.ErrorContains(t, err, "not a named pipe")
	_, err = newPipe(file)
	require.ErrorContains(t, err, "epoll_ctl: operation not permitted")
}
