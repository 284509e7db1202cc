package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/store"
	"albatross/runtime/tender"
)

// startActors starts the actors of a daemon without unikernels. They call fault before each of
// their messages.
func startActors(t *testing.T, fault func(message any)) *actors.Actors {
	t.Helper()
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	self, err := os.Executable()
	require.NoError(t, err)
	beside := filepath.Join(filepath.Dir(self), "albatross-tender") // the tender is not run here
	require.NoError(t, os.WriteFile(beside, nil, 0o700))
	t.Cleanup(func() { require.NoError(t, os.Remove(beside)) })
	o := options{tmpdir: dir, dbdir: dir, tender: tender.Builtin.String()}
	require.NoError(t, makeDirs(o, -1))
	db, err := store.Open(o.dbdir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	config, _, err := configure(o, db, log)
	require.NoError(t, err)
	system := supervise.New(supervise.WallClock(), log)
	system.InjectFaults(supervise.NewFaults(0, func(_ string, message any) { fault(message) }))
	a, err := actors.Start(system, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
	return a
}

// TestStatus: the actors answer while they work, and there is no status if they do not.
func TestStatus(t *testing.T) {
	sick := func() {}
	a := startActors(t, func(message any) {
		if _, ok := message.(messages.Ask); ok {
			sick()
		}
	})
	requireWell := func() {
		t.Helper()
		text, err := status(t.Context(), a)
		require.NoError(t, err)
		require.Equal(t, "Unikernels that run: 0", text)
	}
	requireWell()

	sick = func() { panic("it crashes") }
	_, err := status(t.Context(), a)
	require.ErrorContains(t, err, "cannot find out what runs: ")
	sick = func() {}
	requireWell()

	release := make(chan struct{})
	sick = func() { <-release }
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = status(ctx, a)
	close(release)
	require.EqualError(t, err, "cannot find out what runs: there was no answer in time")
	requireWell()
}

// TestStatusOfWhatWaits: a unikernel that waits does not count as running.
func TestStatusOfWhatWaits(t *testing.T) {
	name := func(label messages.Label) messages.Name { return messages.Name{Label: label} }
	infos := []messages.NamedInfo{{Name: name("runs")}, {Name: name("loops")}, {Name: name("ran")}}
	ends := []messages.NamedEnd{
		{Name: name("ran")}, {Name: name("gone")},
		{Name: name("loops"), Wait: messages.Some(messages.Wait{})}, {Name: name("never-ran"), Wait: messages.Some(messages.Wait{})},
	}
	require.Equal(t, "Unikernels that run: 2, that wait to be started: 2", statusText(infos, ends))
	require.Equal(t, "Unikernels that run: 3", statusText(infos, ends[:2]))
}

// TestStatusWaitsForTheStart: there is no answer before the daemon knows what runs.
func TestStatusWaitsForTheStart(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{})
	var once sync.Once
	a := startActors(t, func(message any) {
		switch message.(type) {
		case messages.StoreLoad:
			<-release
		case messages.Ask:
			once.Do(func() { close(asked) })
		}
	})
	answer := make(chan string)
	go func() {
		s, err := status(context.Background(), a)
		if err != nil {
			s = err.Error()
		}
		answer <- s
	}()
	<-asked
	select {
	case s := <-answer:
		require.FailNow(t, "answered too early: "+s)
	case <-time.After(20 * time.Millisecond): // longer than an answer takes
	}
	close(release)
	require.Equal(t, "Unikernels that run: 0", <-answer)
}
