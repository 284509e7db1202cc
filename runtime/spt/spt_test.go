package spt

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"albatross/runtime/solo5"
	"albatross/test/guests"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "become" {
		become()
	}
	goleak.VerifyTestMain(m)
}

// openFiles lists the descriptors of this process that lead to the kind of
// file that Prepare opens.
func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	var open []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open = append(open, target)
		}
	}
	return open
}

// start executes a guest without a tender in between, as a daemon may.
func start(t testing.TB, g *Guest, output *os.File) (pid int) {
	t.Helper()
	files := []uintptr{0, output.Fd(), 2}
	for _, fd := range g.Descriptors() {
		files = append(files, uintptr(fd))
	}
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", g.Executable()),
		[]string{"guest"}, &syscall.ProcAttr{Files: files})
	require.NoError(t, err)
	return pid
}

func TestStartWithoutTender(t *testing.T) {
	g, err := Prepare(solo5.Config{
		Image: guests.Write(t, t.TempDir(), "hello", "spt"), Memory: 2 << 20,
		Arguments: []string{"--once"},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, g.Close()) }()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _ = r.Close() }()
	pid := start(t, g, w)
	require.NoError(t, w.Close())

	output, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "hello from albatross: --once\n", string(output))
	var status syscall.WaitStatus
	_, err = syscall.Wait4(pid, &status, 0, nil)
	require.NoError(t, err)
	require.Zero(t, status.ExitStatus())
}

