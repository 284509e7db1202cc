package registry

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/test/registries"
)

// dockerRegistry starts Debian's docker-registry, and returns its host. The test is skipped where
// that is not installed.
func dockerRegistry(t *testing.T, o registries.Options) string {
	r, err := registries.Start(t.TempDir(), o)
	if errors.Is(err, registries.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(r.Stop)
	return r.Host
}
