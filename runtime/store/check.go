package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"go.etcd.io/bbolt"
)

// check finds damage before anything is written. The pages must all be in the
// file, for those that are not cannot even be read; everything must be
// readable; and no page in use may count as free, for it would be overwritten.
//
// It must be called within guard. bbolt's own check cannot be used: it works in
// a goroutine of its own, where a fault ends the program, and on some damage it
// takes all memory.
func check(tx *bbolt.Tx, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return fmt.Errorf("it has %d bytes of %d", info.Size(), tx.Size())
	}
	if err := tx.ForEach(readAll); err != nil {
		return err
	}
	return checkPages(tx)
}

// readAll touches every byte of a bucket, and by looking up every key also the
// branches that lead to them.
func readAll(_ []byte, b *bbolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		if checksum(k, v) != checksum(k, b.Get(k)) {
			return errors.New("an entry is not where it belongs")
		}
		return nil
	})
}

func checksum(k, v []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(k), crc32.IEEETable, v)
}

// checkPages goes through the file, where a page is free, or begins a run of
// pages in use, and counts as many of the latter as the tree has at least.
func checkPages(tx *bbolt.Tx) error {
	all := int(tx.Size()) / tx.DB().Info().PageSize
	inUse := 0
	for id := 0; id < all; id++ {
		page, err := tx.Page(id)
		if err != nil {
			return err
		}
		switch page.Type {
		case "branch", "leaf":
			inUse += 1 + page.OverflowCount
			id += page.OverflowCount
		case "freelist":
			id += page.OverflowCount
		case "free", "meta":
		default:
			return fmt.Errorf("page %d is neither free nor of a known type", id)
		}
		if id >= all {
			return fmt.Errorf("page %d is larger than the file", page.ID)
		}
	}
	tree := tx.Cursor().Bucket().Stats() // the bucket of all buckets
	if needed := tree.BranchPageN + tree.BranchOverflowN + tree.LeafPageN + tree.LeafOverflowN; inUse < needed {
		return fmt.Errorf("%d of %d pages in use count as free", needed-inUse, needed)
	}
	return nil
}
