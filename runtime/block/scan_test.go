package block_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/block"
)

// put makes a file as an operator would, or native albatross: it is larger than what is written to
// it.
func put(t *testing.T, path string, size int64) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(filepath.Base(path)), 0o644))
	require.NoError(t, os.Truncate(path, size))
}

// scan returns devices as "NAME SIZE", and problems without the directory, both in order.
func scan(t *testing.T, d *block.Dir, path string) (devices, problems []string) {
	t.Helper()
	found, bad, err := d.Scan()
	require.NoError(t, err)
	for _, f := range found {
		devices = append(devices, fmt.Sprint(f.Name, " ", f.Size))
	}
	for _, b := range bad {
		text, ok := strings.CutPrefix(b.Error(), "cannot use "+path+"/")
		require.True(t, ok, b)
		problems = append(problems, text)
	}
	slices.Sort(devices)
	slices.Sort(problems)
	return devices, problems
}

func TestScanOfNothing(t *testing.T) {
	d, path := open(t)
	devices, problems := scan(t, d, path)
	require.Empty(t, devices)
	require.Empty(t, problems)
	require.NoError(t, os.Remove(path))
	_, _, err := d.Scan()
	require.ErrorContains(t, err, "cannot look for block devices: ")
}

func TestScan(t *testing.T) {
	notAName := "it is not named as a block device: invalid name"
	for _, c := range []struct {
		file    string
		size    int64
		device  string
		problem string
	}{
		{":disk", megabyte, ":disk 1", ""},
		{"a:b:disk", 3 * megabyte, "a:b:disk 3", ""},
		{"a:", megabyte, "a: 1", ""},
		{":", megabyte, ": 1", ""},
		{":..", megabyte, ":.. 1", ""},
		{"tmp-:1", megabyte, "tmp-:1 1", ""},
		{":Disk", megabyte, ":disk 1", ""},
		{"A:b:DISK", megabyte, "a:b:disk 1", ""},
		{":huge", 1 << 40, ":huge 1048576", ""},
		{":zero", 0, "", "its size of 0 bytes is not one or more full MB"},
		{":odd", megabyte + 1, "", "its size of 1048577 bytes is not one or more full MB"},
		{":Small", 512, "", "its size of 512 bytes is not one or more full MB"},
		{"disk", megabyte, "", "it is not named as a block device: that would be :disk"},
		{"a:b:Disk:", megabyte, "a:b:disk: 1", ""},
		{"::disk", megabyte, "", notAName},
		{":a:disk", megabyte, "", "it is not named as a block device: that would be a:disk"},
		{"bad_name", megabyte, "", notAName},
		{":disk~", megabyte, "", notAName},
		{":dıſk", megabyte, "", notAName},
		{":-disk", megabyte, "", notAName},
		{":" + strings.Repeat("x", 64), megabyte, "", notAName},
		{"tmp_", megabyte, "", notAName},
		{"tmp_1:", megabyte, "", "it is not named as a block device: invalid path: " +
			"invalid label (only [a-zA-Z0-9-.] allowed, 1 to 63 chars)"},
		{"tmp_1x", megabyte, "", notAName},
		{"TMP_1", megabyte, "", notAName},
	} {
		t.Run(c.file, func(t *testing.T) {
			d, path := open(t)
			put(t, filepath.Join(path, c.file), c.size)
			var wantDevices, wantProblems []string
			if c.device != "" {
				wantDevices = []string{c.device}
			} else {
				wantProblems = []string{c.file + ": " + c.problem}
			}
			for range 2 {
				devices, problems := scan(t, d, path)
				require.Equal(t, wantDevices, devices)
				require.Equal(t, wantProblems, problems)
				require.Equal(t, []string{c.file}, files(t, path))
			}
		})
	}
}

func TestScanOfWhatIsNoFile(t *testing.T) {
	d, path := open(t)
	put(t, filepath.Join(path, ":disk"), megabyte)
	require.NoError(t, os.Symlink(":disk", filepath.Join(path, ":link")))
	require.NoError(t, os.Mkdir(filepath.Join(path, ":dir"), 0o700))
	require.NoError(t, os.Symlink(":disk", filepath.Join(path, "tmp_1")))
	devices, problems := scan(t, d, path)
	require.Equal(t, []string{":disk 1"}, devices)
	require.Equal(t, []string{
		":dir: it is not a regular file",
		":link: it is the same file as the block device :disk",
		"tmp_1: it is not named as a block device: invalid name",
	}, problems)
	require.Len(t, files(t, path), 4)
}

