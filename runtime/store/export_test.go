package store

import (
	"errors"

	"go.etcd.io/bbolt"

	"albatross/messages"
)

// PutVersion has a database say that it is of a version.
func PutVersion(tx *bbolt.Tx, version string) error {
	schema := tx.Bucket(schemaBucket)
	return errors.Join(
		schema.Put(versionKey, []byte(version)),
		schema.Put(sealedKey, seal(schemaBucket, sealedKey, []byte(version))),
	)
}

// Damaged are the keys of what has been set aside.
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
