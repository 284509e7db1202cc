package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/test/guests"
)

// The flags of segments.
const (
	flagsText      = 5
	flagsConstants = 4
	flagsData      = 6
)

// large is an image with much in it: the guest of that name, with more segments.
type large struct {
	target   string
	image    []byte
	base     uint64 // where the first segment may be
	segments []guests.Segment
}

func newLarge(t testing.TB, target string, segments func(base uint64) []guests.Segment) large {
	t.Helper()
	small := guests.Image("large", target)
	i, err := image.Read(bytes.NewReader(small), int64(len(small)))
	require.NoError(t, err)
	l := large{target: target, base: i.End, segments: segments(i.End)}
	l.image = guests.Grow(small, l.segments...)
	return l
}

// write puts the image into a file, which is shared if nobody may write to it.
func (l large) write(t testing.TB, mode os.FileMode) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "large."+l.target)
	require.NoError(t, os.WriteFile(path, l.image, 0o600))
	require.NoError(t, os.Chmod(path, mode))
	return path
}

// checksum is what the guest prints, with one byte of memory changed if at is not 0.
func (l large) checksum(t *testing.T, at uint64) string {
	t.Helper()
	i, err := image.Read(bytes.NewReader(l.image), int64(len(l.image)))
	require.NoError(t, err)
	memory := make([]byte, i.End-l.base)
	for _, s := range l.segments {
		copy(memory[s.Address-l.base:], s.Contents)
	}
	if at != 0 {
		memory[at-l.base] = 255
	}
	sum := uint64(0)
	for ; len(memory) > 0; memory = memory[8:] {
		sum = (sum ^ binary.LittleEndian.Uint64(memory)) * 0x100000001b3
	}
	return fmt.Sprintln(sum)
}

// numbered are contents that are nowhere zero and nowhere the same.
func numbered(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(1 + (i+i>>8)%251)
	}
	return b
}

const page = image.PageSize

// mixed are segments that begin and end in pages or not, with gaps, zeroed ends, and places in
// the file that cannot be mapped.
func mixed(base uint64) []guests.Segment {
	return []guests.Segment{
		{Address: base, Contents: numbered(3 * page), Flags: flagsText},
		{Address: base + 3*page + 100, Contents: numbered(4*page + 50), Flags: flagsConstants},
		{Address: base + 10*page, Contents: numbered(2*page + 7), MemorySize: 5 * page, Flags: flagsData},
		{Address: base + 16*page, Contents: numbered(2 * page), Flags: flagsConstants, Odd: true},
		{Address: base + 20*page + 8, Contents: numbered(16), Flags: flagsData},
		{Address: base + 21*page, Contents: numbered(page + 1), MemorySize: 3 * page, Flags: flagsConstants},
	}
}

// forTargets runs a test for each target that this machine can run.
func forTargets(t *testing.T, test func(t *testing.T, target string)) {
	for _, target := range guests.Targets() {
		t.Run(target, func(t *testing.T) {
			if target == "hvt" {
				requireKVM(t)
			}
			test(t, target)
		})
	}
}

