package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/durable"
	"albatross/runtime/failpoint"
)

// DBFile is the name of the database in the database directory.
const DBFile = "state.db"

// schemaVersion is raised when an older albatrossd would misunderstand what is stored. A
// new field alone is no reason: see package messages.
const schemaVersion = 7

// lockTimeout is how long another daemon may take to unlock the database: enough for one
// that is being replaced to exit.
const lockTimeout = time.Second

// lockPause is the polling interval.
const lockPause = 10 * time.Millisecond

// The buckets, and the keys in the first.
var (
	schemaBucket  = []byte("schema")
	specBucket    = []byte(Unikernels) // name: messages.Spec
	runtimeBucket = []byte("runtimes") // name: messages.Runtime; only with a spec
	policyBucket  = []byte("policies") // name of a path: messages.Policy
	networkBucket = []byte("networks") // name: messages.NetworkSpec
	blockBucket   = []byte("blocks")   // name: messages.Block; only of those with an owner
	endBucket     = []byte("ends")     // name: messages.End; also of what is gone
	eventBucket   = []byte("events")   // number: messages.Event; see events.go
	versionKey    = []byte("version")  // in digits, as all versions read it
	sealedKey     = []byte("sealed")   // the same as a record
	importedKey   = []byte("imported") // exists if State.Imported is true
)

// A DB is the database. Its methods may be called concurrently.
type DB struct {
	path     string
	bolt     *bbolt.DB
	pageSize int
	opened   os.FileInfo // the file that bolt writes
	fd       uintptr     // its descriptor

	// Uncopied is why there is no copy of the database as it was found, if there should
	// be one.
	Uncopied error
	// Aside holds the damaged records that were set aside.
	Aside []Aside

	committing sync.Mutex // guards all below
	lastEvent  uint64     // the number of the newest event that is acknowledged, or in the next field
	// unacknowledged are the events of commits that have failed and are in the file, in their order.
	unacknowledged map[messages.Name][]messages.EventKind
}

// Open opens the database in a directory, and creates both if necessary. It belongs to
// one daemon at a time. Open leaves a database that is damaged, or of an unknown version,
// exactly as it is. If only records are damaged, it sets them aside.
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
	_ = db.Room() // without room, changes return the error
	return db, nil
}

func (db *DB) cannotOpen(err error) error { return fmt.Errorf("cannot open %s: %w", db.path, err) }

// open opens the file, locks it, and checks all of its pages before bbolt uses them.
func (db *DB) open() error {
	var file *os.File
	options := &bbolt.Options{Timeout: lockTimeout}
	options.OpenFile = func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
		if file, err = os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, mode); err != nil {
			return nil, err
		}
		if err = lock(file); err == nil {
			err = db.damaged(look(file))
		}
		return file, err
	}
	err := guard(func() (err error) {
		db.bolt, err = bbolt.Open(db.path, 0o600, options)
		return err
	})
	if err != nil && file != nil {
		// After a panic of bbolt the file is still mapped, and the mapping would keep the
		// lock.
		_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
		_ = file.Close()
	}
	if err != nil {
		return err
	}
	db.fd = file.Fd()
	if db.opened, err = file.Stat(); err != nil {
		return errors.Join(err, db.bolt.Close())
	}
	return nil
}

// lock takes the lock that bbolt takes, too: nobody may write the file during the check.
func lock(file *os.File) error {
	for end := time.Now().Add(lockTimeout); ; time.Sleep(lockPause) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return os.NewSyscallError("flock", err)
		}
		if time.Now().After(end) {
			return errors.New("in use by another albatrossd")
		}
	}
}

