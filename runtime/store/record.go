package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"albatross/messages"
)

// A value is stored as a record: the checksum, the key that it was stored under, preceded
// by its length, and the data. The checksum also covers the bucket and the key, so that a
// record in a wrong place is recognised. With the key stored twice, a damaged record can
// still be assigned to its owner.
//
// The checksum is the beginning of a SHA-256: whatever a disk does to a record, one in
// 2^64 is taken for sound. A CRC is that good for short runs of bits only, and hardly
// faster on processors with SHA-256. It is no protection against whoever may write the
// file.
// may write the file.
const (
	sumSize    = 8
	sealedSize = sumSize + 2 // before the key
)

// The errors of a record.
var (
	errDamaged = errors.New("its checksum is wrong")
	errMoved   = errors.New("it is stored under another key than its own")
)

// seal makes a record of data.
func seal(bucket, key, data []byte) []byte {
	record := make([]byte, sumSize, sealedSize+len(key)+len(data))
	record = binary.BigEndian.AppendUint16(record, uint16(len(key)))
	record = append(append(record, key...), data...)
	copy(record, sum(bucket, record[sumSize:]))
	return record
}

// sum returns the checksum of the rest of a record.
func sum(bucket, rest []byte) []byte {
	hash := sha256.New()
	_, _ = hash.Write(append(bucket[:len(bucket):len(bucket)], 0))
	_, _ = hash.Write(rest)
	return hash.Sum(nil)[:sumSize]
}

// unseal returns the data of a record that is sound and in its place.
func unseal(bucket, key, record []byte) ([]byte, error) {
	own, data, ok := split(record)
	switch {
	case !ok, !bytes.Equal(record[:sumSize], sum(bucket, record[sumSize:])):
		return nil, errDamaged
	case !bytes.Equal(own, key):
		return nil, errMoved
	}
	return data, nil
}

// split parses a record, whether it is sound or not.
func split(record []byte) (key, data []byte, ok bool) {
	if len(record) < sealedSize {
		return nil, nil, false
	}
	size := int(binary.BigEndian.Uint16(record[sumSize:]))
	rest := record[sealedSize:]
	if size > len(rest) {
		return nil, nil, false
	}
	return rest[:size], rest[size:], true
}

// Records are those of one bucket.
type records struct {
	bucket *bbolt.Bucket
	name   []byte
}

func in(tx *bbolt.Tx, name []byte) records { return records{tx.Bucket(name), name} }

// get decodes a record into value, and reports whether it exists.
func (r records) get(key []byte, value any) (bool, error) {
	record := r.bucket.Get(key)
	if record == nil {
		return false, nil
	}
	return true, r.decode(key, record, value)
}

func (r records) decode(key, record []byte, value any) error {
	data, err := unseal(r.name, key, record)
	if err != nil {
		return err
	}
	return messages.Decode(data, value)
}

func (r records) encode(key []byte, value any) ([]byte, error) {
	data, err := messages.Encode(value)
	if err != nil {
		return nil, fmt.Errorf("internal error: cannot encode %T of %q: %w", value, key, err)
	}
	return seal(r.name, key, data), nil
}

func (r records) put(n messages.Name, value any) error {
	record, err := r.encode(key(n), value)
	if err != nil {
		return err
	}
	if err := r.bucket.Put(key(n), record); err != nil {
		return fmt.Errorf("cannot store %s: %w", n, err)
	}
	return nil
}

func (r records) delete(n messages.Name) error { return r.bucket.Delete(key(n)) }

func key(n messages.Name) []byte { return []byte(n.String()) }
