package history

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// move writes as a unikernel does, and moves that as a keeper does.
func (w *world) move(texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		_, err := w.writer.WriteString(text)
		require.NoError(w.t, err)
		for w.left() > 0 {
			require.NoError(w.t, w.pipe.control(func(fd int) error {
				n, err := w.log.Move(fd)
				require.Positive(w.t, n)
				return err
			}))
		}
	}
}

// TestADaemonAndItsKeeperTakeTurns: each continues where the other has stopped, in the middle of a
// line, too.
func TestADaemonAndItsKeeperTakeTurns(t *testing.T) {
	w := newWorld(t)
	w.print("one\ntw")
	w.log.Close()
	daemon := w.dir
	var err error
	w.dir, err = OpenBeside(w.path, w.dir.now)
	require.NoError(t, err)
	w.log = w.newLog()
	w.move("o\nthree\nfo", "ur")
	w.log.Close()
	w.dir = daemon
	w.log = w.newLog()
	w.print("!\n")
	require.Equal(t, []string{"one", "two", "three", "four!"}, texts(w.remembered()))
	require.Empty(t, w.faults)
}

// TestMoveWaitsForNothing: it needs no memory for what it has moved, either.
func TestMoveWaitsForNothing(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.pipe.control(func(fd int) error {
		n, err := w.log.Move(fd)
		require.Zero(t, n)
		return err
	}))
	w.move(strings.Repeat("x", chunk), "\n")
	require.Nil(t, w.log.buffer)
	require.True(t, w.log.Written())
	w.log.Close()
	_, err := w.writer.WriteString("late\n")
	require.NoError(t, err)
	require.ErrorIs(t, w.pipe.control(func(fd int) error { _, err := w.log.Move(fd); return err }), os.ErrClosed)
}

// TestAMovedFloodIsBounded, and its last lines are those that were printed last.
func TestAMovedFloodIsBounded(t *testing.T) {
	w := newWorld(t)
	var b strings.Builder
	for n := range 200_000 {
		fmt.Fprintf(&b, "line %d\n", n)
		if b.Len() > chunk {
			w.move(b.String())
			b.Reset()
		}
	}
	w.move(b.String())
	info, err := os.Stat(w.file())
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), int64(maxRead))
	w.restart()
	lines := texts(w.remembered())
	require.Len(t, lines, Lines)
	require.Equal(t, "line 199999", lines[Lines-1])
	require.Equal(t, fmt.Sprintf("line %d", 200_000-Lines), lines[0])
}

// TestMoveLast ends the last line.
func TestMoveLast(t *testing.T) {
	w := newWorld(t)
	w.move("one\n")
	_, err := w.writer.WriteString("two")
	require.NoError(t, err)
	require.NoError(t, w.pipe.control(w.log.MoveLast))
	w.restart()
	w.print("three\n")
	require.Equal(t, []string{"one", "two", "three"}, texts(w.remembered()))
}

// TestTemporaryFilesOfTheOther are left alone.
func TestTemporaryFilesOfTheOther(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{temporaryPrefix + "1", keeperPrefix + "1"} {
		require.NoError(t, os.WriteFile(w.path+"/"+name, nil, 0o600))
	}
	_, err := OpenBeside(w.path, w.dir.now)
	require.NoError(t, err)
	require.FileExists(t, w.path+"/"+temporaryPrefix+"1")
	require.NoFileExists(t, w.path+"/"+keeperPrefix+"1")
	require.NoError(t, os.WriteFile(w.path+"/"+keeperPrefix+"1", nil, 0o600))
	_, err = Open(w.path, w.dir.now)
	require.NoError(t, err)
	require.NoFileExists(t, w.path+"/"+temporaryPrefix+"1")
	require.FileExists(t, w.path+"/"+keeperPrefix+"1")
}
