package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"albatross/messages"
)

// A record that is damaged is set aside when the database is opened. It costs what it was
// about, and nothing else:
//
//	a unikernel   is forgotten. Its end is put on record as unknown, since its console
//	              stays. Its process, if it runs, is left alone: see Aside.
//	a process     is found by the marks of its tender, or its unikernel is not started.
//	a policy      becomes one that allows nothing, until it is replaced or removed.
//	an end        is unknown.
//	a block device has no owner any more; its contents are elsewhere.
//	an event      is forgotten.
//
// The damaged record goes to a bucket of its own, which nothing here reads.

// damagedBucket holds what was set aside: number: kept. The number is as in eventKey.
var damagedBucket = []byte("damaged")

const (
	// maxKept is how many damaged records are kept: the newest.
	maxKept = 100
	// maxKeptBytes is how much is kept of each.
	maxKeptBytes = 16 << 10
)

// kept is a damaged record as it was found.
type kept struct {
	Bucket   string `cbor:"1,keyasint"`
	Key      []byte `cbor:"2,keyasint"`
	Record   []byte `cbor:"3,keyasint"`
	AtMillis int64  `cbor:"4,keyasint"` // Unix time
}

// Aside is a record that was set aside.
//
// If it was that of a unikernel or of its process, the process may run. Its standard
// output identifies it, which is the console pipe of the unikernel. The caller must
// neither end it nor start anything that shares a resource with it.
type Aside struct {
	Kind  string          // Unikernels, "runtimes", "policies", "ends", "networks", "blocks" or "events"
	Key   string          // under which it was found
	Names []messages.Name // to which it may have belonged
	Cause error
}

// Unikernels is the kind of the records of unikernels.
const Unikernels = "specs"

// String identifies the record for people.
func (a Aside) String() string { return fmt.Sprintf("%s/%q", a.Kind, a.Key) }

// Lost says for people what the loss means.
func (a Aside) Lost() string { return lost[a.Kind] }

var lost = map[string]string{
	string(specBucket):    "the unikernel is not known any more, and its image stays until the next start; if it runs, it goes on, and is to be ended by its process before it can be created again",
	string(runtimeBucket): "if the unikernel runs, its process is looked for; a tap that nobody uses may be left",
	string(policyBucket):  "nothing is allowed at the path until its policy is added again, or removed",
	string(networkBucket): "the network is not known any more, and unikernels on it cannot be started until it is created again",
	string(blockBucket):   "the block device has no owner any more: 'apply' of the file that it is from gives it one again",
	string(endBucket):     "how the last run of the unikernel ended is unknown",
	string(eventBucket):   "one event is not told any more",
}

// A damage is a record that cannot be used.
type damage struct {
	bucket, key, record []byte
	names               []messages.Name
	cause               error
}

// understood lists the buckets whose keys are names, with the decoder of their records. A
// runtime follows the specs, which it needs.
var understood = []struct {
	bucket []byte
	as     func() any
}{
	{specBucket, func() any { return new(messages.Spec) }},
	{runtimeBucket, func() any { return new(messages.Runtime) }},
	{policyBucket, func() any { return new(messages.Policy) }},
	{endBucket, func() any { return new(messages.End) }},
	{networkBucket, func() any { return new(messages.NetworkSpec) }},
	{blockBucket, func() any { return new(messages.Block) }},
}

// findDamage returns all records that cannot be used.
func findDamage(tx *bbolt.Tx) (list []damage) {
	sound := map[string]bool{} // the keys of specs
	for _, kind := range understood {
		r := in(tx, kind.bucket)
		_ = r.bucket.ForEach(func(k, v []byte) error { // which never fails by itself
			_, err := messages.ParseName(string(k))
			if err == nil {
				err = r.decode(k, v, kind.as())
			}
			switch {
			case err == nil && string(kind.bucket) == string(specBucket):
				sound[string(k)] = true
			case err == nil && string(kind.bucket) == string(runtimeBucket) && !sound[string(k)]:
				err = errors.New("its unikernel is not on record")
			}
			list = r.note(list, k, v, err)
			return nil
		})
	}
	events := in(tx, eventBucket)
	_ = events.bucket.ForEach(func(k, v []byte) error {
		err := events.decode(k, v, new(messages.Event))
		if err == nil && eventNumber(k) == 0 {
			err = errMoved
		}
		list = events.note(list, k, v, err)
		return nil
	})
	return list
}

func (r records) note(list []damage, k, v []byte, err error) []damage {
	if err == nil {
		return list
	}
	return append(list, damage{r.name, slices.Clone(k), slices.Clone(v), r.owners(k, v, err), err})
}

// owners returns the names to which a damaged record may have belonged: one of its two
// keys may be damaged, unless both are the same, or the checksum decides.
func (r records) owners(k, record []byte, cause error) (names []messages.Name) {
	own, _, _ := split(record)
	texts := [][]byte{k, own}
	if errors.Is(cause, errMoved) {
		texts = texts[1:]
	} else if both := keyTwice(slices.Concat(k, record)); both != nil {
		texts = [][]byte{both}
	}
	for _, text := range texts {
		if n, err := messages.ParseName(string(text)); err == nil && string(key(n)) == string(text) && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// keyTwice returns the key in an element, that is a key and a record, whatever length it
// claims; nil if the key is not there twice.
func keyTwice(element []byte) []byte {
	for size := 1; sealedSize+2*size <= len(element); size++ {
		record := element[size:]
		if int(binary.BigEndian.Uint16(record[sumSize:])) == size && bytes.Equal(element[:size], record[sealedSize:][:size]) {
			return element[:size]
		}
	}
	return nil
}

// setAside sets aside all that is damaged.
func setAside(tx *bbolt.Tx, list []damage) error {
	for _, d := range list {
		if err := d.keep(tx.Bucket(damagedBucket)); err != nil {
			return err
		}
		if err := tx.Bucket(d.bucket).Delete(d.key); err != nil {
			return err
		}
	}
	for _, d := range list { // now what is still there is sound
		if err := d.replace(tx); err != nil {
			return err
		}
	}
	return nil
}

func (d damage) keep(b *bbolt.Bucket) error {
	data, err := messages.Encode(kept{
		Bucket: string(d.bucket), Key: d.key, Record: d.record[:min(len(d.record), maxKeptBytes)], AtMillis: time.Now().UnixMilli(),
	})
	if err != nil {
		return fmt.Errorf("internal error: cannot encode a damaged record: %w", err)
	}
	last, _ := b.Cursor().Last()
	number := eventNumber(last) + 1
	if err := b.Put(eventKey(number), data); err != nil {
		return err
	}
	for k, _ := b.Cursor().First(); eventNumber(k)+maxKept <= number; k, _ = b.Cursor().First() {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// replace stores a safe value in place of the damaged one.
func (d damage) replace(tx *bbolt.Tx) error {
	var (
		r    records
		safe any
	)
	switch string(d.bucket) {
	case string(specBucket), string(endBucket):
		r, safe = in(tx, endBucket), messages.End{}
	case string(policyBucket):
		if len(d.names) == 0 {
			return errors.New("a policy is, and so is its path: what is allowed cannot be known")
		}
		r, safe = in(tx, policyBucket), messages.Policy{Damaged: true}
	default:
		return nil
	}
	for _, n := range d.names {
		if r.bucket.Get(key(n)) == nil {
			if err := r.put(n, safe); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d damage) aside() Aside {
	return Aside{Kind: string(d.bucket), Key: string(d.key), Names: d.names, Cause: d.cause}
}
