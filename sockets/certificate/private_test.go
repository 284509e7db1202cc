package certificate_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/sockets/certificate"
)

func TestCheckPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.key")
	require.NoError(t, certificate.CheckPrivate(path), "whoever reads it says that it is not there")
	require.NoError(t, os.WriteFile(path, []byte("key"), 0o600))
	for mode, allowed := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o700: true, 0o640: false, 0o604: false, 0o620: false, 0o601: false} {
		require.NoError(t, os.Chmod(path, mode))
		err := certificate.CheckPrivate(path)
		if allowed {
			require.NoError(t, err, "%o", mode)
		} else {
			require.ErrorContains(t, err, "chmod 600 "+path, "%o", mode)
		}
	}
	require.NoError(t, os.Chmod(path, 0o600))
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	require.NoError(t, os.Chown(path, 65501, -1))
	require.ErrorContains(t, certificate.CheckPrivate(path), "belongs to user 65501")
}
