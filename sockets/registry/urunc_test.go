package registry

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// A entry is a file in a layer.
type entry struct {
	name string
	data string
	kind byte // 0: a file
	link string
}

// archive returns a layer that is not compressed.
func archive(t *testing.T, entries ...entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Size: int64(len(e.data)), Mode: 0o644, Typeflag: tar.TypeReg, Linkname: e.link}
		if e.kind != 0 {
			h.Typeflag = e.kind
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write([]byte(e.data))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// A container is a container image of the tests.
type container struct {
	annotations map[string]string
	config      v1.Config
	layers      [][]byte // not compressed
	zstd        bool
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// notes are what urunc needs to know.
func notes(binary, hypervisor, command string) map[string]string {
	return map[string]string{
		uruncBinary: base64Of(binary), uruncHypervisor: base64Of(hypervisor), uruncCommand: base64Of(command),
		uruncPrefix + "unikernelType": base64Of("mirage"),
	}
}

// put writes a container image to a registry, and returns its manifest.
func (c container) put(t *testing.T, r Reference) (Reference, v1.Descriptor) {
	s, err := newClient(t, Options{}).open(t.Context(), r, push)
	require.NoError(t, err)
	data, err := json.Marshal(v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: c.config, RootFS: v1.RootFS{Type: "layers"}})
	require.NoError(t, err)
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Annotations: c.annotations,
		Config: descriptor(data, types.OCIConfigJSON), Layers: []v1.Descriptor{},
	}
	require.NoError(t, s.pushBlob(t.Context(), m.Config.Digest.String(), data))
	for _, layer := range c.layers {
		data, mediaType := layer, types.OCILayerZStd
		if c.zstd {
			z, err := zstd.NewWriter(nil)
			require.NoError(t, err)
			data = z.EncodeAll(layer, nil)
		} else {
			data, err = packed(layer)
			require.NoError(t, err)
			mediaType = types.OCILayer
		}
		d := descriptor(data, mediaType)
		require.NoError(t, s.pushBlob(t.Context(), d.Digest.String(), data))
		m.Layers = append(m.Layers, d)
	}
	d, err := s.pushManifest(t.Context(), r.Tag, types.OCIManifestSchema1, m)
	require.NoError(t, err)
	return r.At(d.Digest.String()), d
}

func uruncJSON(t *testing.T, notes map[string]string) entry {
	data, err := json.Marshal(notes)
	require.NoError(t, err)
	return entry{name: "urunc.json", data: string(data)}
}

const kernel = "/unikernel/net.hvt"

func TestImagesOfUrunc(t *testing.T) {
	host := inMemory(t)
	image := string(randomBytes(50000))
	layer := archive(t, entry{name: "./etc/", kind: tar.TypeDir}, entry{name: "./unikernel/net.hvt", data: image})
	label := v1.Config{Labels: map[string]string{uruncBinary: kernel, uruncHypervisor: "hvt", uruncCommand: "-a  b"}}
	for name, c := range map[string]struct {
		container container
		arguments []string
	}{
		"annotations":         {container{annotations: notes(kernel, "hvt", "--ipv4=10.0.0.2/24 x"), layers: [][]byte{layer}}, []string{"--ipv4=10.0.0.2/24", "x"}},
		"a command instead":   {container{annotations: notes(kernel, "hvt", "x"), config: v1.Config{Entrypoint: []string{"a b"}, Cmd: []string{"c"}}, layers: [][]byte{layer}}, []string{"a b", "c"}},
		"labels, not encoded": {container{config: label, layers: [][]byte{layer}}, []string{"-a", "b"}},
		"a file":              {container{layers: [][]byte{layer, archive(t, uruncJSON(t, notes(kernel, "hvt", "")))}}, nil},
		"a file below":        {container{layers: [][]byte{archive(t, uruncJSON(t, notes(kernel, "hvt", ""))), layer}}, nil},
		"zstd":                {container{annotations: notes(kernel, "hvt", ""), layers: [][]byte{layer}, zstd: true}, nil},
		"an older one below":  {container{annotations: notes(kernel, "hvt", ""), layers: [][]byte{archive(t, entry{name: "unikernel/net.hvt", data: "old"}), layer}}, nil},
		"removed, and new":    {container{annotations: notes(kernel, "hvt", ""), layers: [][]byte{archive(t, entry{name: "unikernel/.wh.net.hvt"}, entry{name: "unikernel/net.hvt", data: image})}}, nil},
		"others above":        {container{annotations: notes(kernel, "hvt", ""), layers: [][]byte{layer, archive(t, entry{name: "etc/.wh.x"}, entry{name: "other/.wh..wh..opq"})}}, nil},
		"a path with dots":    {container{annotations: notes("unikernel/../unikernel/./net.hvt", "hvt", ""), layers: [][]byte{layer}}, nil},
		"an entry with dots":  {container{annotations: notes(kernel, "hvt", ""), layers: [][]byte{archive(t, entry{name: "../../unikernel/net.hvt", data: image})}}, nil},
		"an absolute entry":   {container{annotations: notes(kernel, "hvt", ""), layers: [][]byte{archive(t, entry{name: "/unikernel/net.hvt", data: image})}}, nil},
		"named in the label, and otherwise in the file": {container{config: label, layers: [][]byte{layer, archive(t, uruncJSON(t, notes("/other", "spt", "")))}}, []string{"-a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := c.container.put(t, reference(t, "oci://"+host+"/urunc"))
			client := newClient(t, Options{})
			a, err := client.Resolve(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, Urunc, a.Format)
			target, err := a.Choose("spt", "hvt")
			require.NoError(t, err)
			require.Equal(t, "hvt", target.Name)
			require.ElementsMatch(t, c.arguments, target.Arguments)
			got, err := client.Fetch(t.Context(), a, target)
			require.NoError(t, err)
			require.Equal(t, image, string(got))
		})
	}
}

