package certificate

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// CheckPrivate refuses the file of a private key that others can read or change, or
// that belongs to somebody else than root and us. One that is not there is left to
// whoever reads it. (The endpoint does not ask: a credential that systemd hands over
// has the bits of a group, which are the mask of an access list.)
func CheckPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular(): // a pipe, perhaps, that somebody hands a key over by
		return nil
	case info.Mode().Perm()&^fs.FileMode(0o700) != 0:
		return fmt.Errorf("cannot use %s: others may read or change this private key, with mode %o: chmod 600 %s", path, info.Mode().Perm(), path)
	case known && owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return fmt.Errorf("cannot use %s: this private key belongs to user %d: chown it, or use one of your own", path, owner.Uid)
	}
	return nil
}
