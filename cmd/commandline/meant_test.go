package commandline

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMeant(t *testing.T) {
	known := []string{"interval", "influx", "metrics", "metrics", "tmpdir"}
	require.Equal(t, []string{"interval"}, Meant("intervall", known))
	require.Equal(t, []string{"metrics"}, Meant("metrcis", known))
	require.Empty(t, Meant("somethingelse", known))
	require.Len(t, Meant("aa", []string{"ab", "ac", "ad", "ae"}), 3)
}