// The file of a device of native 2.5.0 keeps its name, so that 2.5.0 still finds it.
func TestDeviceInUpperCaseKeepsItsFile(t *testing.T) {
	d, path := open(t)
	put(t, filepath.Join(path, "A:Disk"), megabyte)
	devices, _ := scan(t, d, path)
	require.Equal(t, []string{"a:disk 1"}, devices)
	disk := name(t, "a:disk")
	require.Equal(t, filepath.Join(path, "A:Disk"), d.Path(disk))
	require.Equal(t, "A:Disk", string(read(t, d, disk)[:6]))

	require.NoError(t, d.Set(t.Context(), disk, strings.NewReader("new")))
	require.Equal(t, []string{"A:Disk"}, files(t, path))
	require.Equal(t, "new", string(read(t, d, disk)[:3]))
	require.ErrorIs(t, d.Create(t.Context(), disk, 1, nil), os.ErrExist)

	require.NoError(t, d.Remove(disk))
	require.Empty(t, files(t, path))
	require.NoError(t, d.Create(t.Context(), disk, 1, nil))
	require.Equal(t, []string{"a:disk"}, files(t, path))
}

func TestSeveralSpellingsOfOneName(t *testing.T) {
	for _, c := range []struct {
		sizes map[string]int64
		taken string
		bad   []string
	}{
		{map[string]int64{":Disk": megabyte, ":disk": megabyte}, ":disk", []string{":Disk: :disk is the block device of this name"}},
		{map[string]int64{":DISK": megabyte, ":diSk": megabyte, ":disk": megabyte}, ":disk", []string{
			":DISK: :disk is the block device of this name", ":diSk: :disk is the block device of this name",
		}},
		{map[string]int64{":DISK": megabyte, ":Disk": megabyte}, ":Disk", []string{":DISK: :Disk is the block device of this name"}},
		{map[string]int64{":Disk": megabyte, ":disk": 0}, ":Disk", []string{":disk: its size of 0 bytes is not one or more full MB"}},
	} {
		d, path := open(t)
		for file, size := range c.sizes {
			put(t, filepath.Join(path, file), size)
		}
		devices, problems := scan(t, d, path)
		require.Equal(t, []string{":disk 1"}, devices)
		require.Equal(t, c.bad, problems)
		require.Equal(t, filepath.Join(path, c.taken), d.Path(name(t, "disk")))
		require.Equal(t, c.taken, string(read(t, d, name(t, "disk"))[:5]))
		require.Len(t, files(t, path), len(c.sizes))
	}
}

// A scan neither reports nor removes a file that is being written.
func TestScanDuringASet(t *testing.T) {
	d, path, disk, _ := created(t)
	put(t, filepath.Join(path, "tmp_12345"), 7)
	var during []string
	err := d.Set(t.Context(), disk, io.MultiReader(strings.NewReader("new"), readerFunc(func([]byte) (int, error) {
		devices, problems := scan(t, d, path)
		require.Equal(t, []string{":disk 2"}, devices)
		require.Empty(t, problems)
		during = files(t, path)
		return 0, io.EOF
	})))
	require.NoError(t, err)
	require.Len(t, during, 2)
	require.NotContains(t, during, "tmp_12345")
	require.Equal(t, "new", string(read(t, d, disk)[:3]))
	require.Equal(t, []string{":disk"}, files(t, path))

	// Its temporary name is that of a leftover from now on.
	put(t, filepath.Join(path, during[1]), 7)
	_, problems := scan(t, d, path)
	require.Empty(t, problems)
	require.Equal(t, []string{":disk"}, files(t, path))
}

type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

// set runs as the daemon that is killed.
func set(path string) {
	d, err := block.Open(path)
	if err == nil {
		err = d.Set(context.Background(), messages.Name{Label: "disk"}, os.Stdin)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestKillDuringASetKeepsTheOldContents(t *testing.T) {
	_, path, disk, old := created(t)
	cmd := exec.Command(os.Args[0], "setter", path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	// A pipe holds 64 KB: so the rest has been read, and a part of it written.
	_, err = in.Write(random(2, megabyte))
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.Len(t, files(t, path), 2)

	d, err := block.Open(path)
	require.NoError(t, err)
	devices, problems := scan(t, d, path)
	require.Equal(t, []string{":disk 2"}, devices)
	require.Empty(t, problems)
	require.Equal(t, []string{":disk"}, files(t, path))
	same(t, old, read(t, d, disk))
	require.NoError(t, d.Set(t.Context(), disk, bytes.NewReader(nil)))
}

// TestALinkFromAnotherSpelling of the same device is no problem: native albatross finds the device
// by that.
func TestALinkFromAnotherSpelling(t *testing.T) {
	d, path := open(t)
	put(t, path+"/:Disk", 1<<20)
	require.NoError(t, os.Symlink(":Disk", path+"/:disk"))
	devices, problems := scan(t, d, path)
	require.Equal(t, []string{":disk 1"}, devices)
	require.Empty(t, problems)
}
