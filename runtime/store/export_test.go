package store

import (
	"errors"

	"go.etcd.io/bbolt"

	"albatross/messages"
)

// PutVersion sets the version of a database.
func PutVersion(tx *bbolt.Tx, version string) error {
	schema := tx.Bucket(schemaBucket)
	return errors.Join(
		schema.Put(versionKey, []byte(version)),
		schema.Put(sealedKey, seal(schemaBucket, sealedKey, []byte(version))),
	)
}

// Damaged returns the keys of what has been set aside.
func (db *DB) Damaged() (keys []string, err error) {
	err = db.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(damagedBucket).ForEach(func(_, v []byte) error {
			var k kept
			if err := messages.Decode(v, &k); err != nil {
				return err
			}
			keys = append(keys, string(k.Key))
			return nil
		})
	})
	return keys, err
}

// Occupy makes the next change wait, until it is released.
func (db *DB) Occupy() (release func() error, err error) {
	tx, err := db.bolt.Begin(true)
	if err != nil {
		return nil, err
	}
	return tx.Rollback, nil
}

// Reads returns how often the database has been read.
func (db *DB) Reads() int { return db.bolt.Stats().TxN }

// UseReserve leaves so little of the reserve that it must be filled up.
func (db *DB) UseReserve() error {
	return db.update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(reserveBucket)
		if err != nil {
			return err
		}
		return b.Put([]byte("used"), make([]byte, fullReserve/2*db.pageSize+lowReserve/2*db.pageSize))
	})
}

// Busy holds the moment at which an image gets its name or loses it, until it is released.
func (i *Images) Busy() (release func()) {
	i.mu.Lock()
	return i.mu.Unlock
}

// FailAfter stores changes as a commit does whose last fsync fails: they are in the file, and nobody
// is told so.
func (db *DB) FailAfter(changes []messages.Change) error {
	return db.update(func(tx *bbolt.Tx) error {
		_, err := db.applyOnce(tx, changes, false)
		return err
	})
}
