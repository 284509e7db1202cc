package store

import (
	"fmt"
	"slices"
	"strconv"

	"go.etcd.io/bbolt"

	"albatross/runtime/failpoint"
)

// firstSealed is the first version whose values are records; see record.go.
const firstSealed = 4

// buckets lists those that came with each version.
var buckets = [schemaVersion][][]byte{
	{schemaBucket, specBucket, runtimeBucket},
	{policyBucket, endBucket},
	{eventBucket},
	{damagedBucket},
	{networkBucket},
	{}, // an older daemon would start what is stopped
	{blockBucket},
}

// migrate converts an older database to this version, after keeping a copy, and
// initialises an empty one.
func (db *DB) migrate(version int) error {
	if version > 0 {
		db.Uncopied = db.keepCopy()
		if err := db.hasRoomTwice(); err != nil {
			return fmt.Errorf("cannot bring it to version %d of the format: %w; it was left as it is", schemaVersion, err)
		}
	}
	return db.update(func(tx *bbolt.Tx) error { return migrate(tx, version) })
}

// hasRoomTwice checks that the disk has room for the database again: each record is
// rewritten.
func (db *DB) hasRoomTwice() error {
	return db.view(func(tx *bbolt.Tx) error { return db.hasRoom(int(tx.Size())) })
}

func migrate(tx *bbolt.Tx, version int) error {
	for step, names := range buckets[version:] {
		for _, name := range names {
			if _, err := tx.CreateBucket(name); err != nil {
				return fmt.Errorf("cannot make bucket %q: %w", name, err)
			}
		}
		if 0 < version && version+step+1 == firstSealed {
			if err := sealAll(tx); err != nil {
				return err
			}
		}
		failpoint.Here("database/migrating")
	}
	text := []byte(strconv.Itoa(schemaVersion))
	schema := tx.Bucket(schemaBucket)
	if err := schema.Put(sealedKey, seal(schemaBucket, sealedKey, text)); err != nil {
		return err
	}
	return schema.Put(versionKey, text)
}

// sealAll makes records of all values. One that cannot be decoded stays as it is, and is
// then set aside.
func sealAll(tx *bbolt.Tx) error {
	if err := sealBucket(tx, schemaBucket, versionKey); err != nil {
		return err
	}
	for _, name := range [][]byte{specBucket, runtimeBucket, policyBucket, endBucket, eventBucket} {
		if err := sealBucket(tx, name, nil); err != nil {
			return err
		}
	}
	return nil
}

func sealBucket(tx *bbolt.Tx, name, except []byte) error {
	type entry struct{ key, value []byte }
	var all []entry // a bucket must not change during ForEach
	b := tx.Bucket(name)
	if err := b.ForEach(func(k, v []byte) error {
		if string(k) != string(except) {
			all = append(all, entry{slices.Clone(k), seal(name, k, v)})
		}
		return nil
	}); err != nil {
		return err
	}
	for _, e := range all {
		if err := b.Put(e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}
