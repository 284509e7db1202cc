package store

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"albatross/messages"
	"albatross/runtime/failpoint"
)

// Load is everything that is stored, ordered by the text of the names.
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
		state.Ends, err = loadEnds(tx)
		return err
	})
	if err != nil {
		return messages.State{}, fmt.Errorf("cannot read %s: %w", db.path, err)
	}
	return state, nil
}

func loadUnikernels(tx *bbolt.Tx) (list []messages.Record, err error) {
	runtimes := tx.Bucket(runtimeBucket)
	err = each(tx.Bucket(specBucket), func(name messages.Name, key, value []byte) error {
		r := messages.Record{Name: name}
		if err := messages.Decode(value, &r.Spec); err != nil {
			return err
		}
		if runtime := runtimes.Get(key); runtime != nil {
			r.Runtime.OK = true
			if err := messages.Decode(runtime, &r.Runtime.Value); err != nil {
				return err
			}
		}
		list = append(list, r)
		return nil
	})
	return list, err
}

func loadPolicies(tx *bbolt.Tx) (list []messages.NamedPolicy, err error) {
	err = each(tx.Bucket(policyBucket), func(name messages.Name, _, value []byte) error {
		list = append(list, messages.NamedPolicy{Name: name})
		return messages.Decode(value, &list[len(list)-1].Policy)
	})
	return list, err
}

func loadEnds(tx *bbolt.Tx) (list []messages.NamedEnd, err error) {
	err = each(tx.Bucket(endBucket), func(name messages.Name, _, value []byte) error {
		list = append(list, messages.NamedEnd{Name: name})
		return messages.Decode(value, &list[len(list)-1].End)
	})
	return list, err
}

// each goes through a bucket whose keys are names.
func each(b *bbolt.Bucket, do func(name messages.Name, key, value []byte) error) error {
	return b.ForEach(func(key, value []byte) error {
		name, err := messages.ParseName(string(key))
		if err != nil {
			return fmt.Errorf("cannot understand the name %q: %w", key, err)
		}
		if err := do(name, key, value); err != nil {
			return fmt.Errorf("cannot understand what is stored of %s: %w", name, err)
		}
		return nil
	})
}

// Apply makes changes, in their order, all or none. When it returns nil, they
// are on disk. That something is not there to be deleted is fine. What adds
// nothing works on a disk that is full; see reserve.go.
func (db *DB) Apply(changes []messages.Change) error {
	err := db.inPlace()
	if err == nil {
		err = db.commit(changes)
	}
	if err == nil {
		err = db.inPlace() // it may have gone meanwhile
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", db.path, err)
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
	return db.update(func(tx *bbolt.Tx) error { return applyAll(tx, changes, full) })
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
	specs, runtimes := tx.Bucket(specBucket), tx.Bucket(runtimeBucket)
	switch c := change.(type) {
	case messages.PutSpec:
		return put(specs, c.Name, c.Spec)
	case messages.PutRuntime:
		// Load would not find it, and nobody would ever free what it tells of.
		if specs.Get(key(c.Name)) == nil {
			return fmt.Errorf("internal error: runtime without a spec: %s", c.Name)
		}
		return put(runtimes, c.Name, c.Runtime)
	case messages.DeleteRuntime:
		return runtimes.Delete(key(c.Name))
	case messages.DeleteUnikernel:
		return errors.Join(specs.Delete(key(c.Name)), runtimes.Delete(key(c.Name)))
	case messages.PutEnd:
		return put(tx.Bucket(endBucket), c.Name, c.End)
	case messages.DeleteEnd:
		return tx.Bucket(endBucket).Delete(key(c.Name))
	case messages.PutPolicy:
		return put(tx.Bucket(policyBucket), messages.Name{Path: c.Path}, c.Policy)
	case messages.DeletePolicy:
		return tx.Bucket(policyBucket).Delete(key(messages.Name{Path: c.Path}))
	case messages.PutEvent:
		return putEvent(tx.Bucket(eventBucket), c.Event, full)
	case messages.MarkImported:
		return tx.Bucket(schemaBucket).Put(importedKey, []byte("yes"))
	}
	return fmt.Errorf("internal error: unknown change %T", change)
}

func key(n messages.Name) []byte { return []byte(n.String()) }

func put(b *bbolt.Bucket, n messages.Name, value any) error {
	data, err := messages.Encode(value)
	if err != nil {
		return fmt.Errorf("internal error: cannot encode %T of %s: %w", value, n, err)
	}
	if err := b.Put(key(n), data); err != nil {
		return fmt.Errorf("cannot store %s: %w", n, err)
	}
	return nil
}
