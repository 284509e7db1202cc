package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"albatross/actors"
	"albatross/messages"
	"albatross/runtime/compress"
	"albatross/runtime/failpoint"
	"albatross/runtime/store"
	"albatross/runtime/tender"
	"albatross/sockets/wire"
)

const (
	// nativeState is the file in the database directory in which native albatross
	// keeps what it runs, with the images.
	nativeState = "state"
	// maxState is the largest such file, in bytes. All of it is read into memory,
	// where native albatross keeps all of it, too.
	maxState = 16 << 30
	// maxImage is the largest uncompressed image, in bytes, as for clients.
	maxImage = 1 << 30
)

// importNative takes over what native albatross has left in the database
// directory, where the database is new. All of it is stored, and that it has
// been imported, or nothing is: whatever happens, the next start goes on from
// there. The unikernels are started like those of a machine that was off.
//
// Into a database that has been in use nothing is imported, now or later: what
// has been destroyed since must not come back. The file is never changed.
//
// Nobody else may use the database and the images yet. And as no native daemon
// may write the file meanwhile, the sockets must be ours by now.
func importNative(dbdir string, db *store.DB, images *store.Images, beside strangers, log *slog.Logger) error {
	path := filepath.Join(dbdir, nativeState)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	stored, err := db.Load()
	if err != nil {
		return err
	}
	if used(stored) {
		log.Info("The state file of native albatross is left alone, for the database has been in use", "file", path)
		return markImported(db, stored)
	}
	if err := importFile(path, db, images, beside, log); err != nil {
		return fmt.Errorf("cannot import %s: %w; nothing was changed: move the file away to start without its unikernels", path, err)
	}
	return nil
}

// used reports whether anything has been imported, or anything else is stored.
func used(s messages.State) bool {
	return s.Imported || len(s.Unikernels)+len(s.Policies)+len(s.Ends) > 0
}

// markImported keeps a file that was left alone once from being imported when
// nothing else is stored any more.
func markImported(db *store.DB, stored messages.State) error {
	if stored.Imported {
		return nil
	}
	return db.Apply([]messages.Change{messages.MarkImported{}})
}

func importFile(path string, db *store.DB, images *store.Images, beside strangers, log *slog.Logger) error {
	// Left to itself, Go would keep the memory of the images for hours.
	defer debug.FreeOSMemory()
	file, err := readState(path)
	if err != nil {
		return err
	}
	state, err := wire.DecodeState(file)
	if err != nil {
		return err
	}
	if err := importable(state); err != nil {
		return err
	}
	changes, err := storeImages(state.Unikernels, images)
	if err != nil {
		return err
	}
	failpoint.Here("import/images-stored")
	changes = append(changes, policyChanges(state.Policies)...)
	changes, taken := takeOverAll(changes, beside, log)
	if err := db.Apply(append(changes, messages.MarkImported{})); err != nil {
		return err
	}
	failpoint.Here("import/stored")
	for _, image := range taken { // their tenders have read them, and native albatross would remove them
		if err := os.Remove(image); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("Cannot remove an image of native albatross", "error", err)
		}
	}
	log.Info("Imported the state file of native albatross", "file", path,
		"unikernels", len(state.Unikernels), "policies", len(state.Policies), "running", len(taken))
	return nil
}

// takeOverAll adds what is to be stored of the unikernels that run, and returns the
// images that these were started from.
func takeOverAll(changes []messages.Change, beside strangers, log *slog.Logger) (all []messages.Change, images []string) {
	all = changes
	for _, change := range changes {
		if put, ok := change.(messages.PutSpec); ok {
			if more, image := beside.takeOver(put.Name, put.Spec, theImport, log); more != nil {
				all = append(all, more...)
				images = append(images, image)
			}
		}
	}
	return all, images
}

// importBeside imports what native albatross has left beside what it has left running.
// It returns what runs that is not on record now.
func importBeside(o options, db *store.DB, config *actors.Config, log *slog.Logger) ([]tender.Running, error) {
	beside, err := findStrangers(o, config.Machine.Blocks)
	if err != nil {
		return nil, err
	}
	if err := importNative(o.dbdir, db, config.Machine.Images, beside, log); err != nil {
		return nil, err
	}
	if err := beside.takeOverLost(db, log); err != nil {
		return nil, err
	}
	state, err := db.Load()
	return beside.without(state.Unikernels), err
}

// readState reads the file, which may be anything.
func readState(path string) ([]byte, error) {
	// Without O_NONBLOCK, a named pipe would be waited for.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Size() > maxState:
		return nil, fmt.Errorf("it is larger than %d bytes", int64(maxState))
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	return data, err
}

// importable refuses a state in which there is something that could not be here.
// Whether an image can be run is not asked: that is found out, and told, when it
// is started, and can change.
func importable(s wire.State) error {
	names := map[messages.Name]bool{}
	for _, u := range s.Unikernels {
		switch {
		case u.Name.IsPath():
			return fmt.Errorf("a unikernel has the name %s, which is that of a path", u.Name)
		case names[u.Name]:
			return fmt.Errorf("two unikernels have the name %s, as upper and lower case are the same here", u.Name)
		case u.Config.Type != messages.Solo5:
			return fmt.Errorf("%s is a %s unikernel, and this host runs solo5 only", u.Name, u.Config.Type)
		}
		names[u.Name] = true
	}
	paths := map[messages.Path]bool{}
	for _, p := range s.Policies {
		if paths[p.Name.Path] {
			return fmt.Errorf("two policies are on the path %s; upper and lower case, or a label behind it, make no difference", messages.Name{Path: p.Name.Path})
		}
		paths[p.Name.Path] = true
	}
	return nil
}

// storeImages puts the images into the image store, where none of them stays if
// one cannot be stored, and returns what the database is to be told of them.
func storeImages(unikernels []messages.NamedConfig, images *store.Images) (changes []messages.Change, err error) {
	for _, u := range unikernels {
		digest, err := storeImage(u.Config, images)
		if err != nil {
			_, collectErr := images.Collect(func(messages.Digest) bool { return false })
			return nil, errors.Join(fmt.Errorf("unikernel %s: %w", u.Name, err), collectErr)
		}
		changes = append(changes, messages.PutSpec{Name: u.Name, Spec: messages.Spec{
			Type: u.Config.Type, Digest: digest, Arguments: u.Config.Arguments,
		}}, imported(messages.EventCreated, u.Name))
	}
	return changes, nil
}

func storeImage(c messages.Config, images *store.Images) (messages.Digest, error) {
	var image io.Reader = bytes.NewReader(c.Image)
	if c.Compressed {
		image = compress.Inflate(image, "image")
	}
	digest, _, err := images.Add(image, maxImage)
	if err == nil {
		images.Unpin(digest) // nobody collects images before it is on record
	}
	failpoint.Here("import/image-stored")
	return digest, err
}

// policyChanges leave out the policy of the root, which is what the machine has.
// Native ignores labels in the names of policies.
func policyChanges(policies []messages.NamedPolicy) (changes []messages.Change) {
	for _, p := range policies {
		if p.Name.Path != messages.Root {
			changes = append(changes, messages.PutPolicy{Path: p.Name.Path, Policy: p.Policy},
				imported(messages.EventPolicyAdded, messages.Name{Path: p.Name.Path}))
		}
	}
	return changes
}

// theImport is why something has happened.
const theImport = "the import from native albatross"

// imported tells what an import has done.
func imported(kind messages.EventKind, name messages.Name) messages.Change {
	return messages.PutEvent{Event: messages.NewEvent(kind, name, time.Now(), theImport)}
}
