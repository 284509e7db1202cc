package registry

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// FuzzDocuments: whatever a registry sends, what is read of it is within its bounds.
func FuzzDocuments(f *testing.F) {
	c, err := json.Marshal(config{Target: "spt", Architecture: "amd64", Image: imageConfig{zeros[7:], 5}, Devices: []Device{{"a", "net"}}, Arguments: []string{"x"}})
	require.NoError(f, err)
	f.Add(c)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"x","size":5,"digest":"` + zeros + `","platform":{"os":"solo5","architecture":"amd64"}}]}`))
	f.Add([]byte(`{"config":{"size":5,"digest":"` + zeros + `"},"layers":[{"size":5,"digest":"` + zeros + `"}],"annotations":{"a":"b"}}`))
	f.Add([]byte(`{"com.urunc.unikernel.binary":"L2E=","com.urunc.unikernel.hypervisor":"aHZ0"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := readConfig(data, 1000); err == nil {
			require.LessOrEqual(t, c.Image.Size, int64(1000))
			require.NoError(t, checkArguments(c.Arguments))
		}
		if index, err := readIndex(data); err == nil {
			require.LessOrEqual(t, len(index.Manifests), maxManifests)
		}
		if m, err := readManifest(data); err == nil {
			require.LessOrEqual(t, len(m.Layers), maxLayers)
			for key, value := range cleanAnnotations(m.Annotations) {
				require.True(t, isText(key, 256) && len(value) <= maxText)
			}
		}
		if notes, err := readNotes(data); err == nil {
			require.NotEmpty(t, notes[uruncBinary])
			_, _ = insidePath(notes[uruncBinary])
		}
		isIndex(data, "")
	})
}

// FuzzLayers: whatever is in a layer, what is found in it is within its bound.
func FuzzLayers(f *testing.F) {
	kinds := []types.MediaType{types.OCIUncompressedLayer, types.OCILayer, types.OCILayerZStd}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{".wh.a", "a"} {
		require.NoError(f, w.WriteHeader(&tar.Header{Name: name, Size: 1, Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte("x"))
		require.NoError(f, err)
	}
	require.NoError(f, w.Close())
	f.Add(b.Bytes(), uint(0))
	packed, err := packed(b.Bytes())
	require.NoError(f, err)
	f.Add(packed, uint(1))
	z, err := zstd.NewWriter(nil)
	require.NoError(f, err)
	f.Add(z.EncodeAll(b.Bytes(), nil), uint(2))
	f.Fuzz(func(t *testing.T, data []byte, kind uint) {
		archive, release, err := unpack(bytes.NewReader(data), kinds[kind%3])
		if err != nil {
			return
		}
		defer release()
		limit := &capped{archive, 1 << 20}
		var found bytes.Buffer
		err = search(limit, "/a", 100, &found)
		require.LessOrEqual(t, found.Len(), 100)
		require.GreaterOrEqual(t, limit.left, int64(0))
		require.False(t, errors.Is(err, errAbsent) && found.Len() > 0)
	})
}
