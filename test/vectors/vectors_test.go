package vectors_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/test/vectors"
)

// TestFiles: every file can be read, and no line comes twice in it.
func TestFiles(t *testing.T) {
	for _, file := range append(slices.Clone(vectors.Wire), vectors.Accept, vectors.Cert, vectors.MAC,
		vectors.Name, vectors.Policy, vectors.Reject, vectors.Restart, vectors.Ring, vectors.State) {
		seen := map[string]bool{}
		for _, v := range vectors.LoadAs[struct{ ID string }](t, file) {
			require.NotEmpty(t, v.ID, file)
			require.False(t, seen[v.ID], "%s: %s", file, v.ID)
			seen[v.ID] = true
		}
	}
}

func TestText(t *testing.T) {
	var l []vectors.Text
	require.NoError(t, json.Unmarshal([]byte(`["é", {"$hex": "ff00"}]`), &l))
	require.Equal(t, []vectors.Text{"é", "\xff\x00"}, l)
	require.Error(t, json.Unmarshal([]byte(`[{"$hex": "f"}]`), &l))
	require.Error(t, json.Unmarshal([]byte(`[1]`), &l))
}
