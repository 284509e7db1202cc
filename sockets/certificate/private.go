package certificate

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"albatross/messages"
)

// CheckPrivate refuses the file of a private key that others can read or change, or that
// belongs to anybody else than root and us. It accepts a missing file. (The endpoint does
// not call it: a credential of systemd has group permissions, which are the mask of an
// access list.)
func CheckPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular(): // perhaps a pipe that delivers a key
		return nil
	case info.Mode().Perm()&^fs.FileMode(0o700) != 0:
		return fmt.Errorf("cannot use %s: others may read or change this private key, with mode %o: chmod 600 %s", path, info.Mode().Perm(), messages.ShellQuoted(path))
	case known && owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return fmt.Errorf("cannot use %s: this private key belongs to user %d: chown it, or use one of your own", path, owner.Uid)
	}
	return nil
}
