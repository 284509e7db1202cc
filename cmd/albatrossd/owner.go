package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"albatross/runtime/durable"
	"albatross/runtime/trust"
)

// ownerFile is in --tmpdir and names the owner of that. A daemon that finds another owner
// leaves the pipes alone: their unikernels may run.
const ownerFile = "database.json"

// maxOwner bounds how much of such a file is read, in bytes.
const maxOwner = 8192

// An owner is the database directory of a daemon. Two are the same if they have the same
// path, as a restored one, or are the same file, as a moved one.
type owner struct {
	Path   string `json:"database"` // without symbolic links
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

func ownerOf(dbdir string) (o owner, err error) {
	if o.Path, err = filepath.Abs(dbdir); err == nil {
		o.Path, err = filepath.EvalSymlinks(o.Path)
	}
	var stat unix.Stat_t
	if err == nil {
		err = unix.Stat(o.Path, &stat)
	}
	if err != nil {
		return owner{}, fmt.Errorf("cannot find the database directory: %w", err)
	}
	o.Device, o.Inode = stat.Dev, stat.Ino
	return o, nil
}

func (o owner) same(other owner) bool {
	return o.Path == other.Path || o.Device == other.Device && o.Inode == other.Inode
}

// readOwner returns the owner in the file, if the file exists. An unreadable file means
// an owner with an unknown database.
func readOwner(path string) (o owner, found bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return owner{}, false, nil
	}
	if err != nil {
		return owner{}, false, fmt.Errorf("cannot read whose directory it is: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxOwner))
	if err != nil {
		return owner{}, false, fmt.Errorf("cannot read whose directory it is: %w", err)
	}
	if json.Unmarshal(text, &o) != nil || o.Path == "" {
		o = owner{Path: fmt.Sprintf("(%s cannot be understood)", path)}
	}
	return o, true, nil
}

// A claim is the right of this daemon to use --tmpdir: the lock of the directory while
// the daemon runs, and the file afterwards.
type claim struct {
	options options
	owner   owner
	dir     *os.File // locked
}

// A daemon that was just killed may hold the lock for a moment.
const (
	lockWait  = time.Second
	lockPause = 10 * time.Millisecond
)

var errLocked = errors.New("another daemon listens there: end it, or use another --tmpdir")

// claimDir claims --tmpdir, and refuses that of another daemon that runs, or whose
// unikernels may.
func claimDir(o options) (*claim, error) {
	owner, err := ownerOf(o.dbdir)
	if err != nil {
		return nil, err
	}
	c := &claim{options: o, owner: owner}
	err = c.take()
	for end := time.Now().Add(lockWait); errors.Is(err, errLocked) && time.Now().Before(end); err = c.take() {
		time.Sleep(lockPause)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w", o.tmpdir, err)
	}
	return c, nil
}

func (c *claim) file() string { return filepath.Join(c.options.tmpdir, ownerFile) }

// take locks the directory that is there now, and writes the file.
func (c *claim) take() error {
	dir, err := os.Open(c.options.tmpdir)
	if err != nil {
		return err
	}
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errLocked
	}
	if err == nil {
		err = durable.Clean(c.file()) // of a daemon that was killed while it wrote
	}
	if err == nil {
		err = c.write()
	}
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	old := c.dir
	c.dir = dir
	if old != nil {
		return old.Close()
	}
	return nil
}

func (c *claim) write() error {
	if err := trust.File(c.file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	former, found, err := readOwner(c.file())
	switch {
	case err != nil:
		return err
	case found && former == c.owner:
		return nil
	case found && !former.same(c.owner):
		if err := leftBy(former, c.options); err != nil {
			return err
		}
	}
	text, err := json.Marshal(c.owner)
	if err != nil {
		return fmt.Errorf("internal error: cannot encode whose directory it is: %w", err)
	}
	return durable.Replace(c.file(), append(text, '\n'), 0o640)
}

// leftBy refuses a directory in which the unikernels of another daemon use something.
func leftBy(former owner, o options) error {
	pipes, err := countFiles(fifoDir(o), isName)
	if err != nil {
		return err
	}
	processes := writers(fifoDir(o))
	if pipes == 0 && len(processes) == 0 {
		return nil
	}
	return fmt.Errorf("it belongs to the daemon with --dbdir %s, which has left %d running unikernels (processes %s) and %d console pipes in %s: "+
		"use that --dbdir, or another --tmpdir; or, if that daemon is not to come back, end the processes and remove the pipes",
		former.Path, len(processes), cmp.Or(strings.Join(processes, ", "), "none"), pipes, fifoDir(o))
}

// renew claims the directory again if it was removed and created anew, and writes a
// missing file again.
func (c *claim) renew() error {
	same, err := c.holds()
	switch {
	case err != nil:
		return err
	case !same:
		return c.take()
	}
	if _, err := os.Lstat(c.file()); errors.Is(err, fs.ErrNotExist) {
		return c.write()
	}
	return nil
}

// holds reports whether the locked directory is the existing one.
func (c *claim) holds() (bool, error) {
	now, err := os.Stat(c.options.tmpdir)
	if err != nil {
		return false, err
	}
	locked, err := c.dir.Stat()
	return err == nil && os.SameFile(now, locked), err
}

// close gives the directory to the next daemon: to any, if no unikernel uses it.
func (c *claim) close() error {
	var err error
	if same, _ := c.holds(); same && leftBy(c.owner, c.options) == nil {
		if err = os.Remove(c.file()); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, c.dir.Close())
}
