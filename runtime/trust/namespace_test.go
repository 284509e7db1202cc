package trust

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMaps: which maps of users cover the number of nobody.
func TestMaps(t *testing.T) {
	for text, want := range map[string]bool{
		"         0          0 4294967295\n": true,  // that of the machine
		"         0       1000          1\n": false, // that of an ordinary user
		"0 100000 65536\n":                   true,  // that of a container
		"0 1000 1\n1 100000 65533\n":         false,
		"0 1000 1\n1 100000 65534\n":         true,
		"":                                   false,
		"what no kernel has said\n":          true,
	} {
		require.Equal(t, want, covers(text, nobody), "%q", text)
	}
}
