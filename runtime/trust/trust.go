// Package trust checks whether only root and the current user can change what is below a
// path.
//
// A root daemon makes sockets and pipes by their paths, executes images, and writes to
// block devices. Whoever can rename one directory of a path decides which files those
// are. So everything on the way counts, from / on: each directory, each symbolic link,
// and the way to its target.
//
// A path that has passed stays valid: nobody else can change any part of it. So it can be
// used by name afterwards.
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

	"albatross/messages"
)

// maxLinks is how many symbolic links the kernel follows in a path, too.
const maxLinks = 40

// othersWrite are the write permissions of others than the owner. The group bits are also
// the mask of an access list: what that allows does not pass either.
const othersWrite = 0o022

// Dir refuses a directory that somebody else can change or replace. It returns
// fs.ErrNotExist if the directory does not exist, and nobody else can create it.
func Dir(path string) error { return check(path, false) }

// Parent is Dir for one like /tmp, where others have files, but cannot touch ours.
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

// A way is a path being checked: at is what was checked, left are the names still to
// check.
type way struct {
	at    string
	left  []string
	links int
}

// skip drops names that lead nowhere else, and reports whether none is left.
func (w *way) skip() (last bool) {
	for len(w.left) > 0 && (w.left[0] == "" || w.left[0] == ".") {
		w.left = w.left[1:]
	}
	return len(w.left) == 0
}

// step goes on to the next name. at contains no symbolic link, so that its parent is the
// target of "..".
func (w *way) step() {
	w.at = filepath.Join(w.at, w.left[0])
	w.left = w.left[1:]
}

// look refuses what somebody else can change, and follows a link: only its owner and
// those who may write to its directory can replace it.
func (w *way) look(shared bool) (followed bool, err error) {
	info, err := os.Lstat(w.at)
	if err != nil {
		return false, w.cannot(err)
	}
	if err := checkOwner(w.at, info); err != nil {
		return false, err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return true, w.follow()
	case !info.IsDir():
		return false, w.cannot(syscall.ENOTDIR)
	case shared && info.Mode()&fs.ModeSticky != 0: // each user can rename only their own files
		return false, nil
	}
	return false, checkMode(w.at, info, othersWrite)
}

// checkMode refuses what others may write to, by some of the bits.
func checkMode(path string, info fs.FileInfo, bits fs.FileMode) error {
	mode := info.Mode()
	switch {
	case mode.Perm()&bits == 0:
		return nil
	case mode.IsDir() && mode&fs.ModeSticky != 0:
		return fmt.Errorf("cannot use %s: others may write to it, with mode 1%o: use a directory below it", path, mode.Perm())
	}
	return fmt.Errorf("cannot use %s: others may write to it, with mode %o: chmod go-w %s", path, mode.Perm(), messages.ShellQuoted(path))
}

// cannot says why the check ends here.
func (w *way) cannot(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("cannot use %s: %w", w.at, err)
}

// follow goes on at the target of a symbolic link.
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

// checkOwner refuses a file of anybody else than root and us.
func checkOwner(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return errors.New("internal error: cannot tell whose a file is")
	case stat.Uid == 0 || int(stat.Uid) == os.Geteuid() || stat.Uid == nobody && !inNamespace(nobody):
		return nil
	}
	return fmt.Errorf("cannot use %s: it belongs to user %d, who can change what is there: %s %s", path, stat.Uid, chown(info), messages.ShellQuoted(path))
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
