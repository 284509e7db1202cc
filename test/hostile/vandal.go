package hostile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// A Vandal damages a bbolt database as disks, crashes and people do.
type Vandal struct {
	random *rand.Rand
	whole  []byte
	pages  []int // the offsets of those in use
	size   int   // how much of the file the database uses
}

// pageSize is that of bbolt, which takes the machine's.
var pageSize = os.Getpagesize()

// NewVandal returns a Vandal of the database in a file, which must not be in use.
func NewVandal(t *testing.T, random *rand.Rand, path string) *Vandal {
	t.Helper()
	v := &Vandal{random: random}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	require.NoError(t, err)
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		v.size = int(tx.Size())
		for at := 0; at < v.size; at += pageSize {
			p, err := tx.Page(at / pageSize)
			require.NoError(t, err)
			if p.Type != "free" {
				v.pages = append(v.pages, at)
			}
		}
		return nil
	}))
	require.NoError(t, db.Close())
	v.whole, err = os.ReadFile(path)
	require.NoError(t, err)
	return v
}

// Damage returns the database with a damage, and describes that.
func (v *Vandal) Damage() (what string, broken []byte) {
	b := bytes.Clone(v.whole)
	one, two := v.pages[v.random.IntN(len(v.pages))], v.random.IntN(v.size/pageSize)*pageSize
	switch kind := v.random.IntN(20); kind {
	case 0:
		at := 1 + v.random.IntN(v.size-1)
		return fmt.Sprintf("cut off at %d", at), b[:at]
	case 1:
		copy(b[one:one+pageSize], v.whole[two:])
		copy(b[two:two+pageSize], v.whole[one:])
		return fmt.Sprintf("pages at %d and %d are swapped", one, two), b
	case 2:
		clear(b[one : one+pageSize])
		return fmt.Sprintf("page at %d is zero", one), b
	case 3:
		copy(b[one:one+pageSize], v.whole[two:])
		return fmt.Sprintf("page at %d is that at %d", one, two), b
	case 4:
		sector := one + 512*v.random.IntN(pageSize/512)
		clear(b[sector : sector+512])
		return fmt.Sprintf("sector at %d is zero", sector), b
	default:
		at, with := one+v.random.IntN(pageSize), byte(1+v.random.IntN(255))
		if kind < 10 { // the beginning of a page, which bbolt trusts most
			at = one + v.random.IntN(200)
		}
		b[at] ^= with
		return fmt.Sprintf("byte at %d is changed by %#x", at, with), b
	}
}
