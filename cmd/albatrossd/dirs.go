package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// dirMode lets the group go to the sockets and to the pipes of consoles.
const dirMode = 0o750

// makeDirs makes the directories that are not there, for a group.
func makeDirs(o options, gid int) error {
	for _, dir := range []string{utilDir(o), fifoDir(o)} {
		if err := makeDir(dir, gid); err != nil {
			return fmt.Errorf("cannot create directory: %w (albatrossd runs as root, or with --tmpdir and --dbdir that you may write to)", err)
		}
	}
	return nil
}

// makeDir makes a directory, and those above it.
func makeDir(dir string, gid int) error {
	err := os.Mkdir(dir, dirMode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return requireDir(dir)
	case errors.Is(err, fs.ErrNotExist):
		if err := makeDir(filepath.Dir(dir), gid); err != nil {
			return err
		}
		return makeDir(dir, gid)
	case err != nil:
		return err
	}
	return share(dir, gid)
}

func requireDir(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	}
	return err
}

// share lets a group go to a directory, whatever the umask is.
func share(dir string, gid int) error {
	return errors.Join(os.Chown(dir, -1, gid), os.Chmod(dir, dirMode))
}

// shareDirs lets the group go to the sockets also where the directories were there
// before. Those of the sockets and pipes are ours alone. What is above them may have
// been made like that on purpose, and stays as it is.
func shareDirs(o options, gid int, log *slog.Logger) error {
	if gid < 0 {
		return nil
	}
	for _, dir := range []string{utilDir(o), fifoDir(o)} {
		if keepsOut(dir, gid) {
			if err := share(dir, gid); err != nil {
				return fmt.Errorf("cannot let the group albatross go to a directory: %w", err)
			}
		}
	}
	if keepsOut(o.tmpdir, gid) {
		log.Warn("The group albatross cannot reach the sockets: use chgrp and chmod to let it", "directory", o.tmpdir)
	}
	return nil
}

// keepsOut tells whether the members of a group cannot go to a directory.
func keepsOut(dir string, gid int) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	if info.Sys().(*syscall.Stat_t).Gid == uint32(gid) {
		return info.Mode()&0o010 == 0
	}
	return info.Mode()&0o001 == 0
}
