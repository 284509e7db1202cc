package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// File refuses a file that somebody else can change, or put another one in the place of.
// Links are followed. The error is fs.ErrNotExist where it is not there.
func File(path string) error {
	if err := Dir(filepath.Dir(path)); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	for links := 0; err == nil && info.Mode()&fs.ModeSymlink != 0; links++ {
		if err := checkOwner(path, info); err != nil {
			return err
		}
		if path, err = target(path, links); err != nil {
			break
		}
		if err := Dir(filepath.Dir(path)); err != nil {
			return err
		}
		info, err = os.Lstat(path)
	}
	if err != nil {
		return fmt.Errorf("cannot use %s: %w", path, messages.WithoutPath(err))
	}
	return checkFile(path, info, othersWrite)
}

// target is where a link leads, after so many others.
func target(link string, links int) (string, error) {
	if links == maxLinks {
		return link, syscall.ELOOP
	}
	to, err := os.Readlink(link)
	if err == nil && !filepath.IsAbs(to) {
		to = filepath.Dir(link) + "/" + to // ".." is not what is before it where that is a link
	}
	return to, err
}

func checkFile(path string, info fs.FileInfo, bits fs.FileMode) error {
	if err := checkOwner(path, info); err != nil {
		return err
	}
	if info.Mode()&fs.ModeDevice != 0 { // it keeps nothing that is written to it
		return nil
	}
	return checkMode(path, info, bits)
}

// Append opens a file to write at its end, and makes it where there is none. It refuses
// one that somebody else can change, or that is in a directory where somebody else can
// put it. What is above that directory does not count: /var/log belongs to a group on
// many machines. So a symbolic link is refused, which would lead anywhere.
//
// Our own group may write, which is that of one user where files are made for it.
func Append(path string, mode fs.FileMode) (*os.File, error) {
	dir := filepath.Dir(path)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w", dir, err)
	}
	parent := os.NewFile(uintptr(fd), dir)
	defer func() { _ = parent.Close() }()
	if err := checkOpen(parent); err != nil {
		return nil, err
	}
	fd, err = unix.Openat(fd, filepath.Base(path), unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, uint32(mode.Perm()))
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EMLINK) { // the latter is FreeBSD's
		return nil, fmt.Errorf("cannot use %s: it is a symbolic link: name the file that it leads to", path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	if err := checkOpen(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkOpen is the judgement of Append.
func checkOpen(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot use %s: %w", f.Name(), messages.WithoutPath(err))
	}
	bits := fs.FileMode(othersWrite)
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Gid) == os.Getegid() {
		bits &^= 0o020
	}
	return checkFile(f.Name(), info, bits)
}
