package machine

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

func TestRootPolicyIsOfThisMachine(t *testing.T) {
	dir := t.TempDir()
	p, err := RootPolicy(dir)
	require.NoError(t, err)
	require.Equal(t, messages.MaxInt, p.Unikernels)
	require.Contains(t, p.CPUIDs, 0)
	require.Greater(t, p.Memory, 16)
	require.True(t, p.Block.OK)
	require.NotNil(t, p.Bridges)

	again, err := RootPolicy(dir)
	require.NoError(t, err)
	require.Equal(t, p, again)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), make([]byte, 4<<20), 0o600))
	again, err = RootPolicy(dir)
	require.NoError(t, err)
	require.Equal(t, p, again, "what is used does not matter")
}

func TestDiskSpaceIsThatOfTheFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a file system")
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=17m"))
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	size, err := diskSpace(dir)
	require.NoError(t, err)
	require.Equal(t, 17, size)
}

func TestRootPolicyWithoutTheDirectory(t *testing.T) {
	_, err := RootPolicy(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "cannot find out what the machine has: ")
}

func TestMegabytes(t *testing.T) {
	for _, test := range []struct {
		n, unit uint64
		want    int
	}{
		{0, 4096, 0},
		{255, 4096, 0},
		{256, 4096, 1},
		{511, 4096, 1},
		{1 << 50, 1 << 20, 1 << 50},
		{math.MaxUint64, 4096, 1<<56 - 1},
		{math.MaxUint64, 1 << 20, messages.MaxInt},
		{math.MaxUint64, 1 << 30, messages.MaxInt},
	} {
		require.Equal(t, test.want, megabytes(test.n, test.unit), "%d * %d", test.n, test.unit)
	}
}
