package store

import (
	"errors"
	"fmt"
	"os"
)

// The texts for clients reveal nothing of this machine. InPlace returns what the operator
// has to do.
var (
	// ErrAway says that nothing was written, since the next start would not read it.
	ErrAway = errors.New("somebody has removed or replaced the database under the daemon, and nothing is stored until it is back: the daemon's log tells what to do")
	// errGoneMeanwhile says that what was written may be lost.
	errGoneMeanwhile = errors.New("somebody has removed or replaced the database under the daemon while this was stored, and the next start may not know of it: the daemon's log tells what to do")
)

// InPlace checks that the open file is the one that the next start will read: what goes
// to another one is lost with this daemon.
func (db *DB) InPlace() error {
	there, err := os.Lstat(db.path)
	if err == nil && os.SameFile(there, db.opened) {
		return nil
	}
	cause := "it is another file now"
	if err != nil {
		cause = err.Error()
	}
	return fmt.Errorf("somebody has removed or replaced %s (%s): move it back, or copy it (cp /proc/%d/fd/%d %s) and start the daemon again",
		db.path, cause, os.Getpid(), db.fd, db.path)
}
