package store

import (
	"fmt"
	"os"
)

// inPlace tells whether the file that is written is the one that the next start will
// read: what goes to another one is lost with this daemon.
func (db *DB) inPlace() error {
	there, err := os.Lstat(db.path)
	if err == nil && os.SameFile(there, db.opened) {
		return nil
	}
	cause := "it is another file now"
	if err != nil {
		cause = err.Error()
	}
	return fmt.Errorf("somebody has removed or replaced the database under the daemon, and nothing is stored until it is back (%s): "+
		"move it back, or copy it (cp /proc/%d/fd/%d %s) and start the daemon again", cause, os.Getpid(), db.fd, db.path)
}