func TestPrepareLeavesNothingOpen(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	require.NoError(t, os.WriteFile(disk, make([]byte, 1024), 0o600))
	c := solo5.Config{
		Image: guests.Write(t, dir, "disk", "spt"), Memory: 2 << 20,
		Blocks: []solo5.Block{{Name: "storage", Path: disk}},
	}
	before := openFiles(t)
	g, err := Prepare(c)
	require.NoError(t, err)
	require.NoError(t, g.Close())
	require.ElementsMatch(t, before, openFiles(t))

	c.Arguments = []string{string(make([]byte, 10000))} // fails late
	_, err = Prepare(c)
	require.ErrorContains(t, err, "cannot pass arguments")
	require.ElementsMatch(t, before, openFiles(t))
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, make([]byte, size), 0o600))
		return path
	}
	hello := guests.Write(t, dir, "hello", "spt")
	disk := guests.Write(t, dir, "disk", "spt")
	net := guests.Write(t, dir, "net", "spt")
	block := func(path string, sector uint16) []solo5.Block {
		return []solo5.Block{{Name: "storage", Path: path, SectorSize: sector}}
	}
	old := bytes.Replace(guests.Image("hello", "spt"),
		[]byte("ABI1Solo5\x00\x00\x00\x02\x00\x00\x00\x02"), []byte("ABI1Solo5\x00\x00\x00\x02\x00\x00\x00\x01"), 1)
	require.NoError(t, os.WriteFile(dir+"/old", old, 0o600))
	require.NoError(t, syscall.Mkfifo(dir+"/fifo", 0o600))

	for _, c := range []struct {
		config solo5.Config
		want   string
	}{
		{solo5.Config{Image: dir + "/nothing"}, "cannot run image: nothing: Could not open: no such file or directory"},
		{solo5.Config{Image: dir}, "cannot read image: not a regular file"},
		{solo5.Config{Image: dir + "/fifo"}, "cannot read image: not a regular file"},
		{solo5.Config{Image: write("empty", 0)}, "cannot read image: truncated: shorter than an ELF header"},
		{solo5.Config{Image: write("zeros", 100)}, "cannot read image: not an ELF file"},
		{solo5.Config{Image: guests.Write(t, dir, "hello", "hvt")}, "cannot run image: Executable is not for the solo5-spt target, but for hvt"},
		{solo5.Config{Image: dir + "/old"}, "cannot run image: Executable requests unsupported ABI version 1, not 2"},

		{solo5.Config{Image: hello, Memory: 1 << 20}, "cannot fit image into memory: it needs 2 MB, there are 1"},
		{solo5.Config{Image: hello, Memory: stubBase + 1<<20},
			fmt.Sprintf("cannot use %d MB of memory: Maximum guest memory size (%d MB) exceeded", stubBase>>20+1, stubBase>>20)},
		{solo5.Config{Image: hello, Memory: 2<<20 + 1}, "internal error: memory of 2097153 bytes is not a number of pages"},

		{solo5.Config{Image: hello, Blocks: block("x", 0)},
			"cannot attach devices: Resource not declared in manifest: 'storage'"},
		{solo5.Config{Image: disk, Blocks: append(block("x", 0), block("y", 0)...)},
			"cannot attach devices: 'storage' is attached twice"},
		{solo5.Config{Image: disk},
			"cannot attach devices: Device 'storage' of type BLOCK_BASIC declared but not attached. " +
				"All declared devices must be attached. See --help for syntax"},
		{solo5.Config{Image: net},
			"cannot attach devices: Device 'service' of type NET_BASIC declared but not attached. " +
				"All declared devices must be attached. See --help for syntax"},
		{solo5.Config{Image: disk, Blocks: block(dir+"/gone", 0)},
			"cannot attach block device storage: Could not open block device: gone: no such file or directory"},
		{solo5.Config{Image: disk, Blocks: block("/dev/null", 0)},
			"cannot attach block device storage: null: neither a file nor a block device"},
		{solo5.Config{Image: disk, Blocks: block(write("none", 0), 0)},
			"cannot attach block device storage: none: Backing storage must be at least 1 block (512 bytes) in size"},
		{solo5.Config{Image: disk, Blocks: block(write("odd", 1000), 0)},
			"cannot attach block device storage: odd: Backing storage size must be block aligned: 1000 bytes are no number of sectors of 512"},
		{solo5.Config{Image: disk, Blocks: block(write("small", 512), 1024)},
			"cannot attach block device storage: small: Backing storage size must be block aligned: 512 bytes are no number of sectors of 1024"},
		{solo5.Config{Image: disk, Blocks: block(dir+"/small", 256)},
			"cannot attach block device storage: Block size must be a multiple of 2 greater than or equal 512: 256 is no such power of two"},
		{solo5.Config{Image: disk, Blocks: block(dir+"/small", 513)},
			"cannot attach block device storage: Block size must be a multiple of 2 greater than or equal 512: 513 is no such power of two"},
		{solo5.Config{Image: net, Networks: []solo5.Network{{Name: "service", Interface: "albanothere"}}},
			"cannot attach network service: Could not attach interface: albanothere: no such device"},
		{solo5.Config{Image: net, Networks: []solo5.Network{{Name: "service", Interface: "much-too-long-a-name"}}},
			"cannot attach network service: Could not attach interface: much-too-long-a-name: invalid argument"},
		{solo5.Config{Image: net, Networks: []solo5.Network{{Name: "service", Interface: "%d"}}},
			"cannot attach network service: Could not attach interface: %d: no such device"},
	} {
		if c.config.Memory == 0 {
			c.config.Memory = 2 << 20
		}
		_, err := Prepare(c.config)
		require.EqualError(t, err, c.want)
	}
}

// More memory than the machine has is refused before the process is replaced,
// where a reason can still be given.
func TestImpossibleMemoryIsRefused(t *testing.T) {
	mode, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err != nil || string(mode) == "1\n" {
		t.Skip("this machine promises any amount of memory")
	}
	_, err = Prepare(solo5.Config{Image: guests.Write(t, t.TempDir(), "hello", "spt"), Memory: stubBase / 2})
	require.EqualError(t, err, fmt.Sprintf("cannot reserve %d MB of memory: cannot allocate memory", stubBase>>21))
}

// BenchmarkStart is the whole life of a unikernel that prints a line.
func BenchmarkStart(b *testing.B) {
	image := guests.Write(b, b.TempDir(), "hello", "spt")
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	require.NoError(b, err)
	defer func() { _ = null.Close() }()
	for b.Loop() {
		g, err := Prepare(solo5.Config{Image: image, Memory: 32 << 20, Arguments: []string{"--once"}})
		require.NoError(b, err)
		pid := start(b, g, null)
		var status syscall.WaitStatus
		_, err = syscall.Wait4(pid, &status, 0, nil)
		require.NoError(b, err)
		require.NoError(b, g.Close())
	}
}
