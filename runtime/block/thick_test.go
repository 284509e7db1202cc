package block_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestReserve: a device that has all its room keeps it.
func TestReserve(t *testing.T) {
	const size = 3
	d, _ := open(t)
	disk := name(t, "disk")
	require.NoError(t, d.Create(t.Context(), disk, size, strings.NewReader("contents")))
	require.Less(t, occupied(t, d.Path(disk)), int64(megabyte))
	require.NoError(t, d.Reserve(t.Context(), disk))
	require.GreaterOrEqual(t, occupied(t, d.Path(disk)), int64(size*megabyte))
	same(t, padded([]byte("contents"), size*megabyte), read(t, d, disk))

	require.NoError(t, d.Set(t.Context(), disk, strings.NewReader("others")))
	require.GreaterOrEqual(t, occupied(t, d.Path(disk)), int64(size*megabyte))
	same(t, padded([]byte("others"), size*megabyte), read(t, d, disk))
}

// TestReserveWithoutRoom: nothing of what there is is taken.
func TestReserveWithoutRoom(t *testing.T) {
	d, _ := open(t)
	disk := name(t, "disk")
	const size = 1 << 24 // 16 TB
	if err := d.Create(t.Context(), disk, size, nil); err != nil {
		t.Skipf("this file system has no such files: %v", err)
	}
	err := d.Reserve(t.Context(), disk)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, "16777216 MB are missing")
	require.Less(t, occupied(t, d.Path(disk)), int64(megabyte))
}

func TestReserveWhatIsNotThere(t *testing.T) {
	d, _ := open(t)
	err := d.Reserve(t.Context(), name(t, "disk"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
