// Package durable writes files so that a crash or a power cut at any time leaves either
// all of the old or all of the new file under a name. It fsyncs the contents of a file,
// then gives it its name in one step. The name is on disk once the directory is fsynced.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// SyncDir fsyncs a directory, and so the names in it.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Rename gives a file that was written under a temporary name, in the same directory, the
// name path, and replaces an existing one. The file stays open. After an error it has its
// temporary name; after success, the caller must call SyncDir.
func Rename(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Replace writes a file to disk, and replaces an existing one. A crash may leave a part of
// it under another name: see Clean.
func Replace(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, os.Rename)
}

// Create is Replace for a new file; if the file exists, the error is fs.ErrExist.
func Create(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, os.Link)
}

// partSuffix ends the names of files that are being written.
const partSuffix = ".part"

// Clean removes what Replace or Create of this path have left in a crash. The caller sees
// to it that nobody writes the file meanwhile.
func Clean(path string) error {
	dir, name := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), name+".") && strings.HasSuffix(e.Name(), partSuffix) {
			err = errors.Join(err, os.Remove(dir+e.Name()))
		}
	}
	return err
}

func write(path string, data []byte, mode fs.FileMode, put func(from, to string) error) error {
	err := func() error {
		dir := filepath.Dir(path)
		f, err := os.CreateTemp(dir, filepath.Base(path)+".*"+partSuffix)
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(f.Name()) }() // if it has not been renamed
		_, err = f.Write(data)
		if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
			return err
		}
		if err := put(f.Name(), path); err != nil {
			return err
		}
		return SyncDir(dir)
	}()
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}
