package store

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"albatross/messages"
)

// Load is everything that is stored, ordered by the text of the names.
func (db *DB) Load() ([]messages.Record, error) {
	var records []messages.Record
	err := db.view(func(tx *bbolt.Tx) error {
		runtimes := tx.Bucket(runtimeBucket)
		return tx.Bucket(specBucket).ForEach(func(name, spec []byte) error {
			r, err := decode(name, spec, runtimes.Get(name))
			records = append(records, r)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", db.path, err)
	}
	return records, nil
}

func decode(name, spec, runtime []byte) (r messages.Record, err error) {
	if r.Name, err = messages.ParseName(string(name)); err != nil {
		return r, fmt.Errorf("cannot understand the name %q: %w", name, err)
	}
	if err := messages.Decode(spec, &r.Spec); err != nil {
		return r, fmt.Errorf("cannot understand what %s is: %w", name, err)
	}
	if runtime == nil {
		return r, nil
	}
	r.Runtime.OK = true
	if err := messages.Decode(runtime, &r.Runtime.Value); err != nil {
		return r, fmt.Errorf("cannot understand what runs %s: %w", name, err)
	}
	return r, nil
}

// Apply makes changes, in their order, all or none. When it returns nil, they
// are on disk. That something is not there to be deleted is fine.
func (db *DB) Apply(changes []messages.Change) error {
	err := db.update(func(tx *bbolt.Tx) error {
		b := buckets{tx.Bucket(specBucket), tx.Bucket(runtimeBucket)}
		for _, c := range changes {
			if err := b.apply(c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", db.path, err)
	}
	return nil
}

type buckets struct{ specs, runtimes *bbolt.Bucket }

func (b buckets) apply(change messages.Change) error {
	switch c := change.(type) {
	case messages.PutSpec:
		return put(b.specs, c.Name, c.Spec)
	case messages.PutRuntime:
		// Load would not find it, and nobody would ever free what it tells of.
		if b.specs.Get(key(c.Name)) == nil {
			return fmt.Errorf("internal error: runtime without a spec: %s", c.Name)
		}
		return put(b.runtimes, c.Name, c.Runtime)
	case messages.DeleteRuntime:
		return b.runtimes.Delete(key(c.Name))
	case messages.DeleteUnikernel:
		return errors.Join(b.specs.Delete(key(c.Name)), b.runtimes.Delete(key(c.Name)))
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
