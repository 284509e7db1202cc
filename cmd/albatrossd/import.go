package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"albatross/cmd/nativestate"
	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/guest"
	"albatross/runtime/store"
	"albatross/runtime/tender"
	"albatross/sockets/wire"
)

// maxImage is the largest uncompressed image, in bytes, as for clients.
const maxImage = 1 << 30

// importNative imports what native albatross has left in the database directory, if the
// database is new. Either all of it is stored, with the mark that it was imported, or
// nothing: whatever happens, the next start continues from there. The unikernels are
// started as after a reboot.
//
// Nothing is imported into a database that has been in use, now or later: what was
// destroyed since must not come back. The file is never changed.
//
// The caller must own the database and the images exclusively, and the sockets, so that
// no native daemon writes the file meanwhile.
func importNative(dbdir string, db *store.DB, images *store.Images, beside strangers, log *slog.Logger) error {
	path := filepath.Join(dbdir, nativestate.File)
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

// markImported prevents a later import of a file that was not imported now.
func markImported(db *store.DB, stored messages.State) error {
	if stored.Imported {
		return nil
	}
	return db.Apply([]messages.Change{messages.MarkImported{}})
}

func importFile(path string, db *store.DB, images *store.Images, beside strangers, log *slog.Logger) error {
	// Go would otherwise keep the memory of the images for hours.
	defer debug.FreeOSMemory()
	state, err := nativestate.Read(path)
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

// takeOverAll adds the changes for the unikernels that run, and returns the images with
// which they were started.
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

// importBeside imports the state of native albatross while some of its unikernels run. It
// returns the tenders that are still on no record.
func importBeside(o options, db *store.DB, guests *guest.Machine, log *slog.Logger) ([]tender.Running, error) {
	state, err := db.Load()
	if err != nil {
		return nil, err
	}
	beside, err := findStrangers(o, guests.Blocks, state.Unikernels)
	if err != nil {
		return nil, err
	}
	if err := importNative(o.dbdir, db, guests.Images, beside, log); err != nil {
		return nil, err
	}
	if err := beside.takeOverLost(db, log); err != nil {
		return nil, err
	}
	state, err = db.Load()
	return beside.without(state.Unikernels), err
}

// importable refuses a state with contents that we cannot have. It does not check whether
// an image can be run: its start reports that, and it can change.
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

// storeImages stores the images, all or none, and returns the changes for the database.
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
	digest, _, err := images.Add(nativestate.Image(c), maxImage)
	if err == nil {
		images.Unpin(digest) // nobody collects images before it is on record
	}
	failpoint.Here("import/image-stored")
	return digest, err
}

// policyChanges omits the policy of the root, which is what the machine has. Native
// ignores labels in the names of policies.
func policyChanges(policies []messages.NamedPolicy) (changes []messages.Change) {
	for _, p := range policies {
		if p.Name.Path != messages.Root {
			changes = append(changes, messages.PutPolicy{Path: p.Name.Path, Policy: p.Policy},
				imported(messages.EventPolicyAdded, messages.Name{Path: p.Name.Path}))
		}
	}
	return changes
}

// theImport is the cause of events.
const theImport = "the import from native albatross"

// imported returns an event of the import.
func imported(kind messages.EventKind, name messages.Name) messages.Change {
	return messages.PutEvent{Event: messages.NewEvent(kind, name, time.Now(), theImport)}
}
