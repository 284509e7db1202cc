package main

import (
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"albatross/sockets/certificate"
)

// TestRevokingAtTheSameTime: no revocation overwrites another one.
func TestRevokingAtTheSameTime(t *testing.T) {
	authority := authorityWith(t)
	path := filepath.Join(t.TempDir(), "crl")
	const n = 16
	var all errgroup.Group
	for i := range n {
		all.Go(func() error {
			return revoke(silent(), authority, path, []*big.Int{big.NewInt(int64(i + 1))}, time.Hour)
		})
	}
	require.NoError(t, all.Wait())
	list, err := readPEM(path, certificate.ParseRevocations)
	require.NoError(t, err)
	require.Equal(t, n, list.Len())
	requireMode(t, path, 0o644)
	requireParts(t, filepath.Dir(path), 1)
}

// TestRevokingWhereNothingCanBeWritten leaves the list as it is.
func TestRevokingWhereNothingCanBeWritten(t *testing.T) {
	authority := authorityWith(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "crl")
	require.NoError(t, os.Mkdir(path, 0o700)) // a rename does not replace a directory
	err := revoke(silent(), authority, path, nil, time.Hour)
	require.ErrorContains(t, err, "cannot read "+path)
	err = revoke(silent(), authority, filepath.Join(dir, "nowhere", "crl"), nil, time.Hour)
	require.ErrorIs(t, err, os.ErrNotExist)
	requireParts(t, dir, 1)
}
