package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"albatross/cmd/nativestate"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/store"
	"albatross/runtime/trust"
)

// dirMode gives the group access to the sockets and the pipes of consoles.
const dirMode = 0o750

// makeDirs creates missing directories, for a group, and refuses those that somebody else
// could change.
func makeDirs(o options, gid int) error {
	return makeAll(gid, o.tmpdir, utilDir(o), fifoDir(o), emptyDir(o))
}

// makeDatabaseDir is makeDirs for the directory of the database. The users of its
// subdirectories create those; nobody else can interfere there.
func makeDatabaseDir(o options) error {
	if err := makeAll(-1, o.dbdir); err != nil {
		return err
	}
	return checkDatabaseDir(o)
}

// checkDatabaseDir refuses files and subdirectories of the directory of the database that others
// can write.
func checkDatabaseDir(o options) error {
	for _, dir := range []string{filepath.Join(o.dbdir, store.ImageDir), blockDir(o), historyDir(o), filepath.Join(o.dbdir, wire.Dir)} {
		if err := trust.Dir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, file := range []string{store.DBFile, store.CopyFile, store.KeptFile, nativestate.File} {
		if err := trust.File(filepath.Join(o.dbdir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func makeAll(gid int, dirs ...string) error {
	for _, dir := range dirs {
		err := makeDir(dir, gid, trust.Dir)
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w (albatrossd runs as root, or with --tmpdir and --dbdir that you may write to)", err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// makeDir creates a directory and its parents. It checks each before it creates anything
// in it, also one that somebody else has created just before.
func makeDir(dir string, gid int, check func(string) error) error {
	if err := check(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDir(filepath.Dir(dir), gid, trust.Parent); err != nil {
		return err
	}
	err := os.Mkdir(dir, dirMode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return check(dir)
	case err != nil:
		return fmt.Errorf("cannot create directory: %w", err)
	}
	return share(dir, gid)
}

// share gives a group access to a directory, whatever the umask is.
func share(dir string, gid int) error {
	return errors.Join(os.Chown(dir, -1, gid), os.Chmod(dir, dirMode))
}

// shareDirs gives the group access to the sockets also if the directories existed before.
// Those of the sockets and pipes are ours alone. Permissions above them may be intended,
// and stay.
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

// keepsOut reports whether the members of a group cannot enter a directory.
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
