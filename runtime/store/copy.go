package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"albatross/runtime/durable"
)

// CopyFile is the name of the copy of the database, as the last daemon found it that
// could use it.
const CopyFile = "state.db.copy"

// keepCopy writes a copy of the database to disk as a whole, and replaces the one before.
func (db *DB) keepCopy() error {
	if err := db.view(func(tx *bbolt.Tx) error { return db.copy(tx) }); err != nil {
		return fmt.Errorf("cannot keep a copy of %s: %w", db.path, err)
	}
	return nil
}

func (db *DB) copy(tx *bbolt.Tx) error {
	if err := db.hasRoom(int(tx.Size())); err != nil {
		return err
	}
	dir := filepath.Dir(db.path)
	temporary := filepath.Join(dir, CopyFile+".tmp")
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = tx.WriteTo(f)
	if err == nil {
		err = durable.Rename(f, filepath.Join(dir, CopyFile))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return durable.SyncDir(dir)
}

// KeptFile is the name of the copy from before records were last set aside: it may
// contain them.
const KeptFile = CopyFile + ".kept"

// preserveCopy keeps an existing copy from being replaced.
func preserveCopy(dir string) error {
	err := os.Rename(filepath.Join(dir, CopyFile), filepath.Join(dir, KeptFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot keep the copy from before: %w", err)
	}
	return nil
}

// Restoring says how an operator restores the copy in a directory, if one can be used.
func Restoring(dir string) string {
	path := filepath.Join(dir, CopyFile)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "restore a copy of it"
	}
	defer func() { _ = f.Close() }()
	if err := look(f); err != nil {
		return fmt.Sprintf("restore a copy of it from elsewhere, for %s is damaged, too (%v)", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return "restore a copy of it"
	}
	return fmt.Sprintf("restore it from the copy of %s, which lacks what has changed since (cp -a %s %s)",
		info.ModTime().UTC().Format("2006-01-02 15:04:05 UTC"), path, filepath.Join(dir, DBFile))
}
