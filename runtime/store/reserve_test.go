package store_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/store"
)

// smallDisk mounts a file system of some MB for a test.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	return dir
}

// fillUp fills the disk to the last byte. It returns a function that frees the room.
func fillUp(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = io.Copy(f, zeros{})
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, f.Close())
	return func() { require.NoError(t, os.Remove(path)) }
}

func unikernelsOf(t *testing.T, db *store.DB, n int) (names []messages.Name) {
	t.Helper()
	for i := range n {
		names = append(names, name(t, fmt.Sprintf("path:unikernel-%d", i)))
		require.NoError(t, db.Apply([]messages.Change{
			messages.PutSpec{Name: names[i], Spec: spec(32)},
			messages.PutRuntime{Name: names[i], Runtime: runs(i + 2)},
			messages.PutEvent{Event: messages.Event{Kind: messages.EventCreated, Name: names[i]}},
		}))
	}
	return names
}

// end returns the changes for a unikernel that ends for good.
func end(n messages.Name) []messages.Change {
	return []messages.Change{
		messages.PutEvent{Event: messages.Event{Kind: messages.EventExited, Name: n, Cause: messages.Public(strings.Repeat("why ", 20))}},
		messages.PutEnd{Name: n, End: messages.End{Exit: messages.Exit{Known: true, Code: 3}, AtMillis: 5}},
		messages.DeleteUnikernel{Name: n},
	}
}

// TestOnAFullDiskWhatAddsNothingWorks: a change that adds something is refused, also by the next
// daemon, until there is room.
func TestOnAFullDiskWhatAddsNothingWorks(t *testing.T) {
	dir := smallDisk(t, 8)
	db := open(t, dir)
	names := unikernelsOf(t, db, 300)
	free := fillUp(t, dir)

	fresh := messages.PutSpec{Name: name(t, "new"), Spec: spec(16)}
	policy := messages.PutPolicy{Path: "new", Policy: messages.Policy{Unikernels: 1}}
	refused := func(change messages.Change) {
		t.Helper()
		err := db.Apply([]messages.Change{change})
		require.ErrorIs(t, err, unix.ENOSPC)
		require.EqualError(t, err, "cannot write "+dir+"/state.db: there is no room for anything new: no space left on device")
	}
	// It restarts for ever: each restart stores an event.
	for i := range 3000 {
		require.NoError(t, db.Apply([]messages.Change{
			messages.PutRuntime{Name: names[0], Runtime: runs(1000 + i)},
			messages.PutEvent{Event: messages.Event{Kind: messages.EventRestarting, Name: names[0], Cause: messages.Public(strings.Repeat("why ", 30))}},
		}), i)
	}
	refused(fresh)
	refused(policy)
	require.NoError(t, db.Apply([]messages.Change{messages.PutSpec{Name: names[1], Spec: messages.Spec{
		Arguments: messages.Arguments{Memory: 33}, NameRefused: true}}}), "takes the place of what is there")

	require.NoError(t, db.Close())
	db = open(t, dir)
	refused(fresh)
	for _, n := range names {
		require.NoError(t, db.Apply(end(n)), n)
	}
	require.Empty(t, load(t, db))

	free()
	require.NoError(t, db.Apply([]messages.Change{fresh, policy}))
	require.NoError(t, db.Room())
	require.NoError(t, db.Close())
	require.Len(t, load(t, open(t, dir)), 1)
}

// TestLargeRecordsLeaveTheReserve: a record that would just fit into the reserve
// is refused on a full disk, too.
func TestLargeRecordsLeaveTheReserve(t *testing.T) {
	dir := smallDisk(t, 8)
	db := open(t, dir)
	names := unikernelsOf(t, db, 10)
	fillUp(t, dir)
	large := spec(16)
	large.Arguments.Argv = messages.Some([]string{strings.Repeat("x", 800<<10)})
	for _, n := range []string{"new", names[0].String()} {
		require.ErrorIs(t, db.Apply([]messages.Change{messages.PutSpec{Name: name(t, n), Spec: large}}), unix.ENOSPC)
	}
	for _, n := range names {
		require.NoError(t, db.Apply(end(n)))
	}
}

// TestAReserveThatWasBeingFilledUp when the daemon was killed is not lost.
func TestAReserveThatWasBeingFilledUp(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, open(t, dir).Close())
	alter(t, dir, func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("reserve"))
		require.NoError(t, err)
		return b.Put([]byte("pages"), make([]byte, 1<<20))
	})
	for range 3 {
		db := open(t, dir)
		require.NoError(t, db.Room())
		require.NoError(t, db.Close())
	}
	info, err := os.Stat(filepath.Join(dir, store.DBFile))
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), int64(4<<20))
}
