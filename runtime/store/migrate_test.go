package store_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"albatross/messages"
	"albatross/runtime/store"
)

// The first version had only unikernels, and no checksums.
func TestFirstVersionIsMigrated(t *testing.T) {
	dir := t.TempDir()
	alter(t, dir, func(tx *bbolt.Tx) error {
		return errors.Join(
			fill(tx, "schema", "version", []byte("1")), fill(tx, "runtimes", "", nil),
			fill(tx, "specs", ":hello", encoded(t, spec(1))),
		)
	})
	db := open(t, dir)
	require.Equal(t, []messages.Record{{Name: name(t, "hello"), Spec: spec(1)}}, load(t, db))
	require.NoError(t, db.Apply([]messages.Change{messages.PutPolicy{Path: "a"}, messages.PutEnd{Name: name(t, "x")}}))
}

// TestDamageBeforeChecksums: a record that cannot be decoded is set aside when the database is
// migrated to this version.
func TestDamageBeforeChecksums(t *testing.T) {
	dir := t.TempDir()
	alter(t, dir, func(tx *bbolt.Tx) error {
		return errors.Join(
			fill(tx, "schema", "version", []byte("1")), fill(tx, "runtimes", "", nil),
			fill(tx, "specs", ":hello", encoded(t, spec(1))), fill(tx, "specs", ":there", []byte{0xff}),
		)
	})
	db := open(t, dir)
	require.Len(t, load(t, db), 1)
	require.Len(t, db.Aside, 1)
	require.Equal(t, `specs/":there"`, db.Aside[0].String())
}

// TestThirdVersionIsMigrated: it had all that this one has, without checksums.
func TestThirdVersionIsMigrated(t *testing.T) {
	dir := t.TempDir()
	event := messages.Event{Kind: messages.EventCreated, Name: name(t, "hello"), AtMillis: 7}
	policy := messages.Policy{Unikernels: 1, CPUIDs: []int{0}, Memory: 32}
	alter(t, dir, func(tx *bbolt.Tx) error {
		return errors.Join(
			fill(tx, "schema", "version", []byte("3")), fill(tx, "schema", "imported", []byte("yes")),
			fill(tx, "specs", ":hello", encoded(t, spec(1))), fill(tx, "runtimes", ":hello", encoded(t, runs(5))),
			fill(tx, "policies", "a:", encoded(t, policy)), fill(tx, "ends", ":gone", encoded(t, messages.End{AtMillis: 3})),
			fill(tx, "events", string([]byte{0, 0, 0, 0, 0, 0, 0, 9}), encoded(t, event)),
		)
	})
	for range 2 {
		db := open(t, dir)
		require.Empty(t, db.Aside)
		require.NoError(t, db.Uncopied)
		state, err := db.Load()
		require.NoError(t, err)
		require.Equal(t, messages.State{
			Unikernels: []messages.Record{{Name: name(t, "hello"), Spec: spec(1), Runtime: messages.Some(runs(5))}},
			Policies:   []messages.NamedPolicy{{Name: name(t, "a:"), Policy: policy}},
			Ends:       []messages.NamedEnd{{Name: name(t, "gone"), End: messages.End{AtMillis: 3}}},
			Imported:   true,
		}, state)
		list, next := events(t, db, 1, 10)
		require.Equal(t, []messages.NumberedEvent{{Number: 9, Event: event}}, list)
		require.Equal(t, uint64(10), next)
		require.NoError(t, db.Close())
	}
}

// TestFourthVersionIsMigrated: it had neither named networks nor owners.
func TestFourthVersionIsMigrated(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	require.NoError(t, db.Apply([]messages.Change{messages.PutSpec{Name: name(t, "hello"), Spec: spec(1)}}))
	require.NoError(t, db.Close())
	alter(t, dir, func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte("networks")), tx.DeleteBucket([]byte("blocks")), store.PutVersion(tx, "4"))
	})
	for range 2 {
		db := open(t, dir)
		require.Empty(t, db.Aside)
		require.NoError(t, db.Apply([]messages.Change{messages.PutNetwork{Name: name(t, "net")}}))
		state, err := db.Load()
		require.NoError(t, err)
		require.Equal(t, messages.State{
			Unikernels: []messages.Record{{Name: name(t, "hello"), Spec: spec(1)}},
			Networks:   []messages.NamedNetwork{{Name: name(t, "net")}},
		}, state)
		require.NoError(t, db.Close())
	}
}

