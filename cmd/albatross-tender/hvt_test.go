package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/test/guests"
)

func requireKVM(t *testing.T) {
	t.Helper()
	if err := guests.KVM(); err != nil {
		t.Skipf("this machine cannot run hvt: %v", err)
	}
}

// runHVT runs a guest under the tender for hvt.
func runHVT(t *testing.T, arguments ...string) result {
	t.Helper()
	requireKVM(t)
	return user{}.run(t, tender, append([]string{"hvt"}, arguments...)...)
}

func startHVT(t *testing.T, arguments ...string) (c *exec.Cmd, firstLine string) {
	t.Helper()
	requireKVM(t)
	return user{}.start(t, append([]string{"hvt"}, arguments...)...)
}

func TestHVTHello(t *testing.T) {
	r := runHVT(t, "--mem=2", "--", hvtGuest("hello"), "--name=a", "--once", "b")
	require.Equal(t, result{stdout: "hello from albatross: --name=a --once b\n"}, r)
	link := filepath.Join(t.TempDir(), "solo5-hvt")
	require.NoError(t, os.Symlink(tender, link))
	r = user{}.run(t, link, hvtGuest("hello"), "--once")
	require.Equal(t, result{stdout: "hello from albatross: --once\n"}, r)
}

func TestHVTExitCodes(t *testing.T) {
	for _, code := range []int{0, 1, 2, 64, 127, 128, 254, 255} {
		require.Equal(t, result{exit: code}, runHVT(t, "--mem=2", hvtGuest("exit"), "--name=x", strconv.Itoa(code)))
	}
	require.Equal(t, result{exit: 300 & 255}, runHVT(t, "--mem=2", hvtGuest("exit"), "300"))
	require.Equal(t, result{exit: 255}, runHVT(t, "--mem=2", hvtGuest("abort")))
}

func TestHVTChatty(t *testing.T) {
	r := runHVT(t, "--mem=2", hvtGuest("chatty"), "5000", "exit")
	require.Zero(t, r.exit)
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	require.Len(t, lines, 5000)
	for i, line := range lines {
		require.Equal(t, "line "+strconv.Itoa(i+1), line)
	}
}

// TestHVTMemory is there in full, zero, and with the stack at its top. An incomplete page of
// 2 MB is not used, as under Solo5's tender.
func TestHVTMemory(t *testing.T) {
	for mb, used := range map[string]string{"1": "2", "2": "2", "3": "2", "64": "64", "65": "64"} {
		r := runHVT(t, "--mem="+mb, hvtGuest("memory"))
		require.Zero(t, r.exit, "%+v", r)
		require.Contains(t, r.stdout, " pages of "+used+" MB\n")
	}
}

// TestMuchMemory has a first and a last page, and one in each GB, that can be written to and
// printed from. A guest of hvt finds its stack below the image where hypercalls cannot address
// the end of memory.
func TestMuchMemory(t *testing.T) {
	forTargets(t, func(t *testing.T, target string) {
		for _, mb := range []int{2, 4094, 4096, 4098, 5120, 9000} {
			if target == "hvt" && mb > mostMemory {
				continue
			}
			t.Run(fmt.Sprint(mb), func(t *testing.T) {
				if err := promise(mb); err != nil {
					t.Skipf("this machine does not promise as much memory: %v", err)
				}
				r := user{}.run(t, tender, target, fmt.Sprint("--mem=", mb), filepath.Join(directory, "memory."+target), "ends")
				pages, stack := 2+(mb-1)/1024, ""
				if target == "hvt" && mb > 4096 {
					stack = " with the stack below the image"
				}
				require.Equal(t, result{stdout: fmt.Sprintf("%d pages of %d MB%s\n", pages, mb, stack)}, r)
			})
		}
	})
}

