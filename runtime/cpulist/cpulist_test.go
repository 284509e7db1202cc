package cpulist_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/cpulist"
)

func TestParse(t *testing.T) {
	for list, want := range map[string][]int{
		"":            nil,
		"0":           {0},
		"0-3":         {0, 1, 2, 3},
		"0,2-3,5,8-9": {0, 2, 3, 5, 8, 9},
		"10,100":      {10, 100},
	} {
		cpus, err := cpulist.Parse(list)
		require.NoError(t, err)
		require.Equal(t, want, cpus)
	}
	for _, list := range []string{"x", "0-", "-", "-1", "0,,1", ",", "0,", "0,x-2", "3-1", "65536", "0-99999999"} {
		_, err := cpulist.Parse(list)
		require.Error(t, err, "%q", list)
	}
}

func TestMissing(t *testing.T) {
	require.Equal(t, []int{7, 2}, cpulist.Missing([]int{7, 1, 2}, []int{0, 1}))
	require.Empty(t, cpulist.Missing([]int{1}, []int{0, 1}))
}

func TestFormat(t *testing.T) {
	require.Empty(t, cpulist.Format(nil))
	require.Equal(t, "0,1,12", cpulist.Format([]int{0, 1, 12}))
}
