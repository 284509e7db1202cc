package history

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"albatross/messages"
)

// remembers checks that a log which finds a file with some contents reads these lines from it, and
// continues with "next" after them.
func (w *world) remembers(want []string, contents []byte) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(w.file(), contents, 0o600))
	w.restart()
	w.print("next\n")
	require.Equal(w.t, want, texts(w.remembered()))
	w.print("and\n")
	w.restart()
	require.Equal(w.t, append(want, "and"), texts(w.remembered()))
	require.Empty(w.t, w.faults, "the log has nothing to report")
	w.log.Close()
}

// At whichever byte a file has been cut off, the rest counts.
func TestAFileThatIsCutOff(t *testing.T) {
	w := newWorld(t)
	texts := []string{"one\n", "two", " and more\nthree\n"}
	var frames []byte
	for _, text := range texts {
		frames = appendFrame(frames, []byte(text), epoch)
	}
	for size := range len(frames) + 1 {
		printed, left := "", size
		for _, text := range texts {
			left -= headerSize
			printed += text[:min(len(text), max(0, left))]
			left -= len(text)
		}
		w.remembers(split(printed+"next"), frames[:size])
	}
}

func TestDamage(t *testing.T) {
	good := appendFrame(appendFrame(nil, []byte("one\n"), epoch), []byte("two\n"), epoch)
	long := appendHeader(nil, 1<<31, epoch)
	for name, tc := range map[string]struct {
		contents []byte
		lines    []string
	}{
		"empty":                      {nil, nil},
		"garbage":                    {[]byte("this is no history, but it is long enough for one"), nil},
		"zeros":                      {make([]byte, 10_000), nil},
		"garbage behind":             {append(bytes.Clone(good), "garbage that is longer than a header"...), []string{"one", "two"}},
		"zeros behind":               {append(bytes.Clone(good), make([]byte, 4096)...), []string{"one", "two"}},
		"a header in the middle":     {append(append(bytes.Clone(good), make([]byte, 20)...), good...), []string{"one", "two"}},
		"a byte changed in a header": {flipped(good, headerSize+4+3), []string{"one"}},
		"a byte changed in a line":   {flipped(good, headerSize+1), []string{"o\x91e", "two"}},
		"a frame that claims 2 GB":   {append(long, "one\n"...), []string{"one"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.remembers(append(tc.lines, "next"), tc.contents)
		})
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0xff
	return b
}

func TestALargeFile(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, os.WriteFile(w.file(), bytes.Repeat(appendFrame(nil, []byte("one\n"), epoch), maxRead/10), 0o600))
	require.Len(t, w.remembered(), Lines)
	require.Less(t, w.size(), int64(maxSize))
}

// A daemon may be killed just before it replaces a file.
func TestAFileThatWasToBeReplaced(t *testing.T) {
	w := newWorld(t)
	var frames []byte
	for i := 0; len(frames) < maxSize; i++ {
		frames = appendFrame(frames, bytes.Repeat([]byte{'a' + byte(i)}, chunk), epoch)
	}
	require.Less(t, len(frames), maxRead)
	require.NoError(t, os.WriteFile(w.file(), frames, 0o600))
	w.restart()
	require.NotEmpty(t, w.remembered())
	require.Less(t, w.size(), int64(maxSize), "or it could become larger than what is read")
	w.print("\n" + strings.Repeat("next\n", chunk/5) + "last\n")
	require.Equal(t, "last", w.remembered()[Lines-1].Text)
}

func TestAHugeFile(t *testing.T) {
	w := newWorld(t)
	w.print("one\n")
	require.NoError(t, os.Truncate(w.file(), 1<<40))
	w.restart()
	require.Equal(t, []string{"one"}, texts(w.remembered()))
	require.Less(t, w.size(), int64(100))
}