// promise asks the machine for memory, without using it.
func promise(mb int) error {
	b, err := unix.Mmap(-1, 0, mb<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	return unix.Munmap(b)
}

// TestHVTAllMemory: more than a guest can address is refused.
func TestHVTAllMemory(t *testing.T) {
	const mb = mostMemory + 2
	require.Equal(t, result{exit: 1, stderr: fmt.Sprintf("albatross-tender: cannot use %d MB of memory: guest memory size %d bytes exceeds the max size %d bytes\n", mb, mb<<20, mostMemory<<20)},
		runHVT(t, fmt.Sprint("--mem=", mb), hvtGuest("hello")))
}

// TestHVTFloatingPoint: a guest has the registers for it, ready to use.
func TestHVTFloatingPoint(t *testing.T) {
	requireVectors(t)
	require.Equal(t, result{stdout: "computed\n"}, runHVT(t, "--mem=2", hvtGuest("fpu")))
}

// requireVectors skips a test of guests that use such registers where KVM does not run one
// instruction of that kind. A KVM that is itself in a virtual machine may have to take
// instructions apart, and knows only some.
func requireVectors(t *testing.T) {
	t.Helper()
	r := runHVT(t, "--mem=2", hvtGuest("fpu"), "probe")
	if why, _, _ := strings.Cut(r.stderr, "\n"); strings.Contains(why, "KVM has an internal error") {
		t.Skipf("the KVM of this machine cannot run a guest with vector registers: %s", why)
	}
}

// requireDeath checks that a guest has died of a reason, that its registers are told, and
// that the tender is not what has died.
func requireDeath(t *testing.T, r result, why, kind string) {
	t.Helper()
	require.Equal(t, 1, r.exit, "%s: %+v", kind, r)
	require.Empty(t, r.stdout, kind)
	require.Regexp(t, `^albatross-tender: cannot continue unikernel: .*: `+registers, r.stderr, kind)
	require.Contains(t, r.stderr, ": "+why, kind)
	require.Contains(t, r.stderr, faultAddress, kind)
	require.NotContains(t, r.stderr, "goroutine", kind)
}

// TestHVTFaults: every way to touch memory that a guest must not have.
func TestHVTFaults(t *testing.T) {
	for kind, why := range faults {
		requireDeath(t, runHVT(t, "--mem=4", hvtGuest("fault"), kind), why, kind)
	}
}

// TestHVTBadCalls: every way to ask for what there is not.
func TestHVTBadCalls(t *testing.T) {
	for kind, why := range map[string]string{
		"puts-far-away": "invalid access to memory", "puts-too-long": "invalid access to memory",
		"puts-wrapping": "invalid access to memory", "halt-cookie-far-away": "invalid access to memory",
		"argument-far-away": "invalid access to memory",
	} {
		requireDeath(t, runHVT(t, "--mem=4", hvtGuest("badcall"), kind), why, kind)
	}
	for kind, why := range badPlaces {
		requireDeath(t, runHVT(t, "--mem=4", hvtGuest("badcall"), kind), why, kind)
	}
	for _, kind := range []string{"read-no-device", "read-handle-too-large"} {
		require.Equal(t, result{exit: 1}, runHVT(t, "--mem=4", hvtGuest("badcall"), kind), kind)
	}
	require.Equal(t, result{exit: 64}, runHVT(t, "--mem=4", hvtGuest("badcall"), "nonsense"))
}

// refusedAttacks are those of which the guest is told that it cannot have that.
var refusedAttacks = []string{
	"read-odd-offset", "write-odd-offset", "read-half-sector", "write-half-sector", "read-beyond", "write-beyond",
	"read-over-the-end", "write-over-the-end", "write-offset-wraps", "write-length-wraps", "read-2-63", "write-2-63",
	"block-handle-0", "block-handle-net", "block-handle-3", "block-handle-2-32", "block-handle-all",
	"net-handle-0", "net-handle-block", "net-handle-all", "send-nothing", "send-too-much", "send-2-63",
}

// deadlyAttacks are the others, and what becomes of the guest.
var deadlyAttacks = map[string][]string{
	"invalid access to memory by the hypercall block": {
		"read-into-text", "read-into-boot-info", "read-into-page-tables", "read-into-the-end", "read-into-nowhere",
		"read-into-wrapping", "write-from-the-end", "write-from-nowhere", "write-from-wrapping", "block-at-the-end",
	},
	"invalid access to memory by the hypercall net": {
		"receive-into-text", "receive-into-boot-info", "receive-into-the-end", "receive-into-wrapping", "receive-2-63",
		"receive-minus-1", "send-from-nowhere", "net-at-the-end",
	},
	"invalid access to memory by the hypercall": {
		"walltime-into-text", "walltime-into-boot-info", "walltime-into-the-end", "walltime-above",
		"poll-into-text", "poll-into-the-end", "halt-at-the-end", "halt-far-away",
	},
}

// TestHVTAttacks: each ends in an error for the guest, or in its death, and changes no
// device.
func TestHVTAttacks(t *testing.T) {
	requireKVM(t)
	isolate(t)
	path := filepath.Join(t.TempDir(), "disk")
	before := make([]byte, 1<<20)
	_, _ = rand.Read(before)
	require.NoError(t, os.WriteFile(path, before, 0o600))
	attack := func(kind string) result {
		return runHVT(t, "--mem=4", "--block:storage="+path, "--net:service="+tap, "--", hvtGuest("attack"), kind)
	}
	for _, kind := range refusedAttacks {
		assert.Equal(t, result{stdout: "refused\n"}, attack(kind), kind)
	}
	kinds := slices.Clone(refusedAttacks)
	maps.Copy(deadlyAttacks, deadlyAttacksHere)
	for why, deadly := range deadlyAttacks {
		for _, kind := range deadly {
			requireDeath(t, attack(kind), why, kind)
		}
		kinds = append(kinds, deadly...)
	}
	require.Equal(t, result{exit: 64}, attack("nonsense"))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))

	source, err := os.ReadFile("../../test/guests/src/attack.c")
	require.NoError(t, err)
	var all []string
	for _, entry := range regexp.MustCompile(`(?m)^ +\{"([a-z0-9-]+)", `).FindAllStringSubmatch(string(source), -1) {
		all = append(all, entry[1])
	}
	require.Subset(t, all, kinds)
	require.ElementsMatch(t, all, append(kinds, attacksElsewhere...), "all attacks are here")
}

