package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"albatross/runtime/durable"
	"albatross/runtime/failpoint"
)

// DBFile is the name of the database in the database directory.
const DBFile = "state.db"

// schemaVersion is raised when an older albatrossd would misunderstand what is
// stored. A new field alone is no reason: see package messages.
const schemaVersion = 3

// lockTimeout is how long another daemon may take to let go of the database:
// as long as one that is being replaced needs to exit.
const lockTimeout = time.Second

// The buckets, and the keys in the first.
var (
	schemaBucket  = []byte("schema")
	specBucket    = []byte("specs")    // name: messages.Spec
	runtimeBucket = []byte("runtimes") // name: messages.Runtime; only where there is a spec
	policyBucket  = []byte("policies") // name of a path: messages.Policy
	endBucket     = []byte("ends")     // name: messages.End; also of what is gone
	eventBucket   = []byte("events")   // number: messages.Event; see events.go
	versionKey    = []byte("version")
	importedKey   = []byte("imported") // there where State.Imported is true
)

// A DB is the database. Its methods may be called concurrently.
type DB struct {
	path     string
	bolt     *bbolt.DB
	pageSize int
	opened   os.FileInfo // the file that bolt writes
	fd       uintptr     // its descriptor

	// Uncopied is why there is no copy of the database as it was found, if there
	// should be one.
	Uncopied error
}

// Open opens the database in a directory, and makes both if there is none. It
// belongs to one daemon at a time. One that is damaged, or that this version
// does not understand, is left exactly as it is.
func Open(dir string) (*DB, error) {
	db := &DB{path: filepath.Join(dir, DBFile)}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, db.cannotOpen(err)
	}
	if err := db.open(); err != nil {
		return nil, db.cannotOpen(err)
	}
	failpoint.Here("database/opened")
	if err := db.prepare(); err != nil {
		return nil, db.cannotOpen(errors.Join(err, db.bolt.Close()))
	}
	failpoint.Here("database/prepared")
	_ = db.Room() // where there is none, changes say so
	return db, nil
}

func (db *DB) cannotOpen(err error) error { return fmt.Errorf("cannot open %s: %w", db.path, err) }

// open opens the file and takes its lock.
func (db *DB) open() error {
	if err := look(db.path); err != nil {
		return db.damaged(err)
	}
	var file *os.File
	options := &bbolt.Options{Timeout: lockTimeout}
	options.OpenFile = func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
		file, err = os.OpenFile(path, flag|unix.O_NOFOLLOW, mode)
		return file, err
	}
	err := guard(func() (err error) {
		db.bolt, err = bbolt.Open(db.path, 0o600, options)
		return err
	})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return errors.New("in use by another albatrossd")
	case err != nil && file != nil:
		// Where bbolt has panicked, the file is still open and mapped, and the
		// mapping would keep the lock.
		_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
		_ = file.Close()
		return db.damaged(err)
	case err != nil:
		return err
	}
	db.fd = file.Fd()
	if db.opened, err = file.Stat(); err != nil {
		return errors.Join(err, db.bolt.Close())
	}
	return nil
}

// prepare looks at all of an open database before anything is written, sets up
// one that is new, and brings an older one to this version.
func (db *DB) prepare() error {
	version := 0
	if err := db.view(func(tx *bbolt.Tx) (err error) {
		if err := check(tx, db.path); err != nil {
			return db.damaged(err)
		}
		version, err = db.versionOf(tx)
		return err
	}); err != nil {
		return err
	}
	if version > 0 {
		db.Uncopied = db.keepCopy()
	}
	if version < schemaVersion {
		if err := db.update(func(tx *bbolt.Tx) error { return migrate(tx, version) }); err != nil {
			return err
		}
	}
	return errors.Join(db.count(), durable.SyncDir(filepath.Dir(db.path))) // the file may be new
}

// versionOf is the version of the format, 0 where there is nothing in the
// database yet. The error says that this is no database for us.
func (db *DB) versionOf(tx *bbolt.Tx) (int, error) {
	schema := tx.Bucket(schemaBucket)
	if schema == nil {
		if first, _ := tx.Cursor().First(); first != nil {
			return 0, errors.New("not a database of albatrossd")
		}
		return 0, nil
	}
	version, err := strconv.Atoi(string(schema.Get(versionKey)))
	switch {
	case err != nil:
		return 0, db.damaged(fmt.Errorf("its version is %q", schema.Get(versionKey)))
	case version > schemaVersion:
		return 0, fmt.Errorf("written by a newer albatrossd (version %d of the format, this one knows %d): run that one", version, schemaVersion)
	case version < 1:
		return 0, db.damaged(fmt.Errorf("there never was a version %d", version))
	}
	return version, nil
}

// migrations are what makes version i+1 of version i. A new database goes
// through all of them.
var migrations = [schemaVersion]func(*bbolt.Tx) error{
	func(tx *bbolt.Tx) error { return createBuckets(tx, schemaBucket, specBucket, runtimeBucket) },
	func(tx *bbolt.Tx) error { return createBuckets(tx, policyBucket, endBucket) },
	func(tx *bbolt.Tx) error { return createBuckets(tx, eventBucket) },
}

func migrate(tx *bbolt.Tx, version int) error {
	for _, step := range migrations[version:] {
		if err := step(tx); err != nil {
			return err
		}
		failpoint.Here("database/migrating")
	}
	return tx.Bucket(schemaBucket).Put(versionKey, []byte(strconv.Itoa(schemaVersion)))
}

func createBuckets(tx *bbolt.Tx, names ...[]byte) error {
	for _, name := range names {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return nil
}

// Close waits for what is under way and lets go of the database.
func (db *DB) Close() error { return db.bolt.Close() }

// view and update are bbolt's, made safe against damage.
func (db *DB) view(do func(*bbolt.Tx) error) error {
	return guard(func() error { return db.bolt.View(do) })
}

func (db *DB) update(do func(*bbolt.Tx) error) error {
	return guard(func() error { return db.bolt.Update(do) })
}