// mapped are the protections with which a process has a file in memory.
func mapped(t *testing.T, c *exec.Cmd, path string) (protections []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^\S+ (\S+) .* `+regexp.QuoteMeta(path)+`$`).FindAllStringSubmatch(readProc(t, c, "maps"), -1) {
		protections = append(protections, m[1])
	}
	return protections
}

// TestImagesAreShared if nobody may write to them: a guest finds the same memory in either
// case, and no page can be both written to and executed.
func TestImagesAreShared(t *testing.T) {
	shared := map[string][]string{
		"spt": {"r-xp", "r-xp", "r--p", "rw-p", "r--p"},
		"hvt": {"r--p", "r--p", "r--p", "rw-p", "r--p"}, // as this process has them; the guest executes them
	}
	forTargets(t, func(t *testing.T, target string) {
		l := newLarge(t, target, mixed)
		for mode, want := range map[os.FileMode][]string{0o444: shared[target], 0o400: shared[target], 0o644: nil, 0o600: nil, 0o420: nil} {
			path := l.write(t, mode)
			c, line := user{}.start(t, target, "--mem=4", "--", path)
			require.Equal(t, l.checksum(t, 0), line)
			require.Equal(t, want, mapped(t, c, path), "%v", mode)
			require.NotContains(t, readProc(t, c, "maps"), "wxp")
			for _, d := range descriptors(t, c) {
				require.NotEqual(t, path, d)
			}
		}
	})
}

// TestWhatAGuestWritesIsItsOwn: it changes neither the image nor another guest.
func TestWhatAGuestWritesIsItsOwn(t *testing.T) {
	forTargets(t, func(t *testing.T, target string) {
		l := newLarge(t, target, mixed)
		path, data := l.write(t, 0o444), l.base+10*page
		for _, at := range []uint64{data, data + 2*page, data + 4*page} {
			r := user{}.run(t, tender, target, "--mem=4", "--", path, "exit", "write", strconv.FormatUint(at, 10))
			require.Equal(t, result{stdout: l.checksum(t, at)}, r)
		}
		require.Equal(t, result{stdout: l.checksum(t, 0)}, user{}.run(t, tender, target, "--mem=4", "--", path, "exit"))
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(l.image, after))
	})
}

// TestSharedTextIsNotWritable, and constants neither: their first page, which is mapped, and
// their last, which is a copy.
func TestSharedTextIsNotWritable(t *testing.T) {
	forTargets(t, func(t *testing.T, target string) {
		l := newLarge(t, target, mixed)
		path := l.write(t, 0o444)
		for _, at := range []uint64{0x100000, l.base, l.base + 4*page, l.base + 7*page, l.base + 16*page} {
			r := user{}.run(t, tender, target, "--mem=4", "--", path, "exit", "write", strconv.FormatUint(at, 10))
			if target == "hvt" {
				requireDeath(t, r, "host/guest translation fault", fmt.Sprintf("%#x", at))
			} else {
				require.Equal(t, signalled(syscall.SIGSEGV), r, "%#x", at)
			}
		}
	})
}

// TestAnImageThatIsCutShort changes no guest, if anybody may write to it: the guest has a copy.
func TestAnImageThatIsCutShort(t *testing.T) {
	forTargets(t, func(t *testing.T, target string) {
		l := newLarge(t, target, mixed)
		path := l.write(t, 0o644)
		c := user{}.command(t, tender, target, "--mem=4", "--", path, "pages", "again")
		pipe, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
		output := bufio.NewReader(pipe)
		line, err := output.ReadString('\n')
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path, 0))

		before, err := unix.IoctlGetInt(int(pipe.(*os.File).Fd()), unix.TIOCINQ) // in the pipe
		require.NoError(t, err)
		before += output.Buffered()
		for seen := 0; seen <= before+len(line); seen += len(line) {
			again, err := output.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, line, again)
		}
	})
}

// TestImagesOfAFileSystemWithoutExecutables run all the same.
func TestImagesOfAFileSystemWithoutExecutables(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount")
	}
	runtime.LockOSThread() // and never unlocked, so that the namespace ends with the test
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS))
	require.NoError(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	dir := t.TempDir()
	require.NoError(t, unix.Mount("none", dir, "tmpfs", unix.MS_NOEXEC, ""))
	defer func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) }()
	for _, target := range guests.Targets() {
		if target == "hvt" && guests.KVM() != nil {
			continue
		}
		l := newLarge(t, target, mixed)
		path := filepath.Join(dir, target)
		require.NoError(t, os.WriteFile(path, l.image, 0o444))
		c, line := user{}.start(t, target, "--mem=4", "--", path)
		require.Equal(t, l.checksum(t, 0), line)
		require.Equal(t, target == "hvt", strings.Contains(readProc(t, c, "maps"), path))
	}
}
