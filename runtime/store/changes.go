package store

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"albatross/messages"
	"albatross/runtime/failpoint"
)

// Load returns everything that is stored, ordered by the text of the names. A record that
// was damaged after the database was opened is an error: the next daemon sets it aside.
func (db *DB) Load() (messages.State, error) {
	var state messages.State
	err := db.view(func(tx *bbolt.Tx) (err error) {
		state.Imported = tx.Bucket(schemaBucket).Get(importedKey) != nil
		if state.Unikernels, err = loadUnikernels(tx); err != nil {
			return err
		}
		if state.Policies, err = loadPolicies(tx); err != nil {
			return err
		}
		if state.Ends, err = loadEnds(tx); err != nil {
			return err
		}
		if state.Networks, err = loadNetworks(tx); err != nil {
			return err
		}
		state.Blocks, err = loadBlocks(tx)
		return err
	})
	if err != nil {
		return messages.State{}, fmt.Errorf("cannot read %s: %w", db.path, err)
	}
	return state, nil
}

// LoadUnikernel returns what is stored of one unikernel, if anything is.
func (db *DB) LoadUnikernel(n messages.Name) (list []messages.Record, err error) {
	err = db.view(func(tx *bbolt.Tx) error {
		r := messages.Record{Name: n}
		there, err := in(tx, specBucket).get(key(n), &r.Spec)
		if err == nil && there {
			r.Runtime.OK, err = in(tx, runtimeBucket).get(key(n), &r.Runtime.Value)
			list = []messages.Record{r}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", db.path, cannotUnderstand(n, err))
	}
	return list, nil
}

func loadUnikernels(tx *bbolt.Tx) (list []messages.Record, err error) {
	runtimes := in(tx, runtimeBucket)
	err = each(in(tx, specBucket), func(n messages.Name, spec messages.Spec) (err error) {
		r := messages.Record{Name: n, Spec: spec}
		if r.Runtime.OK, err = runtimes.get(key(n), &r.Runtime.Value); err != nil {
			return cannotUnderstand(n, err)
		}
		list = append(list, r)
		return nil
	})
	return list, err
}

func loadPolicies(tx *bbolt.Tx) (list []messages.NamedPolicy, err error) {
	err = each(in(tx, policyBucket), func(n messages.Name, p messages.Policy) error {
		list = append(list, messages.NamedPolicy{Name: n, Policy: p})
		return nil
	})
	return list, err
}

func loadEnds(tx *bbolt.Tx) (list []messages.NamedEnd, err error) {
	err = each(in(tx, endBucket), func(n messages.Name, e messages.End) error {
		list = append(list, messages.NamedEnd{Name: n, End: e})
		return nil
	})
	return list, err
}

func loadNetworks(tx *bbolt.Tx) (list []messages.NamedNetwork, err error) {
	err = each(in(tx, networkBucket), func(n messages.Name, s messages.NetworkSpec) error {
		list = append(list, messages.NamedNetwork{Name: n, Spec: s})
		return nil
	})
	return list, err
}

func loadBlocks(tx *bbolt.Tx) (all map[messages.Name]messages.Block, err error) {
	err = each(in(tx, blockBucket), func(n messages.Name, b messages.Block) error {
		if all == nil {
			all = map[messages.Name]messages.Block{}
		}
		all[n] = b
		return nil
	})
	return all, err
}

// each decodes the records of a bucket whose keys are names.
func each[T any](r records, do func(messages.Name, T) error) error {
	return r.bucket.ForEach(func(key, record []byte) error {
		name, err := messages.ParseName(string(key))
		if err != nil {
			return fmt.Errorf("cannot understand the name %q: %w%s", key, err, startAgain)
		}
		var value T
		if err := r.decode(key, record, &value); err != nil {
			return cannotUnderstand(name, err)
		}
		return do(name, value)
	})
}

func cannotUnderstand(name messages.Name, err error) error {
	return fmt.Errorf("cannot understand what is stored of %s: %w%s", name, err, startAgain)
}

// startAgain advises what to do about damage since the database was opened.
const startAgain = "; it was damaged while the daemon ran: start that again, and it sets aside what is damaged"

// Apply makes changes, in their order, all or none. When it returns nil, they are on
// disk. To delete something that does not exist is no error. A change that adds nothing
// works on a full disk; see reserve.go.
func (db *DB) Apply(changes []messages.Change) error {
	if db.InPlace() != nil {
		return ErrAway
	}
	if err := db.commit(changes); err != nil {
		return fmt.Errorf("cannot write %s: %w", db.path, err)
	}
	if db.InPlace() != nil {
		return errGoneMeanwhile
	}
	failpoint.Here("database/committed")
	return nil
}

func (db *DB) commit(changes []messages.Change) error {
	growth := db.growth(changes)
	err := db.makeRoom(growth)
	if err != nil && growth > 0 {
		return err
	}
	full := err != nil
	db.committing.Lock()
	defer db.committing.Unlock()
	var last uint64
	var asked map[messages.Name]int
	err = db.update(func(tx *bbolt.Tx) (err error) {
		asked, err = db.applyOnce(tx, changes, full)
		last = lastEvent(tx.Bucket(eventBucket))
		return err
	})
	if err == nil {
		db.lastEvent = last
		db.acknowledge(asked)
	}
	return err
}

// applyOnce makes all changes except for the events that a failed commit has left in the file.
func (db *DB) applyOnce(tx *bbolt.Tx, changes []messages.Change, full bool) (asked map[messages.Name]int, err error) {
	db.findUnacknowledged(tx)
	changes, asked = db.withoutUnacknowledged(changes)
	return asked, applyAll(tx, changes, full)
}

func applyAll(tx *bbolt.Tx, changes []messages.Change, full bool) error {
	for _, c := range changes {
		if err := apply(tx, c, full); err != nil {
			return err
		}
	}
	failpoint.Here("database/committing")
	return nil
}

// apply makes one change; full says that it must not make the database larger.
func apply(tx *bbolt.Tx, change messages.Change, full bool) error {
	specs, runtimes := in(tx, specBucket), in(tx, runtimeBucket)
	switch c := change.(type) {
	case messages.PutSpec:
		return specs.put(c.Name, c.Spec)
	case messages.PutRuntime:
		// Load would not find the runtime, and nobody would ever free what it refers to.
		if specs.bucket.Get(key(c.Name)) == nil {
			return fmt.Errorf("internal error: runtime without a spec: %s", c.Name)
		}
		return runtimes.put(c.Name, c.Runtime)
	case messages.DeleteRuntime:
		return runtimes.delete(c.Name)
	case messages.DeleteUnikernel:
		return errors.Join(specs.delete(c.Name), runtimes.delete(c.Name))
	case messages.PutEnd:
		return in(tx, endBucket).put(c.Name, c.End)
	case messages.DeleteEnd:
		return in(tx, endBucket).delete(c.Name)
	case messages.PutPolicy:
		return in(tx, policyBucket).put(messages.Name{Path: c.Path}, c.Policy)
	case messages.DeletePolicy:
		return in(tx, policyBucket).delete(messages.Name{Path: c.Path})
	case messages.PutNetwork:
		return in(tx, networkBucket).put(c.Name, c.Spec)
	case messages.DeleteNetwork:
		return in(tx, networkBucket).delete(c.Name)
	case messages.PutBlock:
		return in(tx, blockBucket).put(c.Name, c.Block)
	case messages.DeleteBlock:
		return in(tx, blockBucket).delete(c.Name)
	case messages.PutEvent:
		return putEvent(in(tx, eventBucket), c.Event, full)
	case messages.MarkImported:
		return tx.Bucket(schemaBucket).Put(importedKey, seal(schemaBucket, importedKey, []byte("yes")))
	}
	return fmt.Errorf("internal error: unknown change %T", change)
}
