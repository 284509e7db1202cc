// Package trust tells whether what is below a path can be changed by somebody else
// than root and the user that asks.
//
// A daemon of root makes sockets and pipes by their paths, executes images, and writes
// to block devices. Whoever may rename one directory on the way decides which files
// those are. So everything on the way counts, from / on: each directory, each symbolic
// link, and what is on the way to where that leads.
//
// A path that has passed stays what it is: nobody else can change any part of it. So it
// may be used by its name afterwards.
package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links the kernel follows in a path, too.
const maxLinks = 40

// othersWrite are the bits by which others than the owner may write. Those of the group
// are also the mask of an access list: what that allows does not pass either.
const othersWrite = 0o022

// Dir refuses a directory that somebody else can change, or put another one in the place
// of. The error is fs.ErrNotExist where it is not there, and as far as the way goes
// nobody else can change that.
func Dir(path string) error { return check(path, false) }

// Parent is Dir for where others may have files, too, but cannot touch ours, as in /tmp.
func Parent(path string) error { return check(path, true) }

func check(path string, shared bool) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("cannot use %s: %w", path, err)
	}
	w := &way{at: "/", left: strings.Split(path, "/")}
	for {
		last := w.skip()
		followed, err := w.look(!last || shared)
		switch {
		case err != nil:
			return err
		case followed:
		case last:
			return nil
		default:
			w.step()
		}
	}
}

// A way is what is looked at of a path: at is where it has come to, left the names that
// are still to go.
type way struct {
	at    string
	left  []string
	links int
}

// skip leaves out names that lead nowhere else, and tells whether none is left.
func (w *way) skip() (last bool) {
	for len(w.left) > 0 && (w.left[0] == "" || w.left[0] == ".") {
		w.left = w.left[1:]
	}
	return len(w.left) == 0
}

// step goes on to the next name. There is no symbolic link in at, so that its parent
// is where ".." leads.
func (w *way) step() {
	w.at = filepath.Join(w.at, w.left[0])
	w.left = w.left[1:]
}

// look refuses what somebody else can change. A link is followed: to lead somewhere
// else it would have to be replaced, and that may only be done by its owner and by
// those who may write to its directory.
func (w *way) look(shared bool) (followed bool, err error) {
	info, err := os.Lstat(w.at)
	if err != nil {
		return false, w.cannot(err)
	}
	if err := checkOwner(w.at, info); err != nil {
		return false, err
	}
	sticky := info.Mode()&fs.ModeSticky != 0 // each may rename what is their own
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return true, w.follow()
	case !info.IsDir():
		return false, w.cannot(syscall.ENOTDIR)
	case info.Mode().Perm()&othersWrite == 0, shared && sticky:
		return false, nil
	case sticky:
		return false, fmt.Errorf("cannot use %s: others may write to it, with mode 1%o: use a directory below it", w.at, info.Mode().Perm())
	}
	return false, fmt.Errorf("cannot use %s: others may write to it, with mode %o: chmod go-w %s", w.at, info.Mode().Perm(), quoted(w.at))
}

// cannot tells why the way ends here.
func (w *way) cannot(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("cannot use %s: %w", w.at, err)
}

// follow goes where a symbolic link leads.
func (w *way) follow() error {
	if w.links++; w.links > maxLinks {
		return w.cannot(syscall.ELOOP)
	}
	target, err := os.Readlink(w.at)
	if err != nil {
		return w.cannot(err)
	}
	w.left = append(strings.Split(target, "/"), w.left...)
	w.at = filepath.Dir(w.at)
	if filepath.IsAbs(target) {
		w.at = "/"
	}
	return nil
}

// checkOwner refuses what belongs to somebody else than root and us.
func checkOwner(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return errors.New("internal error: cannot tell whose a file is")
	case stat.Uid == 0 || int(stat.Uid) == os.Geteuid() || stat.Uid == nobody && !inNamespace(nobody):
		return nil
	}
	return fmt.Errorf("cannot use %s: it belongs to user %d, who can change what is there: %s %s", path, stat.Uid, chown(info), quoted(path))
}

// chown returns the command that makes a file ours.
func chown(info fs.FileInfo) string {
	command, owner := "chown", "root"
	if info.Mode()&fs.ModeSymlink != 0 {
		command = "chown -h"
	}
	if uid := os.Geteuid(); uid != 0 {
		owner = strconv.Itoa(uid)
	}
	return command + " " + owner
}

// quoted returns a path for a shell.
func quoted(path string) string {
	if strings.Trim(path, "/.-_+,:@%abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