// prepare checks all of an open database before it writes anything. Then it initialises a
// new one, migrates an older one, and sets aside what is damaged.
func (db *DB) prepare() error {
	version := 0
	if err := db.view(func(tx *bbolt.Tx) (err error) {
		version, err = db.versionOf(tx)
		return err
	}); err != nil {
		return err
	}
	if version < schemaVersion {
		if err := db.migrate(version); err != nil {
			return err
		}
	}
	if err := db.setAside(); err != nil {
		return err
	}
	if version == schemaVersion {
		db.Uncopied = db.keepCopy()
	}
	var err error
	db.lastEvent, err = db.LastEvent()
	return errors.Join(err, db.count(), durable.SyncDir(filepath.Dir(db.path))) // the file may be new
}

// setAside sets aside what is damaged. The copy may contain it intact, and is kept.
func (db *DB) setAside() error {
	var list []damage
	if err := db.view(func(tx *bbolt.Tx) error {
		list = findDamage(tx)
		return nil
	}); err != nil || len(list) == 0 {
		return err
	}
	if err := db.update(func(tx *bbolt.Tx) error { return db.damaged(setAside(tx, list)) }); err != nil {
		return err
	}
	for _, d := range list {
		db.Aside = append(db.Aside, d.aside())
	}
	return preserveCopy(filepath.Dir(db.path))
}

// versionOf returns the version of the format, 0 for an empty database. The error says
// that this is no database for us.
func (db *DB) versionOf(tx *bbolt.Tx) (int, error) {
	schema := tx.Bucket(schemaBucket)
	if schema == nil {
		return 0, db.damaged(isNew(tx))
	}
	text, sealed := schema.Get(versionKey), schema.Get(sealedKey)
	version, err := strconv.Atoi(string(text))
	if err != nil || version < 1 {
		return 0, db.damaged(fmt.Errorf("its version is %q", text))
	}
	if version >= firstSealed || sealed != nil {
		if data, err := unseal(schemaBucket, sealedKey, sealed); err != nil || string(data) != string(text) {
			return 0, db.damaged(fmt.Errorf("its version is %q, and not what was written", text))
		}
	}
	if version > schemaVersion {
		return 0, fmt.Errorf("written by a newer albatrossd (version %d of the format, this one knows %d): run that one", version, schemaVersion)
	}
	return version, db.damaged(errors.Join(checkBuckets(tx, version), checkSchema(schema, version)))
}

// isNew refuses a database with contents that are not ours.
func isNew(tx *bbolt.Tx) error {
	first, _ := tx.Cursor().First()
	switch {
	case first == nil:
		return nil
	case tx.Bucket(specBucket) != nil:
		return errors.New("it has lost its version")
	}
	return errForeign
}

// checkBuckets refuses a database without the buckets of its version.
func checkBuckets(tx *bbolt.Tx, version int) error {
	known := map[string]bool{string(reserveBucket): true}
	for _, names := range buckets[:version] {
		for _, name := range names {
			known[string(name)] = true
			if tx.Bucket(name) == nil {
				return fmt.Errorf("it has no bucket %q", name)
			}
		}
	}
	return tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		if !known[string(name)] {
			return fmt.Errorf("it has a bucket %q, which is unknown", name)
		}
		return nil
	})
}

// checkSchema refuses a schema that contradicts its record.
func checkSchema(schema *bbolt.Bucket, version int) error {
	return schema.ForEach(func(k, v []byte) error {
		switch string(k) {
		case string(versionKey), string(sealedKey):
			return nil
		case string(importedKey):
			if version < firstSealed {
				return nil
			}
			if _, err := unseal(schemaBucket, k, v); err == nil {
				return nil
			}
		}
		return fmt.Errorf("what it says about itself as %q is not what was written", k)
	})
}

// Close waits for what is under way and closes the database.
func (db *DB) Close() error { return db.bolt.Close() }

// view and update are bbolt's, guarded against damage.
func (db *DB) view(do func(*bbolt.Tx) error) error {
	return guard(func() error { return db.bolt.View(do) })
}

func (db *DB) update(do func(*bbolt.Tx) error) error {
	return guard(func() error { return db.bolt.Update(do) })
}
