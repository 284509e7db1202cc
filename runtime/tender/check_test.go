package tender

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/image"
)

// TestWhatSolo5DoesNotUnderstand: the names and paths of its tenders are those of
// sscanf.
func TestWhatSolo5DoesNotUnderstand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with space")
	require.NoError(t, os.Mkdir(dir, 0o700))
	file := filepath.Join(dir, "disk")
	require.NoError(t, os.WriteFile(file, make([]byte, 512), 0o600))
	named := func(name string) *image.Image {
		return &image.Image{Target: image.SPT, Devices: []image.Device{{Name: name, Kind: image.Net}}}
	}
	disk := Guest{Memory: 1, Blocks: []Block{{Name: "disk", File: file}}}
	for title, tc := range map[string]struct {
		image *image.Image
		guest Guest
		says  string
	}{
		"letters and digits": {named("eth0"), Guest{Memory: 1}, ""},
		"a hyphen":           {named("my-net"), Guest{Memory: 1}, `cannot attach net "my-net": Solo5's tenders, of which one is installed here, understand names of letters and digits only`},
		"a space":            {named("disk"), disk, "cannot attach block device disk: there is a space in the path of its file, which Solo5's tenders do not understand"},
	} {
		t.Run(title, func(t *testing.T) {
			require.NoError(t, Tender{Builtin: true}.Check(tc.image, tc.guest), "our own understands it")
			err := Tender{}.Check(tc.image, tc.guest)
			if tc.says == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tc.says)
		})
	}
}

// TestMoreMemoryThanSolo5Addresses is refused before its tender does.
func TestMoreMemoryThanSolo5Addresses(t *testing.T) {
	i := &image.Image{Target: image.HVT}
	require.EqualError(t, Tender{}.Check(i, Guest{Memory: 4098}), "cannot use 4098 MB of memory: the tender of Solo5 that is installed here can address 4096 (the host's operator can choose our own by --tender=builtin)")
	for tender, memory := range map[*Tender]int{{}: 4097, {Builtin: true}: 4098} {
		if err := tender.Check(i, Guest{Memory: memory}); err != nil {
			require.ErrorContains(t, err, "KVM")
		}
	}
	require.NoError(t, Tender{}.Check(&image.Image{Target: image.SPT}, Guest{Memory: 4098}))
}

// TestErrorsTellNoPaths of the host, which no tenant needs.
func TestErrorsTellNoPaths(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	i := &image.Image{Target: image.SPT}
	g := Guest{Memory: 1, Blocks: []Block{{Name: "disk", File: file}}}
	require.EqualError(t, Tender{Builtin: true}.Check(i, g), "cannot attach block device disk: no such file or directory")
	require.NoError(t, os.Mkdir(file, 0o700))
	require.EqualError(t, Tender{Builtin: true}.Check(i, g), "cannot attach block device disk: is a directory")
}

// TestWhereThereIsNoKVM: the reason is known before anything is stopped for an image that
// cannot run.
func TestWhereThereIsNoKVM(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kvm")
	require.EqualError(t, checkKVM(path), "cannot run a hvt image: this host has no KVM: no such file or directory (build the unikernel for spt)")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, checkKVM(path))
	require.EqualError(t, noKVM(fs.ErrPermission), "cannot run a hvt image: the user of the daemon may not use KVM (allow it to open /dev/kvm, or build the unikernel for spt)")
}
