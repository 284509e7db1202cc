package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHello(t *testing.T) {
	forUsers(t, func(t *testing.T, u user) {
		r := u.run(t, tender, "--mem=2", "--", guest("hello"), "--name=a", "--once", "b")
		require.Equal(t, result{stdout: "hello from albatross: --name=a --once b\n"}, r)
	})
}

func TestExitCodes(t *testing.T) {
	forUsers(t, func(t *testing.T, u user) {
		for code := range 256 {
			r := u.run(t, tender, "--mem=2", guest("exit"), "--name=x", strconv.Itoa(code))
			require.Equal(t, result{exit: code}, r)
		}
	})
}

func TestExitRefusesName(t *testing.T) {
	u := users()[0]
	require.Equal(t, result{exit: 64}, u.run(t, tender, guest("exit"), "--name=x", "3", "0", "refuse-name"))
	require.Equal(t, result{exit: 3}, u.run(t, tender, guest("exit"), "3", "0", "refuse-name"))
}

func TestAbort(t *testing.T) {
	require.Equal(t, result{exit: 255}, users()[0].run(t, tender, guest("abort")))
}

func TestChatty(t *testing.T) {
	r := users()[0].run(t, tender, guest("chatty"), "20000", "exit")
	require.Zero(t, r.exit)
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	require.Len(t, lines, 20000)
	for i, line := range lines {
		require.Equal(t, "line "+strconv.Itoa(i+1), line)
	}
}

// Every way to touch memory that a guest must not have.
func TestFaults(t *testing.T) {
	forUsers(t, func(t *testing.T, u user) {
		for _, kind := range []string{
			"null", "write-text", "execute-data", "execute-bss", "execute-heap",
			"execute-low", "execute-stack", "read-above",
		} {
			r := u.run(t, tender, "--mem=4", guest("fault"), kind)
			assert.Equal(t, signalled(syscall.SIGSEGV), r, kind)
		}
	})
}

// Every way to ask Linux for what a guest must not get.
func TestForbiddenCalls(t *testing.T) {
	kinds := []string{
		"read-stdin", "write-stderr", "write-high", "write-x32", "open", "close", "mmap",
		"mprotect", "munmap", "brk", "ioctl", "getpid", "socket", "clone", "execve",
		"exit-thread", "kill", "ptrace", "cpu-clock", "epoll-other",
		"timer-other", "seccomp", "io-uring", "no-such-call",
	}
	kinds = append(kinds, callsOfProcessor...)
	forUsers(t, func(t *testing.T, u user) {
		for _, kind := range kinds {
			assert.Equal(t, signalled(syscall.SIGSYS), u.run(t, tender, guest("badcall"), kind), kind)
		}
		// Linux can be without the entry for 32-bit programs, as in encrypted virtual
		// machines, and without this old page of system calls.
		for _, kind := range otherEntries {
			ends := []result{signalled(syscall.SIGSYS), signalled(syscall.SIGSEGV)}
			assert.Contains(t, ends, u.run(t, tender, guest("badcall"), kind), kind)
		}
		// And the guest knows the difference.
		assert.Equal(t, result{exit: 64}, u.run(t, tender, guest("badcall"), "nonsense"))
	})
}

// Memory is there in full, zero, and with the stack at its top.
func TestMemory(t *testing.T) {
	for _, mb := range []string{"2", "3", "64", "256"} {
		r := users()[0].run(t, tender, "--mem="+mb, guest("memory"))
		require.Zero(t, r.exit, "%+v", r)
		require.Contains(t, r.stdout, " pages of "+mb+" MB\n")
	}
}

func TestFloatingPoint(t *testing.T) {
	forUsers(t, func(t *testing.T, u user) {
		require.Equal(t, result{stdout: "computed\n"}, u.run(t, tender, "--mem=2", guest("fpu")))
	})
}

