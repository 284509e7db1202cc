package store

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// The reserve is pages of the database file that are on disk and not in use. A
// change that ends something, or takes the place of what is there, goes into
// them, and so needs no room on the disk. What adds something leaves the reserve
// as it is: it is refused where the reserve cannot be kept beside it.

const (
	// lowReserve is from how few pages on the reserve is filled up: a change of one
	// unikernel needs about twenty, and gives them back with the next.
	lowReserve = 128
	// fullReserve is how many pages are added then.
	fullReserve = 256
	// slack is by how many bytes a record may become longer and still count as one
	// that takes the place of what is there.
	slack = 64
	// margin is how much of the disk is left alone when the reserve is filled up.
	margin = 64 << 10
)

// ErrNoRoom says that the reserve cannot be kept, and that nothing was written of
// what is new.
var ErrNoRoom = errors.New("there is no room for anything new")

// reserveBucket is there while the reserve is being filled up.
var reserveBucket = []byte("reserve")

// Room keeps the reserve. The error tells why that is not possible: nothing new
// can be stored until it is. A file that is not in its place needs none.
func (db *DB) Room() error {
	if db.InPlace() != nil {
		return nil
	}
	return db.makeRoom(0)
}

// makeRoom keeps the reserve beside growth bytes of new records.
func (db *DB) makeRoom(growth int) error {
	if s := db.bolt.Stats(); s.FreePageN+s.PendingPageN >= lowReserve+growth/db.pageSize {
		return nil
	}
	if err := db.fill(fullReserve*db.pageSize + growth); err != nil {
		return fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	return nil
}

// fill has pages written and gives them up at once.
func (db *DB) fill(size int) error {
	if err := db.update(dropReserve); err != nil { // of a daemon that was killed meanwhile
		return err
	}
	if err := db.hasRoom(size); err != nil {
		return err
	}
	if err := db.update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket(reserveBucket)
		if err != nil {
			return err
		}
		return b.Put([]byte("pages"), make([]byte, size))
	}); err != nil {
		return err
	}
	return db.update(dropReserve)
}

func dropReserve(tx *bbolt.Tx) error {
	if tx.Bucket(reserveBucket) == nil {
		return nil
	}
	return tx.DeleteBucket(reserveBucket)
}

// hasRoom asks the disk first: a write that fails in the middle would leave it
// full to the last byte.
func (db *DB) hasRoom(size int) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(db.path, &disk); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	free := disk.Bavail
	if os.Geteuid() == 0 {
		free = disk.Bfree
	}
	if free < uint64(size+margin)/uint64(disk.Bsize) {
		return unix.ENOSPC
	}
	return nil
}

// count has bbolt count its pages, which it does at the end of a transaction
// that may write.
func (db *DB) count() error {
	return guard(func() error {
		tx, err := db.bolt.Begin(true)
		if err != nil {
			return err
		}
		db.pageSize = db.bolt.Info().PageSize
		return tx.Rollback()
	})
}

// growth returns how many bytes changes add to what is stored. Events count nothing:
// there are so many of them at most, and fewer without a reserve. Neither do
// processes and ends, and what has been replaced, of which there is one for each
// unikernel.
func (db *DB) growth(changes []messages.Change) (bytes int) {
	_ = db.view(func(tx *bbolt.Tx) error { // the change itself meets the same error
		for _, change := range changes {
			switch c := change.(type) {
			case messages.PutSpec:
				bytes += growth(in(tx, specBucket), c.Name, c.Spec.Proven())
			case messages.PutPolicy:
				bytes += growth(in(tx, policyBucket), messages.Name{Path: c.Path}, c.Policy)
			}
		}
		return nil
	})
	return bytes
}

func growth(r records, name messages.Name, value any) int {
	record, err := r.encode(key(name), value)
	if err != nil {
		return 0 // so does the change
	}
	old := r.bucket.Get(key(name))
	if old == nil {
		return len(key(name)) + len(record)
	}
	return max(0, len(record)-len(old)-slack)
}
