package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// start runs a guest until the end of the test and returns when it has printed
// its first line.
func (u user) start(t *testing.T, arguments ...string) (c *exec.Cmd, firstLine string) {
	t.Helper()
	c = u.command(t, tender, arguments...)
	output, err := c.StdoutPipe()
	require.NoError(t, err)
	// Something that must not be inherited, though whoever started us left it
	// open.
	c.ExtraFiles = []*os.File{os.Stdin, os.Stdin, os.Stdin, os.Stdin, os.Stdin}
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	firstLine, err = bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	return c, firstLine
}

// proc is the path of a file about the process.
func proc(c *exec.Cmd, name string) string {
	return fmt.Sprintf("/proc/%d/%s", c.Process.Pid, name)
}

func readProc(t *testing.T, c *exec.Cmd, name string) string {
	t.Helper()
	b, err := os.ReadFile(proc(c, name))
	require.NoError(t, err)
	return string(b)
}

func TestConfinement(t *testing.T) {
	forUsers(t, func(t *testing.T, u user) {
		c, _ := u.start(t, "--mem=32", guest("hello"), "--quiet")
		status := readProc(t, c, "status")
		assert.Contains(t, status, "\nSeccomp:\t2\n")
		assert.Contains(t, status, "\nNoNewPrivs:\t1\n")
		assert.Contains(t, status, "\nThreads:\t1\n")
		assert.True(t, strings.HasPrefix(status, "Name:\talbatross-spt\n"), status)
		assert.Empty(t, readProc(t, c, "environ"))
		assert.Equal(t, strings.Join(c.Args, "\x00")+"\x00", readProc(t, c, "cmdline"))
		assert.Equal(t, "Max stack size            0                    0                    bytes     ",
			line(readProc(t, c, "limits"), "Max stack size"))
	})
}

// line returns the line of a text that begins with a prefix.
func line(text, prefix string) string {
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, prefix) {
			return strings.TrimSuffix(l, "\n")
		}
	}
	return ""
}

func TestDescriptors(t *testing.T) {
	forUsers(t, func(t *testing.T, u user) {
		c, _ := u.start(t, guest("hello"), "--quiet")
		requireDescriptors(t, c, "anon_inode:[eventpoll]", "anon_inode:[timerfd]")
	})
}

// requireDescriptors checks what the guest has beside its console.
func requireDescriptors(t *testing.T, c *exec.Cmd, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(proc(c, "fd"))
	require.NoError(t, err)
	require.Len(t, entries, 3+len(want))
	for i, w := range want {
		target, err := os.Readlink(proc(c, fmt.Sprintf("fd/%d", 3+i)))
		require.NoError(t, err)
		require.Equal(t, w, target)
	}
}

// What Linux knows about the memory of the guest: which pages it may write
// and which it may execute, and that none are both.
func TestMemoryMap(t *testing.T) {
	c, _ := users()[0].start(t, "--mem=64", guest("hello"), "--quiet")
	const memory = 64 << 20
	next := uint64(0x10000)
	for l := range strings.Lines(readProc(t, c, "maps")) {
		var from, to uint64
		var protection string
		_, err := fmt.Sscanf(l, "%x-%x %s", &from, &to, &protection)
		require.NoError(t, err)
		require.False(t, protection[1] == 'w' && protection[2] == 'x', l)
		if from >= memory {
			require.True(t, protection[1] == '-' || strings.Contains(l, "[stack]"), l)
			continue
		}
		require.Equal(t, next, from, "guest memory has no gaps")
		require.Equal(t, from == 0x100000, protection[2] == 'x', l)
		next = to
	}
	require.EqualValues(t, memory, next)
}

// A large unikernel costs what it touches, which is in a page of 2 MB where the kernel has those for
// all programs.
func TestUntouchedMemoryIsFree(t *testing.T) {
	c, _ := users()[0].start(t, "--mem=4096", guest("hello"), "--quiet")
	var kb int
	_, err := fmt.Sscanf(line(readProc(t, c, "status"), "VmRSS:"), "VmRSS: %d kB", &kb)
	require.NoError(t, err)
	require.Less(t, kb, 8<<10)
}

// A waiting guest uses no processor time.
func TestSleepsInTheKernel(t *testing.T) {
	c, _ := users()[0].start(t, "--mem=2", guest("hello"), "--quiet")
	require.Eventually(t, func() bool {
		return strings.Contains(readProc(t, c, "stat"), ") S ")
	}, deadline, time.Millisecond)
}

func TestTicks(t *testing.T) {
	c := users()[0].command(t, tender, "--mem=2", guest("hello"))
	output, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	lines := bufio.NewScanner(output)
	for _, want := range []string{"hello from albatross: ", "tick 1", "tick 2"} {
		require.True(t, lines.Scan())
		require.Equal(t, want, lines.Text())
	}
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.Error(t, c.Wait())
	require.Equal(t, syscall.SIGTERM, c.ProcessState.Sys().(syscall.WaitStatus).Signal())
}

// disk makes a block device that the user may use.
func (u user) disk(t *testing.T, size int) string {
	t.Helper()
	path := filepath.Join(directory, "disk-"+u.name)
	require.NoError(t, os.WriteFile(path, make([]byte, size), 0o600))
	if u.credential != nil {
		require.NoError(t, os.Chown(path, int(u.credential.Uid), int(u.credential.Gid)))
	}
	t.Cleanup(func() { _ = os.Remove(path) })
	return path
}

func TestBlockDevice(t *testing.T) {
	forUsers(t, func(t *testing.T, u user) {
		path := u.disk(t, 1<<20)
		r := u.run(t, tender, "--mem=2", "--block:storage="+path, "--", guest("disk"), "write", "abc")
		require.Equal(t, result{stdout: "1048576 bytes in sectors of 512\nabc\n"}, r)
		r = u.run(t, tender, "--mem=2", "--block:storage="+path, "--block-sector-size:storage=4096", "--", guest("disk"))
		require.Equal(t, result{stdout: "1048576 bytes in sectors of 4096\n\n"}, r)

		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Len(t, content, 1<<20)
		require.Equal(t, "abc", string(content[1<<20-512:1<<20-509]))
	})
}

func TestBlockDeviceHasAnEnd(t *testing.T) {
	u := users()[0]
	path := u.disk(t, 1<<20)
	r := u.run(t, tender, "--mem=2", "--block:storage="+path, "--", guest("disk"), "beyond")
	require.Equal(t, syscall.SIGSYS, r.signal)
}

// TestRefusalsOfBlockDevices are in the words that Solo5's own tests look for.
func TestRefusalsOfBlockDevices(t *testing.T) {
	u := users()[0]
	for _, tc := range []struct {
		size   int
		sector string
		want   string
	}{
		{6144, "4096", "Backing storage size must be block aligned"},
		{3 * 521, "521", "Block size must be a multiple of 2"},
		{256, "256", "Block size must be a multiple of 2 greater than or equal 512"},
		{0, "512", "Backing storage must be at least 1 block (512 bytes) in size"},
		{1000, "512", "Backing storage size must be block aligned"},
	} {
		path := u.disk(t, tc.size)
		r := u.run(t, tender, "--mem=2", "--block:storage="+path, "--block-sector-size:storage="+tc.sector, "--", guest("disk"))
		require.Equal(t, 1, r.exit, tc.want)
		require.Contains(t, r.stderr, tc.want)
		require.Empty(t, r.stdout)
	}
}