func TestRefusals(t *testing.T) {
	notThere := filepath.Join(directory, "nothing")
	forUsers(t, func(t *testing.T, u user) {
		for _, c := range []struct {
			arguments []string
			want      string
		}{
			{nil, "cannot run: Missing KERNEL operand: no image is given, see --help"},
			{[]string{"--nonsense", "x"}, "cannot run: Invalid option: `--nonsense': no such option, see --help"},
			{[]string{notThere}, "cannot run image: nothing: Could not open: no such file or directory"},
			{[]string{tender}, "cannot read image: not a Solo5 image: 0 interpreters, not 1"},
			{[]string{"--mem=1", guest("hello")}, "cannot fit image into memory: it needs 2 MB, there are 1"},
			{[]string{guest("hello"), strings.Repeat("a", 8192)}, "cannot pass arguments: they have 8192 bytes, of at most 8191"},
			{[]string{guest("disk")}, "cannot attach devices: Device 'storage' of type BLOCK_BASIC declared but not attached. " +
				"All declared devices must be attached. See --help for syntax"},
		} {
			r := u.run(t, tender, c.arguments...)
			require.Equal(t, result{exit: 1, stderr: "albatross-tender: " + c.want + "\n"}, r)
		}
	})
}

// A limit on address space that the guest does not fit into is noticed before
// the process is replaced, when it would only be killed.
func TestAddressSpaceLimit(t *testing.T) {
	r := users()[0].run(t, "/bin/sh", "-c", `ulimit -v 4000000 && exec "$0" --mem=8192 "$1"`, tender, guest("hello"))
	require.Equal(t, result{
		exit: 1, stderr: "albatross-tender: cannot reserve 8192 MB of memory: cannot allocate memory\n",
	}, r)
}

// The personality that makes readable memory executable ends where a 64-bit
// program is executed.
func TestReadImpliesExec(t *testing.T) {
	setarch, err := exec.LookPath("setarch")
	if err != nil {
		t.Skip("setarch is not installed")
	}
	for _, kind := range []string{"execute-heap", "execute-stack", "execute-data"} {
		r := users()[0].run(t, setarch, "-X", tender, "--mem=4", guest("fault"), kind)
		require.Equal(t, signalled(syscall.SIGSEGV), r, kind)
	}
}

// Linux lays out an address space in different ways, and our stub has to be
// out of the way of all of them.
func TestAddressSpaceLayouts(t *testing.T) {
	for _, prefix := range []string{"ulimit -s unlimited", "ulimit -s 64", "ulimit -s 8192"} {
		r := users()[0].run(t, "/bin/sh", "-c", prefix+` && exec "$0" --mem=2 "$1" --once`, tender, guest("hello"))
		require.Equal(t, result{stdout: "hello from albatross: --once\n"}, r, prefix)
	}
}

// Whoever starts us may have closed what others keep open, or left little room
// for more.
func TestFewDescriptors(t *testing.T) {
	r := users()[0].run(t, "/bin/sh", "-c", `exec "$0" --mem=2 "$1" 9 <&- >&- 2>&-`, tender, guest("exit"))
	require.Equal(t, result{exit: 9}, r)
	r = users()[0].run(t, "/bin/sh", "-c", `ulimit -n 6 && exec "$0" --mem=2 "$1"`, tender, guest("exit"))
	require.Equal(t, 1, r.exit)
	require.Contains(t, r.stderr, ": too many open files\n")
}

func TestVersionAndHelp(t *testing.T) {
	r := users()[0].run(t, tender, "--version")
	require.Zero(t, r.exit)
	require.Equal(t, "albatross-tender, version devel\nABI version 2\n", r.stderr)
	r = users()[0].run(t, tender, "--help")
	require.Equal(t, result{stdout: usage}, r)
}

func TestUnderTheNameOfSolo5(t *testing.T) {
	link := filepath.Join(t.TempDir(), "solo5-spt")
	require.NoError(t, os.Symlink(tender, link))
	r := users()[0].run(t, link, "--mem=2", "--", guest("hello"), "--once")
	require.Equal(t, result{stdout: "hello from albatross: --once\n"}, r)
	require.Equal(t, result{exit: 1, stderr: usage}, users()[0].run(t, link, "--help"), "as Solo5's tender does")
}

// A guest sees its console closed only when it writes, and dies as any program
// does.
func TestClosedConsole(t *testing.T) {
	r := users()[0].run(t, "/bin/sh", "-c", `{ "$0" "$1" 1000000 exit; echo $? >&2; } | head -n 1`, tender, guest("chatty"))
	require.Equal(t, "line 1\n", r.stdout)
	require.Equal(t, "141\n", r.stderr) // 128 + SIGPIPE
}
