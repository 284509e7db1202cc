package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestTheLockOfAKilledKeeper lasts a moment longer than that, and the next one waits for it. A
// keeper that runs keeps it.
func TestTheLockOfAKilledKeeper(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	former, err := lockFile(path)
	require.NoError(t, err)
	_, err = lockWithin(2*takeoverPause, path)
	require.Equal(t, unix.EWOULDBLOCK, err)

	locked := make(chan error)
	go func() {
		next, err := lockWithin(deadline, path)
		_ = unix.Close(next)
		locked <- err
	}()
	require.NoError(t, unix.Close(former))
	require.NoError(t, <-locked)
}
