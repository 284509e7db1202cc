package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	guestos "albatross/runtime/guest"
	client "albatross/runtime/keeper"
)

// A printer is a guest that prints what the test sends it.
type printer struct {
	guest
	w    *world
	door *os.File
}

func newPrinter(w *world) *printer {
	door := filepath.Join(w.t.TempDir(), "door")
	require.NoError(w.t, unix.Mkfifo(door, 0o600))
	f, err := os.OpenFile(door, os.O_RDWR, 0)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = f.Close() })
	return &printer{w.shell("a", "while read x; do echo $x; done < "+door), w, f}
}

// print prints a line, which is in the console then, or was read.
func (p *printer) print(text string) {
	_, err := fmt.Fprintln(p.door, text)
	require.NoError(p.w.t, err)
}

// printUnread prints a line that must not be read, though all are at rest.
func (p *printer) printUnread(t *testing.T, text string) {
	t.Helper()
	p.print(text)
	p.w.until("it is printed", func() bool { return waiting(t, p.Console) > 0 })
	p.w.rest()
	require.Equal(t, len(text)+1, waiting(t, p.Console), "nobody else reads it")
}

// TestAStoppedKeeperAndADaemon: a keeper that goes on reads nothing beside the daemon that did without it, and
// nothing is lost, whichever of both ends or goes on first.
func TestAStoppedKeeperAndADaemon(t *testing.T) {
	for _, title := range []string{"it goes on beside the daemon", "the daemon ends before"} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t)
			p := newPrinter(w)
			defer p.Close()
			defer func() {
				if t.Failed() {
					t.Logf("the history is %q, and %d bytes are in the pipe", w.history("a"), waiting(t, p.Console))
				}
			}()
			w.disconnect()
			p.print("one")
			w.until("the keeper has read it", func() bool { return len(w.history("a")) == 1 })
			w.rest() // it has not got the claim now
			require.NoError(t, unix.Kill(w.keeper, unix.SIGSTOP))

			claim, err := client.NewClaim(w.ctx(), w.dbdir)
			require.NoError(t, err)
			reader := newReader(t, w, mustOpen(t, p.Console), "a")
			p.print("two")
			_, err = reader.log.Take(reader.pipe)
			require.NoError(t, err)
			if title == "the daemon ends before" {
				reader.stop()
				claim.Release()
			}
			require.NoError(t, unix.Kill(w.keeper, unix.SIGCONT))
			if title == "it goes on beside the daemon" {
				p.printUnread(t, "three")
				_, err = reader.log.Take(reader.pipe)
				require.NoError(t, err)
				reader.stop()
				claim.Release()
			} else {
				p.print("three")
			}
			p.print("four")
			w.until("the keeper reads", func() bool { return len(w.history("a")) == 4 && waiting(t, p.Console) == 0 })
			w.connect()
			require.Equal(t, []string{"one", "two", "three", "four"}, w.history("a"))
		})
	}
}

// mustOpen opens the file of a descriptor once more.
func mustOpen(t *testing.T, f *os.File) *os.File {
	t.Helper()
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDWR, 0)
	require.NoError(t, err)
	return again
}

// TestEndsThatComeLate: a keeper that has not answered at the start of a daemon reports ends
// when nobody needs them any more. None of them stays.
func TestEndsThatComeLate(t *testing.T) {
	w := newWorld(t)
	recorded, other := w.shell("recorded", "exit 1"), w.shell("other", "exit 2")
	for _, g := range []guest{recorded, other} {
		g.Close()
		w.ended(g.Process)
	}
	w.disconnect()
	w.rest()
	require.NoError(t, unix.Kill(w.keeper, unix.SIGSTOP))
	claim, err := client.NewClaim(w.ctx(), w.dbdir)
	require.NoError(t, err)
	defer claim.Release()
	keeping, err := guestos.OpenKeeping(w.ctx(), w.config(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer keeping.Close()
	machine := &guestos.Machine{Keeping: keeping}
	machine.AcknowledgeOthers(map[messages.Process]bool{recorded.Process: true})
	machine.Acknowledge(recorded.Process)
	require.Len(t, w.journal(), 2)
	require.NoError(t, unix.Kill(w.keeper, unix.SIGCONT))
	w.until("all are forgotten", func() bool { return len(w.journal()) == 0 })
}
