package store_test

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"albatross/messages"
	"albatross/runtime/store"
)

// The first version knew unikernels only.
func TestFirstVersionIsMigrated(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	require.NoError(t, db.Apply([]messages.Change{messages.PutSpec{Name: name(t, "hello"), Spec: spec(1)}}))
	require.NoError(t, db.Close())
	alter(t, dir, func(tx *bbolt.Tx) error {
		require.NoError(t, tx.DeleteBucket([]byte("policies")))
		require.NoError(t, tx.DeleteBucket([]byte("ends")))
		require.NoError(t, tx.DeleteBucket([]byte("events")))
		return tx.Bucket([]byte("schema")).Put([]byte("version"), []byte("1"))
	})
	db = open(t, dir)
	require.Equal(t, []messages.Record{{Name: name(t, "hello"), Spec: spec(1)}}, load(t, db))
	require.NoError(t, db.Apply([]messages.Change{messages.PutPolicy{Path: "a"}, messages.PutEnd{Name: name(t, "x")}}))
}

// TestSecondVersionIsMigrated opens a database that the last daemon without
// events has made.
func TestSecondVersionIsMigrated(t *testing.T) {
	dir := t.TempDir()
	unpack(t, filepath.Join("testdata", "version2.db.gz"), filepath.Join(dir, store.DBFile))
	run := messages.Runtime{
		Process:       messages.Process{PID: 5, StartTime: 7, BootID: "b"},
		StartedMillis: 1, Released: true, Restarts: 2,
	}
	want := messages.State{
		Unikernels: []messages.Record{
			{Name: name(t, "waits"), Spec: spec(16)},
			{Name: name(t, "a:hello"), Spec: spec(32), Runtime: messages.Some(run)},
		},
		Policies: []messages.NamedPolicy{{Name: name(t, "a:"), Policy: messages.Policy{Unikernels: 3, CPUIDs: []int{0}, Memory: 64}}},
		Ends:     []messages.NamedEnd{{Name: name(t, "gone"), End: messages.End{Exit: messages.Exit{Known: true, Code: 3}, AtMillis: 5, Restarts: 2}}},
		Imported: true,
	}
	for range 2 { // the second time it is of this version
		db := open(t, dir)
		state, err := db.Load()
		require.NoError(t, err)
		require.Equal(t, want, state)
		require.Zero(t, last(t, db))
		require.NoError(t, db.Close())
	}
	db := open(t, dir)
	putEvents(t, db, 1)
	require.Equal(t, uint64(1), last(t, db))
}

func unpack(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	data, err := io.ReadAll(z)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o600))
}
