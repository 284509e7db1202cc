package spt

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/landlock"
)

// become is a tender whose guest has neither stub nor filter.
func become() {
	runtime.LockOSThread()
	g := &Guest{executable: -1, timer: -1, epoll: -1}
	err := g.openEvents()
	if err == nil {
		g.executable, err = openFileProgram()
	}
	if err == nil {
		err = g.Exec([]string{"guest"})
	}
	fmt.Println(err)
	unix.Exit(1)
}

// openFileProgram returns a program that tries to open a file which everybody may read, and
// exits with the error.
func openFileProgram() (fd int, err error) {
	const base, codeAt = 0x100000, elfHeaderSize + programHeaderSize
	const atFDCWD = 1<<64 - 100
	path := "/proc/version\x00"
	var a assembler
	for range 2 { // once more when it is known where the path is
		at := base + codeAt + len(a.code)
		a.code = nil
		a.try(unix.SYS_OPENAT, atFDCWD, uint64(at), unix.O_RDONLY)
		a.exitWithError()
	}
	size := uint64(codeAt + len(a.code) + len(path))
	le := binary.LittleEndian
	p := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	p = le.AppendUint16(p, 2) // executable
	p = le.AppendUint16(p, image.Host.Machine())
	p = le.AppendUint32(p, 1)
	p = le.AppendUint64(p, base+codeAt)
	p = le.AppendUint64(p, elfHeaderSize) // program header
	p = append(p, make([]byte, 12)...)
	p = le.AppendUint16(p, elfHeaderSize)
	p = le.AppendUint16(p, programHeaderSize)
	p = le.AppendUint16(p, 1)
	p = append(p, make([]byte, 6)...)
	p = le.AppendUint32(p, 1) // load
	p = le.AppendUint32(p, 5) // to read and execute
	for _, n := range []uint64{0, base, base, size, size, pageSize} {
		p = le.AppendUint64(p, n)
	}
	return inMemory(append(append(p, a.code...), path...))
}

// inMemory returns a file that is not open to write, so that it can be executed.
func inMemory(contents []byte) (int, error) {
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.Write(fd, contents); err != nil {
		return -1, err
	}
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// TestAGuestHasNoFileSystem, also if there is no filter.
func TestAGuestHasNoFileSystem(t *testing.T) {
	if landlock.Version() == 0 {
		t.Skip("this kernel has no Landlock, or it is off")
	}
	c := exec.Command("/proc/self/exe", "become")
	c.Env = []string{"GORACE=atexit_sleep_ms=0"}
	out, err := c.CombinedOutput()
	require.Empty(t, string(out))
	require.Error(t, err)
	require.Equal(t, int(unix.EACCES), c.ProcessState.ExitCode())
	_, err = os.ReadFile("/proc/version")
	require.NoError(t, err)
}