func TestImagesOfUruncThatAreRefused(t *testing.T) {
	host := inMemory(t)
	layer := archive(t, entry{name: "unikernel/net.hvt", data: "image"})
	with := notes(kernel, "hvt", "")
	large := archive(t, entry{name: "x", data: strings.Repeat("\x00", 3<<20)}, entry{name: "unikernel/net.hvt", data: "image"})
	for name, c := range map[string]struct {
		container container
		kind      Kind
		want      string
	}{
		"a plain container":    {container{layers: [][]byte{archive(t, entry{name: "bin/sh", data: "x"})}}, Unusable, "it is a container image without a unikernel"},
		"no layers":            {container{}, Unusable, "it is a container image without a unikernel"},
		"for qemu":             {container{annotations: notes("/kernel", "qemu", ""), layers: [][]byte{layer}}, Unusable, `the unikernel in it is for "qemu": only spt and hvt run here`},
		"for nobody":           {container{annotations: map[string]string{uruncBinary: "x"}, layers: [][]byte{layer}}, Unusable, `is for ""`},
		"no such file":         {container{annotations: notes("/other", "hvt", ""), layers: [][]byte{layer}}, Invalid, `there is no file "/other" in it`},
		"the root":             {container{annotations: notes("/..", "hvt", ""), layers: [][]byte{layer}}, Invalid, "it does not say in which file the unikernel is"},
		"removed":              {container{annotations: with, layers: [][]byte{layer, archive(t, entry{name: "unikernel/.wh.net.hvt"})}}, Invalid, "there is no file"},
		"removed with all":     {container{annotations: with, layers: [][]byte{layer, archive(t, entry{name: "unikernel/.wh..wh..opq"})}}, Invalid, "there is no file"},
		"removed above":        {container{annotations: with, layers: [][]byte{layer, archive(t, entry{name: ".wh.unikernel"})}}, Invalid, "there is no file"},
		"a symbolic link":      {container{annotations: with, layers: [][]byte{layer, archive(t, entry{name: "unikernel/net.hvt", kind: tar.TypeSymlink, link: "/etc/shadow"})}}, Invalid, "is no file, but a link, a directory or a device"},
		"a hard link":          {container{annotations: with, layers: [][]byte{archive(t, entry{name: "unikernel/net.hvt", kind: tar.TypeLink, link: "x"})}}, Invalid, "is no file"},
		"a device":             {container{annotations: with, layers: [][]byte{archive(t, entry{name: "unikernel/net.hvt", kind: tar.TypeBlock})}}, Invalid, "is no file"},
		"too large":            {container{annotations: with, layers: [][]byte{archive(t, entry{name: "unikernel/net.hvt", data: strings.Repeat("x", 1<<20+1)})}}, Invalid, "has 1048577 bytes: at most 1048576 are possible"},
		"too much before it":   {container{annotations: with, layers: [][]byte{large}}, Invalid, "a layer of it unpacks to more than is allowed"},
		"too much, by zstd":    {container{annotations: with, layers: [][]byte{large}, zstd: true}, Invalid, "a layer of it unpacks to more than is allowed"},
		"no archive":           {container{annotations: with, layers: [][]byte{randomBytes(5000)}}, Invalid, "a layer of it cannot be unpacked"},
		"cut off":              {container{annotations: with, layers: [][]byte{archive(t, entry{name: "unikernel/net.hvt", data: strings.Repeat("x", 9000)})[:5000]}}, Invalid, "a layer of it cannot be unpacked"},
		"no JSON":              {container{layers: [][]byte{archive(t, entry{name: "urunc.json", data: "{"})}}, Invalid, "its /urunc.json is no JSON that we understand"},
		"JSON of other things": {container{layers: [][]byte{archive(t, entry{name: "urunc.json", data: `{"com.urunc.unikernel.binary": 7}`})}}, Unusable, "its /urunc.json does not say where the unikernel is"},
		"much JSON":            {container{layers: [][]byte{archive(t, entry{name: "urunc.json", data: strings.Repeat(" ", maxNotes+1)})}}, Invalid, "at most 65536 are possible"},
		"odd arguments":        {container{annotations: with, config: v1.Config{Cmd: []string{"a\x00b"}}, layers: [][]byte{layer}}, Invalid, "argument 1 is no text"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := c.container.put(t, reference(t, "oci://"+host+"/urunc"))
			client := newClient(t, Options{MaxImage: 1 << 20})
			client.unpacked = 2 << 20
			a, err := client.Resolve(t.Context(), r)
			var got []byte
			if err == nil {
				got, err = client.Fetch(t.Context(), a, a.Targets[0])
			}
			require.ErrorContains(t, err, c.want)
			requireKind(t, err, c.kind)
			require.Nil(t, got)
		})
	}
}

