package certificate_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/sockets/certificate"
)

// FuzzFiles: to read any file ends with an error or with contents that can be written and read
// again.
func FuzzFiles(f *testing.F) {
	files, err := filepath.Glob("testdata/native/*")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if chain, err := certificate.ParseChain(data); err == nil {
			again, err := certificate.ParseChain(chain.Encode())
			require.NoError(t, err)
			require.Len(t, again, len(chain))
			for _, c := range chain {
				_, _, _, _ = certificate.Command(c)
			}
		}
		if key, err := certificate.ParseKey(data); err == nil {
			_, err := certificate.EncodeKey(key)
			require.NoError(t, err)
		}
		if list, err := certificate.ParseRevocations(data); err == nil {
			again, err := certificate.ParseRevocations(list.Encode())
			require.NoError(t, err)
			require.Equal(t, list.Len(), again.Len())
		}
		if request, err := certificate.ParseRequest(data); err == nil {
			require.NotNil(t, request.Command)
			require.NotNil(t, request.Key)
		}
	})
}