// TestFifthVersionIsMigrated: it had no owners, and a daemon of it would start what is
// stopped.
func TestFifthVersionIsMigrated(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	stopped := spec(1).Stopped(time.UnixMilli(5))
	require.NoError(t, db.Apply([]messages.Change{messages.PutSpec{Name: name(t, "hello"), Spec: spec(1)}}))
	require.NoError(t, db.Close())
	alter(t, dir, func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte("blocks")), store.PutVersion(tx, "5"))
	})
	db = open(t, dir)
	require.Empty(t, db.Aside)
	require.Equal(t, []messages.Record{{Name: name(t, "hello"), Spec: spec(1)}}, load(t, db))
	require.NoError(t, db.Apply([]messages.Change{messages.PutSpec{Name: name(t, "hello"), Spec: stopped}}))
	require.NoError(t, db.Close())
	alter(t, dir, func(tx *bbolt.Tx) error {
		require.Equal(t, "7", string(tx.Bucket([]byte("schema")).Get([]byte("version"))))
		return nil
	})
	require.Equal(t, []messages.Record{{Name: name(t, "hello"), Spec: stopped}}, load(t, open(t, dir)))
}

// TestSixthVersionIsMigrated: it had no owners.
func TestSixthVersionIsMigrated(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, open(t, dir).Close())
	alter(t, dir, func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte("blocks")), store.PutVersion(tx, "6"))
	})
	for range 2 {
		db := open(t, dir)
		require.Empty(t, db.Aside)
		require.NoError(t, db.Apply([]messages.Change{messages.PutBlock{Name: name(t, "a:disk"), Block: messages.Block{Owner: "team"}}}))
		state, err := db.Load()
		require.NoError(t, err)
		require.Equal(t, messages.State{Blocks: map[messages.Name]messages.Block{name(t, "a:disk"): {Owner: "team"}}}, state)
		require.NoError(t, db.Close())
	}
	db := open(t, dir)
	require.NoError(t, db.Apply([]messages.Change{messages.DeleteBlock{Name: name(t, "a:disk")}}))
	state, err := db.Load()
	require.NoError(t, err)
	require.Empty(t, state.Blocks)
}

// TestDamagedRecordsAreKept for an operator to look at: the newest of them.
func TestDamagedRecordsAreKept(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	var changes []messages.Change
	for i := range 130 {
		changes = append(changes, messages.PutEnd{Name: name(t, fmt.Sprintf("n%03d", i))})
	}
	require.NoError(t, db.Apply(changes))
	require.NoError(t, db.Close())
	alter(t, dir, func(tx *bbolt.Tx) error {
		for i := range 130 {
			require.NoError(t, fill(tx, "ends", fmt.Sprintf(":n%03d", i), []byte{1}))
		}
		return nil
	})
	db = open(t, dir)
	require.Len(t, db.Aside, 130)
	keys, err := db.Damaged()
	require.NoError(t, err)
	require.Len(t, keys, 100)
	require.Equal(t, ":n129", keys[99])
	state, err := db.Load()
	require.NoError(t, err)
	require.Len(t, state.Ends, 130, "they are unknown, and not gone: their consoles stay")
}

// fill puts a value into a bucket, and makes that first if it does not exist.
func fill(tx *bbolt.Tx, bucket, key string, value []byte) error {
	b, err := tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil || key == "" {
		return err
	}
	return b.Put([]byte(key), value)
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	data, err := messages.Encode(v)
	require.NoError(t, err)
	return data
}

// TestSecondVersionIsMigrated opens a database that the last daemon without events has made.
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
	for range 2 { // the second time it has this version
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
