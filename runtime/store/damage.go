package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"syscall"
)

// A fault is a panic that guard has recovered.
type fault struct{ cause any }

func (f fault) Error() string { return fmt.Sprintf("the database has failed: %v", f.cause) }

// guard turns the failures of bbolt on a damaged file into an error: it panics, or
// touches memory where the file is not mapped, which would end the program.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fault{cause}
		}
	}()
	return do()
}

// errForeign says that a database is sound, and not ours.
var errForeign = errors.New("not a database of albatrossd")

// damaged adds what to do about a damaged database. An error of the system, such as a
// file that cannot be read, is no damage.
func (db *DB) damaged(err error) error {
	var errno syscall.Errno
	if err == nil || errors.As(err, &errno) || errors.Is(err, errForeign) {
		return err
	}
	advice := Restoring(filepath.Dir(db.path))
	if half := (metaError{}); errors.As(err, &half) {
		advice = half.goOn(db.path) + ", or " + advice
	}
	return fmt.Errorf("the file is damaged (%w); it was left as it is: %s, or move it away to start with nothing", err, advice)
}
