package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func goroot(t *testing.T) string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// TestRaise: exactly one number changes in the source of the Go that runs the test.
func TestRaise(t *testing.T) {
	root := goroot(t)
	original := filepath.Join(root, "src", "crypto", "tls", "common.go")
	dir := filepath.Join(t.TempDir(), "made")
	for range 2 {
		require.NoError(t, run([]string{root, dir}))
	}
	before, err := os.ReadFile(original)
	require.NoError(t, err)
	after, err := os.ReadFile(filepath.Join(dir, "common.go.raised"))
	require.NoError(t, err)
	require.Contains(t, string(before), "maxHandshakeCertificateMsg = 262144")
	require.Contains(t, string(after), "maxHandshakeCertificateMsg = 1 << 24 ")
	require.Equal(t, len(before)+len("1 << 24")-len("262144"), len(after))

	var overlay struct{ Replace map[string]string }
	text, err := os.ReadFile(filepath.Join(dir, "overlay.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &overlay))
	require.Equal(t, map[string]string{original: filepath.Join(dir, "common.go.raised")}, overlay.Replace)
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 2)
}

func TestSourcesThatAreNotKnown(t *testing.T) {
	for _, source := range []string{
		"",
		"const maxHandshakeCertificateMsg = otherwhere",
		"// maxHandshakeCertificateMsg = 262144",
		"maxHandshakeCertificateMsg = 1\nmaxHandshakeCertificateMsg = 2\n",
	} {
		path := filepath.Join(t.TempDir(), "common.go")
		require.NoError(t, os.WriteFile(path, []byte(source), 0o600))
		require.ErrorContains(t, prepare(path, t.TempDir()), "this version of Go is not known", source)
	}
	require.ErrorContains(t, prepare(filepath.Join(t.TempDir(), "none"), t.TempDir()), "cannot read")
	require.ErrorContains(t, run(nil), "usage")
}
