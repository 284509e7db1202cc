package store

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// The reserve consists of free pages of the database file that are on disk. A change that
// ends or replaces something uses them, and so needs no room on the disk. A change that
// adds something leaves the reserve alone: it is refused if the reserve cannot be kept
// besides.

const (
	// lowReserve is the number of pages below which the reserve is filled up. A change of
	// one unikernel needs about twenty, and returns them with the next change.
	lowReserve = 128
	// fullReserve is how many pages are added then.
	fullReserve = 256
	// slack is by how many bytes a record may grow and still count as a replacement.
	slack = 64
	// margin is how much of the disk stays free when the reserve is filled up.
	margin = 64 << 10
)

// ErrNoRoom says that the reserve cannot be kept, and that nothing new was written.
var ErrNoRoom = errors.New("there is no room for anything new")

// reserveBucket exists while the reserve is being filled up.
var reserveBucket = []byte("reserve")

// Room keeps the reserve. The error says why that is impossible: nothing new can be
// stored until it is. A file that is not in its place needs no reserve.
func (db *DB) Room() error {
	if db.InPlace() != nil {
		return nil
	}
	return db.makeRoom(0)
}

// makeRoom keeps the reserve besides growth bytes of new records.
func (db *DB) makeRoom(growth int) error {
	if s := db.bolt.Stats(); s.FreePageN+s.PendingPageN >= lowReserve+growth/db.pageSize {
		return nil
	}
	if err := db.fill(fullReserve*db.pageSize + growth); err != nil {
		return fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	return nil
}

// fill writes pages and frees them at once.
func (db *DB) fill(size int) error {
	if err := db.update(dropReserve); err != nil { // left by a daemon that was killed meanwhile
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

// hasRoom checks the disk first: a write that fails halfway would leave it completely
// full.
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

// count makes bbolt count its free pages, which it does at the end of a transaction that
// may write.
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

// growth returns how many bytes changes add to what is stored. Events do not count: their
// number is bounded, and shrinks without a reserve. Neither do processes, ends and
// formers, of which each unikernel has at most one.
func (db *DB) growth(changes []messages.Change) (bytes int) {
	_ = db.view(func(tx *bbolt.Tx) error { // the change itself fails with the same error
		for _, change := range changes {
			switch c := change.(type) {
			case messages.PutSpec:
				bytes += growth(in(tx, specBucket), c.Name, c.Spec.Proven())
			case messages.PutPolicy:
				bytes += growth(in(tx, policyBucket), messages.Name{Path: c.Path}, c.Policy)
			case messages.PutNetwork:
				bytes += growth(in(tx, networkBucket), c.Name, c.Spec)
			case messages.PutBlock:
				bytes += growth(in(tx, blockBucket), c.Name, c.Block)
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
