// Package durable puts files on disk in such a way that a crash or a power cut at any
// time leaves all of the old one or all of the new one under a name. For that, the
// contents of a file are on disk before it gets its name, and it gets that in one step.
// That it has the name is on disk when its directory is.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SyncDir puts the names in a directory on disk.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Rename gives a file that was written under a temporary name, in the same directory,
// the name path, in place of what has it. It stays open. Where it fails, the file has
// its temporary name; where it succeeds, SyncDir is still to be called.
func Rename(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Replace writes a file, in place of what is there. All of it is on disk then. What a
// crash may leave behind is a file of this name with .part behind it.
func Replace(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, os.Rename)
}

// Create is Replace where there is no file yet; that there is one is fs.ErrExist.
func Create(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, os.Link)
}

func write(path string, data []byte, mode fs.FileMode, put func(from, to string) error) error {
	err := func() error {
		dir := filepath.Dir(path)
		f, err := os.CreateTemp(dir, filepath.Base(path)+".*.part")
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(f.Name()) }() // where it has not been renamed
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
