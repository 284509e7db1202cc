package registry

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"
)

// TestAnotherToolCopiesIt: tools for containers do not run our images, but can move them.
func TestAnotherToolCopiesIt(t *testing.T) {
	inMemoryOrReal(t, func(t *testing.T, host string) {
		c := newClient(t, Options{})
		pushed, err := c.Push(t.Context(), reference(t, "oci://"+host+"/web"), web, nil)
		require.NoError(t, err)
		from, err := name.ParseReference(host + "/web")
		require.NoError(t, err)
		index, err := remote.Index(from)
		require.NoError(t, err)
		to, err := name.ParseReference(host + "/copy/of/web")
		require.NoError(t, err)
		require.NoError(t, remote.WriteIndex(to, index))

		_, err = remote.Image(from, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))
		require.ErrorContains(t, err, "no child with platform linux/amd64", "none of them is for containers")
		image, err := remote.Image(from, remote.WithPlatform(v1.Platform{OS: "solo5", Architecture: "amd64", Variant: "spt"}))
		require.NoError(t, err)
		layers, err := image.Layers()
		require.NoError(t, err)
		require.Len(t, layers, 1)

		a, err := c.Resolve(t.Context(), reference(t, "oci://"+host+"/copy/of/web"))
		require.NoError(t, err)
		require.Equal(t, pushed.Digest, a.Reference.Digest)
		target, err := a.Choose("hvt")
		require.NoError(t, err)
		got, err := c.Fetch(t.Context(), a, target)
		require.NoError(t, err)
		require.Equal(t, web[0].Contents, got)
	})
}

// TestWhatTheLibraryWrites of a container image is read.
func TestWhatTheLibraryWrites(t *testing.T) {
	inMemoryOrReal(t, func(t *testing.T, host string) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "unikernel/net.hvt", Size: 5, Mode: 0o644}))
		_, err := w.Write([]byte("image"))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
		require.NoError(t, err)
		image, err := mutate.AppendLayers(empty.Image, layer)
		require.NoError(t, err)
		to, err := name.ParseReference(host + "/net")
		require.NoError(t, err)
		require.NoError(t, remote.Write(to, mutate.Annotations(image, notes(kernel, "hvt", "--x")).(v1.Image)))

		c := newClient(t, Options{})
		a, err := c.Resolve(t.Context(), reference(t, "oci://"+host+"/net"))
		require.NoError(t, err)
		require.Equal(t, Urunc, a.Format)
		got, err := c.Fetch(t.Context(), a, a.Targets[0])
		require.NoError(t, err)
		require.Equal(t, "image", string(got))
	})
}