// A file that is not regular stays unchanged: the console remembers in memory.
func TestWhatIsNoFileIsLeftAlone(t *testing.T) {
	for name, make := range map[string]func(w *world, target string) error{
		"link":       func(w *world, target string) error { return os.Symlink(target, w.file()) },
		"loose link": func(w *world, target string) error { return os.Symlink(target+".none", w.file()) },
		"directory":  func(w *world, _ string) error { return os.Mkdir(w.file(), 0o700) },
		"pipe":       func(w *world, _ string) error { return unix.Mkfifo(w.file(), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			target := t.TempDir() + "/target"
			contents := appendFrame(nil, []byte("of somebody else\n"), epoch)
			require.NoError(t, os.WriteFile(target, contents, 0o600))
			require.NoError(t, make(w, target))
			before, err := os.Lstat(w.file())
			require.NoError(t, err)

			require.Empty(t, w.remembered())
			w.follow()
			w.print("one\n", "two\n")
			require.Equal(t, []string{"one", "two"}, texts(w.heard()))
			require.False(t, w.log.Sync())
			require.False(t, w.log.Sync())
			require.Equal(t, []string{"one", "two"}, texts(w.remembered()))
			w.log.Close()
			require.Len(t, w.faults, 1, "reported once")
			require.Contains(t, w.faults[0], "cannot write history of console :hello, which is kept in memory: ")

			after, err := os.Lstat(w.file())
			require.NoError(t, err)
			require.Equal(t, before.Mode(), after.Mode())
			now, err := os.ReadFile(target)
			require.NoError(t, err)
			require.Equal(t, contents, now)
			require.NoFileExists(t, target+".none")
		})
	}
}

// Lines of a file that could not be opened are not lost once it can be opened again.
func TestMemoryIsReunitedWithTheFile(t *testing.T) {
	w := newWorld(t)
	w.print("one\ntw")
	w.log.Close()
	require.NoError(t, os.Rename(w.path, w.path+".hidden"))
	w.log = w.newLog()
	w.print("o\nthree\n")
	require.False(t, w.log.Sync())
	require.Equal(t, []string{"o", "three"}, texts(w.remembered()))
	require.NoError(t, os.Rename(w.path+".hidden", w.path))
	require.True(t, w.log.Sync())
	require.Equal(t, []string{"one", "two", "three"}, texts(w.remembered()))
	w.print("four\n")
	w.restart()
	require.Equal(t, []string{"one", "two", "three", "four"}, texts(w.remembered()))
	require.Len(t, w.faults, 1)
}

// The directory may be removed while a file in it is open, too.
func TestALogOutlivesItsDirectory(t *testing.T) {
	w := newWorld(t)
	w.print("one\n")
	require.NoError(t, os.RemoveAll(w.path))
	var model tail
	model.feed([]byte("one\n"), epoch)
	part := strings.Repeat("x\n", chunk/2)
	for range 2 * maxSize / chunk {
		w.print(part)
		model.feed([]byte(part), epoch)
	}
	require.Equal(t, model.consoleLines(), w.remembered())
	require.False(t, w.log.Sync())
	require.NoError(t, os.Mkdir(w.path, 0o700))
	require.True(t, w.log.Sync())
	w.restart()
	require.Equal(t, model.consoleLines(), w.remembered())
}

// Where splice is not possible, bytes are copied, and the log reports that once. Splice does not
// work from a socket: here, that stands for a file to which it does not.
func TestAFileThatCannotBeSplicedTo(t *testing.T) {
	w := newWorld(t)
	w.print("one\n")
	w.follow()
	pipe, writer := w.pipe, w.writer
	defer func() { w.pipe, w.writer = pipe, writer }()
	w.pipe, w.writer = sockets(t)
	w.print("two\n", "three\n")
	require.Equal(t, []string{"two", "three"}, texts(w.heard()))
	require.Len(t, w.faults, 1)
	require.Contains(t, w.faults[0], "cannot write console history in one step: splice: invalid argument; ")
	w.log.Close()
	w.log = w.newLog()
	w.print("four\n")
	require.Equal(t, []string{"one", "two", "three", "four"}, texts(w.remembered()))
	require.Len(t, w.faults, 1)
}

func sockets(t *testing.T) (*Pipe, *os.File) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	one, other := os.NewFile(uintptr(fds[0]), "one"), os.NewFile(uintptr(fds[1]), "other")
	pipe, err := newPipe(one)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, errors.Join(pipe.Close(), other.Close())) })
	return pipe, other
}

func TestADirectoryThatCannotBeMade(t *testing.T) {
	path := t.TempDir() + "/file"
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err := Open(path+"/console", time.Now)
	require.ErrorContains(t, err, "cannot open console history "+path+"/console: ")
}

