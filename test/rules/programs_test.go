package rules

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoProgramIsAmongTheSources: 'make build' writes to bin/, but 'go build' beside the sources,
// from where a program is soon committed. The guests of tests are small, and made from sources here.
func TestNoProgramIsAmongTheSources(t *testing.T) {
	root := filepath.Join("..", "..")
	files := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		switch rel = filepath.ToSlash(rel); {
		case err != nil:
			return err
		case d.IsDir() && (rel == ".git" || rel == "bin" || rel == "test/guests/bin"):
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		files++
		begin, err := head(path, 4)
		require.False(t, bytes.Equal(begin, []byte("\x7fELF")), "%s is a program: remove it", rel)
		return err
	}))
	require.Greater(t, files, 500, "this test looks in the right place")
}

// head returns the first bytes of a file, as far as it has them.
func head(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, n)
	n, err = io.ReadFull(f, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return b[:n], err
}
