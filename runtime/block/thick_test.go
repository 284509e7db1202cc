package block_test

import (
	"fmt"
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

// TestReserveWithoutRoom: a device that cannot be reserved takes no room.
func TestReserveWithoutRoom(t *testing.T) {
	d, _ := open(t)
	disk := name(t, "disk")
	room, err := d.Room()
	require.NoError(t, err)
	size := int(room) + 100_000 // far more than others may free meanwhile
	require.NoError(t, d.Create(t.Context(), disk, size, nil))
	err = d.Reserve(t.Context(), disk)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, fmt.Sprintf("%d MB are missing", size))
	require.Less(t, occupied(t, d.Path(disk)), int64(megabyte))
}

func TestReserveWhatIsNotThere(t *testing.T) {
	d, _ := open(t)
	err := d.Reserve(t.Context(), name(t, "disk"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
