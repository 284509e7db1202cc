package image

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckMemory(t *testing.T) {
	const mb = 1 << 20
	for title, tc := range map[string]struct {
		target      Target
		end, memory uint64
		says        string
	}{
		"spt, a page for the stack":   {SPT, 2*mb - PageSize, 2 * mb, ""},
		"spt, no page for the stack":  {SPT, 2 * mb, 2 * mb, "cannot fit image into memory: it needs 3 MB, there are 2"},
		"spt, an odd number of MB":    {SPT, 2 * mb, 3 * mb, ""},
		"hvt, half of a page is lost": {HVT, 2 * mb, 3 * mb, "cannot fit image into memory: it needs 4 MB, there are 3"},
		"hvt, a page":                 {HVT, 2 * mb, 4 * mb, ""},
		"hvt, a page at the least":    {HVT, mb + PageSize, mb, ""},
		"hvt, all that it addresses":  {HVT, 2 * mb, 524288 * mb, ""},
		"hvt, more than it addresses": {HVT, 2 * mb, 524290 * mb, "cannot use 524290 MB of memory: guest memory size 549757911040 bytes exceeds the max size 549755813888 bytes"},
	} {
		t.Run(title, func(t *testing.T) {
			requireSays(t, tc.says, (&Image{Target: tc.target, End: tc.end}).CheckMemory(tc.memory))
		})
	}
}

// TestCheckMemoryOnARM: what is behind 4 GB is for hypercalls there.
func TestCheckMemoryOnARM(t *testing.T) {
	i := &Image{Architecture: ARM64, Target: HVT, End: 2 << 20}
	require.NoError(t, i.CheckMemory(4<<30))
	require.EqualError(t, i.CheckMemory(4<<30+2<<20), "cannot use 4098 MB of memory: guest memory size 4297064448 bytes exceeds the max size 4294967296 bytes")
}

func requireSays(t *testing.T, says string, err error) {
	t.Helper()
	if says == "" {
		require.NoError(t, err)
		return
	}
	require.EqualError(t, err, says)
}

func TestCheckArguments(t *testing.T) {
	long := strings.Repeat("x", 8191)
	require.NoError(t, CheckArguments(nil))
	require.NoError(t, CheckArguments([]string{long}))
	require.NoError(t, CheckArguments([]string{long[2:], "x"}))
	require.EqualError(t, CheckArguments([]string{long[1:], "x"}), "cannot pass arguments: they have 8192 bytes, of at most 8191")
	require.EqualError(t, CheckArguments([]string{long, ""}), "cannot pass arguments: they have 8192 bytes, of at most 8191")
}

func TestCheckSectors(t *testing.T) {
	for _, size := range []int{512, 1024, 4096, 1 << 15} {
		require.NoError(t, CheckSectorSize(size))
		require.NoError(t, CheckSectors(1<<20, size))
	}
	for _, size := range []int{-512, 0, 1, 256, 513, 1536, 1 << 16, 1<<16 + 512} {
		require.ErrorContains(t, CheckSectorSize(size), "Block size must be a multiple of 2 greater than or equal 512: ")
	}
	require.EqualError(t, CheckSectors(1000, 512), "Backing storage size must be block aligned: 1000 bytes are no number of sectors of 512")
	require.EqualError(t, CheckSectors(0, 512), "Backing storage must be at least 1 block (512 bytes) in size")
}