func TestHVTBlockDevice(t *testing.T) {
	path := user{}.disk(t, 1<<20)
	r := runHVT(t, "--mem=2", "--block:storage="+path, "--", hvtGuest("disk"), "write", "abc")
	require.Equal(t, result{stdout: "1048576 bytes in sectors of 512\nabc\n"}, r)
	r = runHVT(t, "--mem=2", "--block:storage="+path, "--block-sector-size:storage=4096", "--", hvtGuest("disk"))
	require.Equal(t, result{stdout: "1048576 bytes in sectors of 4096\n\n"}, r)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, content, 1<<20)
	require.Equal(t, "abc", string(content[1<<20-512:1<<20-509]))
	r = runHVT(t, "--mem=2", "--block:storage="+path, "--", hvtGuest("disk"), "beyond")
	require.Equal(t, result{exit: 2, stdout: "1048576 bytes in sectors of 512\nrefused\n"}, r)
}

func TestHVTNetwork(t *testing.T) {
	requireKVM(t)
	isolate(t)
	c, line := startHVT(t, "--mem=2", "--net:service="+tap, "--net-mac:service=02:67:75:65:73:74", "--", hvtGuest("net"))
	require.Equal(t, "02:67:75:65:73:74 mtu 1500\n", line)
	require.ElementsMatch(t, []string{"/dev/net/tun", "anon_inode:kvm-vcpu:0"}, descriptors(t, c))
	requireEcho(t)
}

// descriptors are what a process has open beside its console.
func descriptors(t *testing.T, c *exec.Cmd) (targets []string) {
	t.Helper()
	entries, err := os.ReadDir(proc(c, "fd"))
	require.NoError(t, err)
	for _, e := range entries {
		if number, _ := strconv.Atoi(e.Name()); number > 2 {
			target, err := os.Readlink(proc(c, "fd/"+e.Name()))
			require.NoError(t, err)
			targets = append(targets, target)
		}
	}
	return targets
}

// TestHVTConfinement: every thread has the filter, and nothing is open but the machine.
func TestHVTConfinement(t *testing.T) {
	c, _ := startHVT(t, "--mem=32", hvtGuest("hello"), "--quiet")
	require.True(t, strings.HasPrefix(readProc(t, c, "status"), "Name:\talbatross-hvt\n"))
	require.Equal(t, strings.Join(c.Args, "\x00")+"\x00", readProc(t, c, "cmdline"))
	require.Equal(t, []string{"anon_inode:kvm-vcpu:0"}, descriptors(t, c))
	threads, err := os.ReadDir(proc(c, "task"))
	require.NoError(t, err)
	for _, thread := range threads {
		status := readProc(t, c, "task/"+thread.Name()+"/status")
		require.Contains(t, status, "\nSeccomp:\t2\n")
		require.Contains(t, status, "\nNoNewPrivs:\t1\n")
	}
}

// TestHVTUntouchedMemoryIsFree: a large unikernel costs what it touches.
func TestHVTUntouchedMemoryIsFree(t *testing.T) {
	c, _ := startHVT(t, "--mem=4096", hvtGuest("hello"), "--quiet")
	var kb int
	_, err := fmt.Sscanf(line(readProc(t, c, "status"), "VmRSS:"), "VmRSS: %d kB", &kb)
	require.NoError(t, err)
	require.Less(t, kb, 16<<10)
}

