package store

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"albatross/messages"
	"albatross/runtime/failpoint"
)

// Events are numbered in the order in which they are stored. The key of one is
// its number as eight bytes, big-endian, so that this is the order of the keys.
//
// A record that cannot be understood is passed over, as if it were not kept any
// more: nothing but the telling of what has been depends on it.

const (
	// MaxEvents is how many events are kept: the newest.
	MaxEvents = 10_000
	// minEvents are kept at least: from so many on, an event takes the place of the
	// oldest where the disk is full.
	minEvents = 1_000
	// maxEventBytes bounds what one call of Events takes from disk, except for the
	// last of them: names may be long.
	maxEventBytes = 64 << 10
)

// putEvent stores the next event, and removes the one that is one too many. Both
// are at an end of the bucket: what that costs does not depend on how many there
// are.
func putEvent(r records, event messages.Event, full bool) error {
	number := lastEvent(r.bucket) + 1
	record, err := r.encode(eventKey(number), event)
	if err != nil {
		return err
	}
	r.bucket.FillPercent = 1 // nothing is ever put between others
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

func trimEvents(b *bbolt.Bucket, last uint64, full bool) error {
	c := b.Cursor()
	k, _ := c.First()
	keep := uint64(MaxEvents)
	if full { // as many as there were
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

// eventNumber returns the number in a key, and 0, which no event has, where that is
// damaged.
func eventNumber(key []byte) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

// LastEvent returns the number of the newest event, and 0 where there never was one.
func (db *DB) LastEvent() (last uint64, err error) {
	err = db.viewEvents(func(r records) { last = lastEvent(r.bucket) })
	return last, err
}

// FindEvents tells which events there are since a time in milliseconds: those
// from first to last, the newest. There are none where first is last+1.
//
// The first is the oldest that was not before that time. The clock may have been
// set back since, so that some behind it were before: it is better to tell
// too many than too few.
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

// Events returns the next events that are kept, from a number on: as many as limit,
// or fewer where they are large. Next is the number behind the last of them, or
// from where there are none.
func (db *DB) Events(from uint64, limit int) (list []messages.NumberedEvent, next uint64, err error) {
	next = from
	err = db.viewEvents(func(r records) {
		c, size := r.bucket.Cursor(), 0
		for k, v := c.Seek(eventKey(from)); k != nil && limit > 0 && size < maxEventBytes; k, v = c.Next() {
			limit--
			size += len(v)
			e := messages.NumberedEvent{Number: eventNumber(k)}
			if e.Number >= from && r.decode(k, v, &e.Event) == nil {
				e.Event.Cause = messages.Publicf("%s", e.Event.Cause) // a former version has stored more
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