// TestAnyFile opens a log of any contents, and prints after them.
func TestAnyFile(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(r *rapid.T) {
		var contents []byte
		for i := range rapid.IntRange(0, 4).Draw(r, "frames") {
			contents = appendFrame(contents, []byte(output().Draw(r, "raw")), epoch.Add(time.Duration(i)))
		}
		for range rapid.IntRange(0, 3).Draw(r, "changes") {
			if len(contents) == 0 {
				break
			}
			at := rapid.IntRange(0, len(contents)-1).Draw(r, "at")
			switch rapid.IntRange(0, 2).Draw(r, "how") {
			case 0:
				contents = contents[:at]
			case 1:
				contents = flipped(contents, at)
			case 2:
				contents = append(contents, contents[at:]...)
			}
		}
		require.NoError(r, os.WriteFile(w.file(), contents, 0o600))
		w.restart()
		before := w.remembered()
		w.print("\nnext\n")
		w.restart()
		after := w.remembered()
		require.Equal(r, before, append([]messages.ConsoleLine(nil), after[:len(before)]...))
		require.Equal(r, "next", after[len(after)-1].Text)
		require.LessOrEqual(r, len(after), len(before)+2)
	})
	require.Empty(t, w.faults)
}

// TestFullDisk prints while there is no room: the unikernel does not wait, no line is missing, and
// all lines are on disk when there is room again.
func TestFullDisk(t *testing.T) {
	mount := smallDisk(t, "1m")
	for name, room := range map[string]int{"none": 0, "a page": 4096, "a few": 3 * 4096} {
		t.Run(name, func(t *testing.T) {
			w := newWorldIn(t, mount)
			defer os.RemoveAll(w.path)
			w.follow()
			w.print("before\nun")
			fill(t, mount, room)
			var followed []messages.ConsoleLine
			for i := range 400 {
				w.print(fmt.Sprintf("finished %d %s\nun", i, strings.Repeat("x", 100)))
				w.clock.Add(1)
				followed = append(followed, w.heard()...)
			}
			require.False(t, w.log.Sync())
			require.Equal(t, followed, w.remembered())
			require.Len(t, followed, 401)
			require.Len(t, w.faults, 1)
			require.Contains(t, w.faults[0], "no space left on device")

			require.NoError(t, os.Remove(mount+"/filler"))
			require.True(t, w.log.Sync())
			w.print("touched\n")
			followed = append(followed, w.heard()...)
			w.restart()
			require.Equal(t, followed, w.remembered())
			require.Len(t, w.faults, 1)
		})
	}
}

// A fault that was over is reported again.
func TestADiskThatIsFullAgain(t *testing.T) {
	mount := smallDisk(t, "1m")
	w := newWorldIn(t, mount)
	for i := range 3 {
		fill(t, mount, 0)
		w.print(strings.Repeat("x", 5000) + "\n")
		require.False(t, w.log.Sync())
		require.Len(t, w.faults, i+1)
		require.NoError(t, os.Remove(mount+"/filler"))
		require.True(t, w.log.Sync())
	}
}

// Lines that were on disk are there after a crash. The next daemon frees room where it can.
func TestFullDiskAtTheEnd(t *testing.T) {
	mount := smallDisk(t, "1m")
	w := newWorldIn(t, mount)
	w.print("one\n")
	fill(t, mount, 0)
	w.print(strings.Repeat("x", 5000)+"\n", "three\n")
	w.restart()
	require.Equal(t, "one", w.remembered()[0].Text)
	w.print("\nfour\n" + strings.Repeat("y", 10_000) + "\n")
	require.NoError(t, os.Remove(mount+"/filler"))
	w.restart()
	lines := texts(w.remembered())
	require.Equal(t, []string{"four", strings.Repeat("y", maxLine) + truncated}, lines[len(lines)-2:])
}

// fill leaves only some room on a disk.
func fill(t testing.TB, mount string, room int) {
	t.Helper()
	f, err := os.Create(mount + "/filler")
	require.NoError(t, err)
	defer f.Close()
	var disk unix.Statfs_t
	require.NoError(t, unix.Statfs(mount, &disk))
	size := int64(disk.Bavail) * disk.Bsize
	require.NoError(t, unix.Fallocate(int(f.Fd()), 0, 0, size))
	require.NoError(t, f.Truncate(size-int64(room)))
}

// smallDisk mounts a file system in memory.
func smallDisk(t testing.TB, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700,size="+size))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}
