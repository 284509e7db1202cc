package store

import (
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"albatross/messages"
	"albatross/runtime/failpoint"
)

// Events have numbers in the order in which they are stored. The key of an event is its
// number as eight big-endian bytes, so that this is the order of the keys.
//
// A damaged event is skipped, as if it had been removed: nothing depends on it but
// reports of the past.

const (
	// MaxEvents is how many events are kept: the newest.
	MaxEvents = 10_000
	// minEvents is how many are kept at least: with so many, a new event replaces the
	// oldest on a full disk.
	minEvents = 1_000
	// maxEventBytes bounds what one call of Events reads, except for the last of them:
	// names may be long.
	maxEventBytes = 64 << 10
)

// putEvent stores the next event, and removes the oldest if there are too many. Both are
// at an end of the bucket, so the cost does not depend on how many there are.
func putEvent(r records, event messages.Event, full bool) error {
	number := lastEvent(r.bucket) + 1
	record, err := r.encode(eventKey(number), event)
	if err != nil {
		return err
	}
	r.bucket.FillPercent = 1 // events are only ever appended
	if err := r.bucket.Put(eventKey(number), record); err != nil {
		return fmt.Errorf("cannot store an event: %w", err)
	}
	failpoint.Here("database/event-put")
	return trimEvents(r.bucket, number, full)
}

// lastEvent returns the number of the newest event, which is always kept.
func lastEvent(b *bbolt.Bucket) uint64 {
	k, _ := b.Cursor().Last()
	return eventNumber(k)
}

// maxUnacknowledged bounds how many names are remembered whose events may come again.
const maxUnacknowledged = 10_000

// findUnacknowledged finds the events of a commit that has failed, and that is in the file all the
// same, as happens if only its last fsync has failed. Whoever has asked for them may ask again.
func (db *DB) findUnacknowledged(tx *bbolt.Tx) {
	r := in(tx, eventBucket)
	if lastEvent(r.bucket) <= db.lastEvent {
		return
	}
	if db.unacknowledged == nil || len(db.unacknowledged) > maxUnacknowledged {
		db.unacknowledged = map[messages.Name][]messages.EventKind{}
	}
	c := r.bucket.Cursor()
	for k, v := c.Seek(eventKey(db.lastEvent + 1)); k != nil; k, v = c.Next() {
		var e messages.Event
		if r.decode(k, v, &e) == nil {
			db.unacknowledged[e.Name] = append(db.unacknowledged[e.Name], e.Kind)
		}
		db.lastEvent = eventNumber(k)
	}
}

// withoutUnacknowledged returns the changes without the events that are in the file already, and how many
// of each name these are. Another event about a name means that nobody asks for the rest again.
func (db *DB) withoutUnacknowledged(changes []messages.Change) (left []messages.Change, asked map[messages.Name]int) {
	if len(db.unacknowledged) == 0 {
		return changes, nil
	}
	asked = map[messages.Name]int{}
	left = slices.DeleteFunc(slices.Clone(changes), func(c messages.Change) bool {
		put, ok := c.(messages.PutEvent)
		if !ok {
			return false
		}
		name := put.Event.Name
		there, n := db.unacknowledged[name], asked[name]
		if n < len(there) && there[n] == put.Event.Kind {
			asked[name]++
			return true
		}
		if n < len(there) {
			db.setUnacknowledged(name, there[:n])
		}
		return false
	})
	return left, asked
}

// acknowledge forgets the events that were asked for again by a commit that has succeeded. One that
// has failed may be tried once more, with all of its events.
func (db *DB) acknowledge(asked map[messages.Name]int) {
	for name, n := range asked {
		db.setUnacknowledged(name, db.unacknowledged[name][n:])
	}
}

func (db *DB) setUnacknowledged(name messages.Name, kinds []messages.EventKind) {
	db.unacknowledged[name] = kinds
	if len(kinds) == 0 {
		delete(db.unacknowledged, name)
	}
}

func trimEvents(b *bbolt.Bucket, last uint64, full bool) error {
	c := b.Cursor()
	k, _ := c.First()
	keep := uint64(MaxEvents)
	if full { // keep as many as there were
		keep = min(keep, max(minEvents, last-eventNumber(k)))
	}
	for ; k != nil && eventNumber(k)+keep <= last; k, _ = c.First() {
		if err := c.Delete(); err != nil {
			return fmt.Errorf("cannot remove an old event: %w", err)
		}
	}
	return nil
}

func eventKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

// eventNumber returns the number in a key; 0, which no event has, if the key is damaged.
func eventNumber(key []byte) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

// LastEvent returns the number of the newest event, and 0 if there never was one.
func (db *DB) LastEvent() (last uint64, err error) {
	err = db.viewEvents(func(r records) { last = lastEvent(r.bucket) })
	return last, err
}

// FindEvents returns the range of events since a time in milliseconds, up to the newest.
// It is empty if first is last+1.
//
// The first is the oldest that was not before that time. If the clock has been set back
// since, events after it may be earlier: better too many than too few.
func (db *DB) FindEvents(sinceMillis int64) (first, last uint64, err error) {
	err = db.viewEvents(func(r records) {
		last = lastEvent(r.bucket)
		first = last + 1
		c := r.bucket.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			var event struct {
				AtMillis int64 `cbor:"3,keyasint"`
			}
			if r.decode(k, v, &event) == nil && event.AtMillis >= sinceMillis {
				first = eventNumber(k)
				return
			}
		}
	})
	return first, last, err
}

// Events returns the kept events from a number on: up to limit, or fewer if they are
// large. next is the number after the last of them, or from if there are none.
func (db *DB) Events(from uint64, limit int) (list []messages.NumberedEvent, next uint64, err error) {
	next = from
	err = db.viewEvents(func(r records) {
		c, size := r.bucket.Cursor(), 0
		for k, v := c.Seek(eventKey(from)); k != nil && limit > 0 && size < maxEventBytes; k, v = c.Next() {
			limit--
			size += len(v)
			e := messages.NumberedEvent{Number: eventNumber(k)}
			if e.Number >= from && r.decode(k, v, &e.Event) == nil {
				e.Event.Cause = messages.Publicf("%s", e.Event.Cause) // an older version has stored more
				list = append(list, e)
			}
			next = max(next, e.Number+1)
		}
	})
	return list, next, err
}

func (db *DB) viewEvents(do func(r records)) error {
	err := db.view(func(tx *bbolt.Tx) error {
		do(in(tx, eventBucket))
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", db.path, err)
	}
	return nil
}