// TestManyFiles: there is a bound, also for small ones.
func TestManyFiles(t *testing.T) {
	block := archive(t, entry{name: "x"})[:512]
	many := bytes.NewReader(bytes.Repeat(block, maxEntries+1))
	err := search(many, kernel, 1, io.Discard)
	require.ErrorContains(t, err, "there are more than 131072 files in it")
}

// TestIndexesOfSeveralKinds: other platforms are left alone, and a unikernel is found beside them.
func TestIndexesOfSeveralKinds(t *testing.T) {
	host := inMemory(t)
	client := newClient(t, Options{})
	r := reference(t, "oci://"+host+"/mixed")
	s, err := client.open(t.Context(), r, push)
	require.NoError(t, err)
	ours, err := s.pushImage(t.Context(), web[1])
	require.NoError(t, err)
	_, linux := container{layers: [][]byte{archive(t, entry{name: "bin/sh"})}}.put(t, reference(t, "oci://"+host+"/mixed:linux"))
	linux.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	_, hvt := container{annotations: notes(kernel, "hvt", ""), layers: [][]byte{archive(t, entry{name: "unikernel/net.hvt", data: "image"})}}.put(t, reference(t, "oci://"+host+"/mixed:hvt"))
	hvt.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	arm := v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: 5, Digest: linux.Digest, Platform: &v1.Platform{OS: "linux", Architecture: "riscv64"}}
	attestation := linux
	attestation.Annotations = map[string]string{referenceTypeNote: "attestation-manifest"}
	attestation.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}

	index := func(list ...v1.Descriptor) Reference {
		d, err := s.pushManifest(t.Context(), "latest", types.OCIImageIndex, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: list})
		require.NoError(t, err)
		return r.At(d.Digest.String())
	}
	a, err := client.Resolve(t.Context(), index(linux, arm, attestation, ours))
	require.NoError(t, err)
	require.Equal(t, Albatross, a.Format)
	require.Len(t, a.Targets, 1)
	require.Equal(t, []string{"linux/riscv64", "linux/amd64"}, a.Others)
	got, err := client.Fetch(t.Context(), a, a.Targets[0])
	require.NoError(t, err)
	require.Equal(t, web[1].Contents, got)

	a, err = client.Resolve(t.Context(), index(arm, attestation, hvt))
	require.NoError(t, err)
	require.Equal(t, Urunc, a.Format)
	require.Equal(t, []string{"linux/riscv64"}, a.Others)

	_, err = client.Resolve(t.Context(), index(arm, attestation))
	require.ErrorContains(t, err, "there is no unikernel for amd64 or arm64 in it")
	_, err = client.Resolve(t.Context(), index(linux))
	requireKind(t, err, Unusable)
	many := make([]v1.Descriptor, maxTargets+1)
	for i := range many {
		many[i] = ours
	}
	_, err = client.Resolve(t.Context(), index(many...))
	require.ErrorContains(t, err, "its index lists more than 16 unikernels")
	many = make([]v1.Descriptor, maxManifests+1)
	for i := range many {
		many[i] = arm
	}
	_, err = client.Resolve(t.Context(), index(many...))
	require.ErrorContains(t, err, "its index lists 257 images")

	alone := ours.Digest.String()
	a, err = client.Resolve(t.Context(), Reference{Registry: host, Repository: "mixed", Digest: alone})
	require.NoError(t, err)
	require.Equal(t, "spt", a.Targets[0].Name)
}
