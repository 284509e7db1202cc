package rules

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// makeTest returns what `make test` would run.
func makeTest(t *testing.T, environment string) string {
	t.Helper()
	c := exec.Command("make", "-n", "-C", "../..", "test")
	c.Env = append(os.Environ(), environment)
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// TestWithoutACompiler: Go and make are enough to run the tests.
func TestWithoutACompiler(t *testing.T) {
	without := makeTest(t, "CGO_ENABLED=0")
	require.NotContains(t, without, "-race")
	require.Contains(t, without, "Running without the race detector")
	with := makeTest(t, "CGO_ENABLED=1")
	require.Contains(t, with, "go test -race")
	require.NotContains(t, with, "Running without")
}