// TestHVTSignals end the process as any program, or change nothing.
func TestHVTSignals(t *testing.T) {
	requireKVM(t)
	c := user{}.command(t, tender, "hvt", "--mem=2", hvtGuest("hello"))
	output, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	requireLine := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		_, err := io.ReadFull(output, got)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	requireLine("hello from albatross: \n")
	require.NoError(t, c.Process.Signal(syscall.SIGURG)) // as the runtime sends itself
	requireLine("tick 1\n")
	requireLine("tick 2\n")
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.Error(t, c.Wait())
	require.Equal(t, syscall.SIGTERM, c.ProcessState.Sys().(syscall.WaitStatus).Signal())
}

// TestHVTIgnoredSignals stay ignored, as nohup wants it.
func TestHVTIgnoredSignals(t *testing.T) {
	requireKVM(t)
	for signal, ignored := range map[syscall.Signal]bool{syscall.SIGHUP: true, syscall.SIGTERM: false} {
		c := user{}.command(t, "/bin/sh", "-c", `trap "" HUP; exec "$0" hvt --mem=2 "$1"`, tender, hvtGuest("hello"))
		output, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		lines := bufio.NewScanner(output)
		require.True(t, lines.Scan()) // it is confined now
		require.NoError(t, c.Process.Signal(signal))
		more := 0
		for more < 2 && lines.Scan() {
			more++
		}
		require.Equal(t, ignored, more == 2, "%v", signal)
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}

// TestHVTStopped: what was stopped goes on, also the thread of the runtime that waits for a
// time to pass, which the kernel continues by another call.
func TestHVTStopped(t *testing.T) {
	c, _ := startHVT(t, "--mem=2", hvtGuest("hello"))
	waits := regexp.MustCompile(fmt.Sprintf(`(?m)^%d 0x[0-9a-f]+ 0x80 0x0 0x[1-9a-f]`, unix.SYS_FUTEX))
	require.Eventually(t, func() bool {
		var calls strings.Builder
		threads, err := os.ReadDir(proc(c, "task"))
		require.NoError(t, err)
		for _, thread := range threads {
			calls.WriteString(readProc(t, c, "task/"+thread.Name()+"/syscall"))
		}
		return waits.MatchString(calls.String())
	}, deadline, time.Millisecond)
	state := func(want string) func() bool {
		return func() bool { return strings.Contains(readProc(t, c, "stat"), ") "+want+" ") }
	}
	require.NoError(t, c.Process.Signal(syscall.SIGSTOP))
	require.Eventually(t, state("T"), deadline, time.Millisecond)
	require.NoError(t, c.Process.Signal(syscall.SIGCONT))
	require.Eventually(t, state("S"), deadline, time.Millisecond)
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.Error(t, c.Wait())
	require.Equal(t, syscall.SIGTERM, c.ProcessState.Sys().(syscall.WaitStatus).Signal())
}

// TestHVTClosedConsole: as any program, it dies when nobody reads what it prints.
func TestHVTClosedConsole(t *testing.T) {
	requireKVM(t)
	r := user{}.run(t, "/bin/sh", "-c", `{ "$0" hvt "$1" 1000000 exit; echo $? >&2; } | head -n 1`, tender, hvtGuest("chatty"))
	require.Equal(t, "line 1\n", r.stdout)
	require.Equal(t, "141\n", r.stderr) // 128 + SIGPIPE
}

// TestHVTNonBlockingConsole: what is printed to one is not lost when it is full.
func TestHVTNonBlockingConsole(t *testing.T) {
	requireKVM(t)
	var ends [2]int
	require.NoError(t, unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	r, w := os.NewFile(uintptr(ends[0]), "reader"), os.NewFile(uintptr(ends[1]), "writer")
	c := user{}.command(t, tender, "hvt", "--mem=2", hvtGuest("chatty"), "20000", "exit")
	c.Stdout = w
	require.NoError(t, c.Start())
	require.NoError(t, w.Close())
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, c.Wait())
	require.Equal(t, 20000, bytes.Count(text, []byte("\n")))
}

// TestHVTFewDescriptors: whoever starts us may have closed what others keep open, or left
// little room for more.
func TestHVTFewDescriptors(t *testing.T) {
	requireKVM(t)
	r := user{}.run(t, "/bin/sh", "-c", `exec "$0" hvt --mem=2 "$1" 9 <&- >&- 2>&-`, tender, hvtGuest("exit"))
	require.Equal(t, result{exit: 9}, r)
	r = user{}.run(t, "/bin/sh", "-c", `ulimit -n 5 && exec "$0" hvt --mem=2 "$1"`, tender, hvtGuest("exit"))
	require.Equal(t, 1, r.exit)
	require.Contains(t, r.stderr, ": too many open files\n")
}

// TestHVTCore: a guest that aborts or dies leaves its memory, if that is wanted.
func TestHVTCore(t *testing.T) {
	for kind, arguments := range map[string][]string{"abort": {hvtGuest("abort")}, "fault": {hvtGuest("fault"), "null"}} {
		dir := t.TempDir()
		r := runHVT(t, append([]string{"--mem=4", "--dumpcore=" + dir, "--"}, arguments...)...)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1, kind)
		require.Contains(t, r.stderr, "albatross-tender: memory of the unikernel is in "+entries[0].Name()+"\n")
		info, err := entries[0].Info()
		require.NoError(t, err)
		require.Greater(t, info.Size(), int64(4<<20))
		require.Less(t, info.Sys().(*syscall.Stat_t).Blocks*512, int64(1<<20), "pages of zeros cost nothing")
	}
	dir := t.TempDir()
	require.Equal(t, result{exit: 7}, runHVT(t, "--mem=4", "--dumpcore="+dir, "--", hvtGuest("exit"), "7"))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// TestHVTWithoutKVM: the reason is one sentence.
func TestHVTWithoutKVM(t *testing.T) {
	info, err := os.Stat("/dev/kvm")
	if os.Getuid() != 0 || err == nil && info.Mode()&0o006 != 0 {
		t.Skip("everybody may use KVM here, or there is nobody else to be")
	}
	why := "no such file or directory"
	if err == nil {
		why = "permission denied"
	}
	nobody := users()[1]
	require.Equal(t, result{exit: 1, stderr: "albatross-tender: cannot run images for hvt on this machine: Could not open: /dev/kvm: " + why + "\n"},
		nobody.run(t, tender, "hvt", hvtGuest("hello")))
}

func TestHVTVersion(t *testing.T) {
	r := user{}.run(t, tender, "hvt", "--version")
	require.Equal(t, result{stderr: "albatross-tender, version devel\nABI version 2\n"}, r)
}

// TestHVTSameAsSolo5: where Solo5's own tender is installed, ours does the same with the
// same image: exit and output. How a failure is told is our own.
func TestHVTSameAsSolo5(t *testing.T) {
	solo5, err := exec.LookPath("solo5-hvt")
	if err != nil {
		t.Skip("solo5-hvt is not installed: nothing to compare with")
	}
	path := user{}.disk(t, 1<<20)
	attach := "--block:storage=" + path
	for _, arguments := range [][]string{
		{"--mem=2", "--", hvtGuest("hello"), "--once", "--name=a", "", "b  c"},
		{"--mem=2", hvtGuest("exit"), "--name=a", "42"},
		{hvtGuest("exit"), "300"},
		{hvtGuest("exit"), "0", "20"},
		{hvtGuest("abort")},
		{hvtGuest("chatty"), "1000", "exit"},
		{"--mem=3", hvtGuest("memory")},
		{"--mem=100", hvtGuest("memory")},
		{"--mem=2", hvtGuest("fault"), "null"},
		{"--mem=2", hvtGuest("fault"), "write-text"},
		{"--mem=2", hvtGuest("fault"), "read-above"},
		{"--mem=2", hvtGuest("badcall"), "puts-far-away"},
		{"--mem=2", hvtGuest("badcall"), "no-such-call"},
		{"--mem=2", attach, "--", hvtGuest("disk"), "write", "abc"},
		{"--mem=2", attach, "--block-sector-size:storage=4096", "--", hvtGuest("disk"), "write", "abc"},
		{"--mem=2", attach, "--", hvtGuest("disk"), "beyond"},
		{"--mem=2", hvtGuest("disk")},
		{"--nonsense", hvtGuest("hello")},
		{hvtGuest("nothing")},
		{guest("hello")},
	} {
		clean := func() {
			require.NoError(t, os.Truncate(path, 0))
			require.NoError(t, os.Truncate(path, 1<<20))
		}
		clean()
		theirs := user{}.run(t, solo5, arguments...)
		clean()
		ours := runHVT(t, arguments...)
		theirs.stderr, ours.stderr = "", ""
		require.Equal(t, theirs, ours, "%q", arguments)
	}
}
