package hvt

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/seccomp"
	"albatross/runtime/solo5"
	"albatross/test/bpf"
	"albatross/test/guests"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "escape" {
		escape(os.Args[2])
	}
	if len(os.Args) == 2 && os.Args[1] == "threads" {
		startThreads()
	}
	goleak.VerifyTestMain(m)
}

func requireKVM(t testing.TB) {
	t.Helper()
	if err := guests.KVM(); err != nil {
		t.Skipf("this machine cannot run hvt: %v", err)
	}
}

func TestBootInfo(t *testing.T) {
	b, err := bootInfo(32<<20, 0x104000, 2_000_000_000, testDevices, []string{"--name=a", "b c"})
	require.NoError(t, err)
	le := binary.LittleEndian
	require.EqualValues(t, 32<<20, le.Uint64(b))
	require.EqualValues(t, 0x104000, le.Uint64(b[8:]))
	require.EqualValues(t, 2_000_000_000, le.Uint64(b[16:]))
	require.Equal(t, "--name=a b c\x00", string(b[le.Uint64(b[24:])-bootInfoBase:]))
	require.Equal(t, make([]byte, 16), b[40:56], "nothing beyond hypercalls")
	m := b[le.Uint64(b[32:])-bootInfoBase:]
	require.EqualValues(t, 3, le.Uint32(m[4:]))
	require.Equal(t, "storage", strings.TrimRight(string(m[112:180]), "\x00"))
	require.EqualValues(t, 8192, le.Uint64(m[112+72:]))
}

// TestBootInfoFits: everything that the guest is told is mapped for it.
func TestBootInfoFits(t *testing.T) {
	b, err := bootInfo(0, 0, 0, make([]solo5.Device, maxDevices), []string{strings.Repeat("a", 8191)})
	require.NoError(t, err)
	require.LessOrEqual(t, bootInfoBase+len(b), bootInfoEnd)
	_, err = bootInfo(0, 0, 0, nil, []string{strings.Repeat("a", 8192)})
	require.EqualError(t, err, "cannot pass arguments: they have 8192 bytes, of at most 8191")
}

// maxDevices are as many as a manifest can have.
const maxDevices = 63

// TestRules, by example: what a tender with one device of each kind may do.
func TestRules(t *testing.T) {
	g := &Guest{machine: machine{cpu: 9}, devices: testDevices, core: noCore}
	filter := seccomp.Compile(g.rules())
	for _, c := range []struct {
		what      string
		allowed   bool
		number    uint32
		arguments [6]uint64
	}{
		{"run", true, unix.SYS_IOCTL, [6]uint64{9, kvmRun}},
		{"registers", true, unix.SYS_IOCTL, [6]uint64{9, stateRequests[0]}},
		{"another request", false, unix.SYS_IOCTL, [6]uint64{9, kvmGetAPIVersion}},
		{"another machine", false, unix.SYS_IOCTL, [6]uint64{8, kvmCreateVM}},
		{"console", true, unix.SYS_WRITE, [6]uint64{1}},
		{"standard error", true, unix.SYS_WRITE, [6]uint64{2}},
		{"standard input", false, unix.SYS_READ, [6]uint64{0}},
		{"last sector", true, unix.SYS_PWRITE64, [6]uint64{70, 0, 512, 7680}},
		{"behind the last sector", false, unix.SYS_PWRITE64, [6]uint64{70, 0, 512, 8192}},
		{"more than there is", false, unix.SYS_PREAD64, [6]uint64{70, 0, 8193, 0}},
		{"append to the disk", false, unix.SYS_WRITE, [6]uint64{70}},
		{"receive", true, unix.SYS_READ, [6]uint64{71}},
		{"send", true, unix.SYS_WRITE, [6]uint64{71}},
		{"descriptor of nobody", false, unix.SYS_WRITE, [6]uint64{72}},
		{"open", false, unix.SYS_OPENAT, [6]uint64{unix.AT_FDCWD & (1<<64 - 1)}},
		{"socket", false, unix.SYS_SOCKET, [6]uint64{}},
		{"execute", false, unix.SYS_EXECVE, [6]uint64{}},
		{"thread", true, unix.SYS_CLONE, [6]uint64{threadFlags}},
		{"thread of another process", false, unix.SYS_CLONE, [6]uint64{threadFlags &^ unix.CLONE_THREAD}},
		{"process", false, unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD)}},
		{"memory", true, unix.SYS_MMAP, [6]uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE, 0, noFile}},
		{"memory to execute", false, unix.SYS_MMAP, [6]uint64{0, 4096, unix.PROT_EXEC, 0, noFile}},
		{"memory of a file", false, unix.SYS_MMAP, [6]uint64{0, 4096, unix.PROT_READ, 0, 70}},
		{"protect memory", false, unix.SYS_MPROTECT, [6]uint64{}},
		{"signal to itself", true, unix.SYS_TGKILL, [6]uint64{uint64(os.Getpid())}},
		{"signal to another", false, unix.SYS_TGKILL, [6]uint64{1}},
		{"end", true, unix.SYS_EXIT_GROUP, [6]uint64{}},
	} {
		got := bpf.Judge(filter, bpf.Call{Number: c.number, Architecture: seccomp.Architecture, Arguments: c.arguments})
		require.Equal(t, c.allowed, got == unix.SECCOMP_RET_ALLOW, c.what)
	}
}

// TestTheKernelTakesTheRules of as many devices as there can be.
func TestTheKernelTakesTheRules(t *testing.T) {
	g := &Guest{core: core{directory: 4, file: 5}}
	for i := range maxDevices {
		g.devices = append(g.devices, solo5.Device{Kind: image.Block, File: i, Capacity: 1 << 40, SectorSize: 512})
	}
	require.LessOrEqual(t, len(seccomp.Compile(g.rules())), 4096)
}

// console has the text that a function prints, as a guest does.
func console(t testing.TB, print func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	before := unix.Stdout
	unix.Stdout = int(w.Fd())
	print()
	unix.Stdout = before
	require.NoError(t, w.Close())
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(text)
}

func prepare(t testing.TB, name string, mb uint64, arguments ...string) *Guest {
	t.Helper()
	requireKVM(t)
	g, err := Prepare(Config{Config: solo5.Config{
		Image: guests.Write(t, t.TempDir(), name, "hvt"), Memory: mb << 20, Arguments: arguments,
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	return g
}

func TestAGuestRuns(t *testing.T) {
	g := prepare(t, "hello", 2, "--once")
	text := console(t, func() {
		status, err := g.run()
		require.NoError(t, err)
		require.Zero(t, status)
	})
	require.Equal(t, "hello from albatross: --once\n", text)
}

// TestHypercallsAllocateNothing, since no garbage is collected while a guest runs.
func TestHypercallsAllocateNothing(t *testing.T) {
	m := testMemory()
	null, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Close(null)) }()
	g := &Guest{memory: *m, waiting: []unix.PollFd{{Fd: int32(null), Events: unix.POLLIN}}, devices: []solo5.Device{
		{Kind: image.Block, File: null, Capacity: 8192, SectorSize: 512}, {Kind: image.Net, File: null},
	}}
	before := unix.Stdout
	unix.Stdout = null
	defer func() { unix.Stdout = before }()
	for c, fields := range map[call][]uint64{
		callWalltime: nil, callPoll: {1}, callPuts: {contents, 10},
		callBlockRead: {1, 0, contents, 512}, callBlockWrite: {1, 0, contents, 512},
		callNetRead: {2, contents, 100}, callNetWrite: {2, contents, 100},
	} {
		for i, f := range fields {
			binary.LittleEndian.PutUint64(m.bytes[argument+8*i:], f)
		}
		require.Zero(t, testing.AllocsPerRun(100, func() {
			r, err := decode(&g.memory, g.devices, hypercall(c, argument))
			if err != nil {
				panic(err)
			}
			g.perform(r)
		}), "%v", c)
	}
}

// TestSignalsDoNotShortenAWait: the runtime of Go sends itself some at any time.
func TestSignalsDoNotShortenAWait(t *testing.T) {
	const wait = 50 * time.Millisecond
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread, done := unix.Gettid(), make(chan struct{})
	var signals sync.WaitGroup
	signals.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Tgkill(os.Getpid(), thread, unix.SIGURG)
			}
		}
	})
	g, begun := &Guest{}, time.Now()
	g.poll(request{answer: make([]byte, 24), timeout: uint64(wait)})
	waited := time.Since(begun)
	close(done)
	signals.Wait()
	require.GreaterOrEqual(t, waited, wait)
}

// TestWhatTheHostRefuses: an error of a device is told to the guest, and ends nothing.
func TestWhatTheHostRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(path, make([]byte, 512), 0o600))
	file, err := unix.Open(path, unix.O_RDONLY, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Close(file)) }()
	data := make([]byte, 1024)
	require.Equal(t, resultOK, request{file: file, data: data[:512]}.transfer(unix.Pread))
	require.Equal(t, resultFailed, request{file: file, data: data}.transfer(unix.Pread), "it became shorter")
	require.Equal(t, resultFailed, request{file: file, data: data}.transfer(unix.Pwrite))
	require.Equal(t, resultFailed, request{file: -1, data: data}.receive())
	require.Equal(t, resultFailed, request{file: -1, data: data}.send())
	require.Equal(t, resultInvalid, request{refused: true}.transfer(unix.Pread))
	require.Equal(t, resultInvalid, request{refused: true}.receive())
	require.Equal(t, resultInvalid, request{refused: true}.send())
}

// openFiles counts the descriptors of this process, and what is mapped for machines.
func openFiles(t *testing.T) (files []string, mapped int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			files = append(files, target)
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return files, bytes.Count(maps, []byte("kvm-vcpu"))
}

func TestPrepareLeavesNothingOpen(t *testing.T) {
	requireKVM(t)
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	require.NoError(t, os.WriteFile(disk, make([]byte, 1024), 0o600))
	c := Config{DumpCore: dir, Config: solo5.Config{
		Image: guests.Write(t, dir, "disk", "hvt"), Memory: 2 << 20,
		Blocks: []solo5.Block{{Name: "storage", Path: disk}},
	}}
	before, mapped := openFiles(t)
	require.Zero(t, mapped)
	g, err := Prepare(c)
	require.NoError(t, err)
	require.NoError(t, g.Close())
	after, mapped := openFiles(t)
	require.ElementsMatch(t, before, after)
	require.Zero(t, mapped)

	c.Arguments = []string{string(make([]byte, 10000))} // fails late
	_, err = Prepare(c)
	require.ErrorContains(t, err, "cannot pass arguments")
	after, mapped = openFiles(t)
	require.ElementsMatch(t, before, after)
	require.Zero(t, mapped)
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	hello, disk := guests.Write(t, dir, "hello", "hvt"), guests.Write(t, dir, "disk", "hvt")
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Config: solo5.Config{Image: dir + "/nothing"}}, "cannot run image: nothing: Could not open: no such file or directory"},
		{Config{Config: solo5.Config{Image: guests.Write(t, dir, "hello", "spt")}}, "cannot run image: Executable is not for the solo5-hvt target, but for spt"},
		{Config{Config: solo5.Config{Image: disk}},
			"cannot attach devices: Device 'storage' of type BLOCK_BASIC declared but not attached. " +
				"All declared devices must be attached. See --help for syntax"},
		{Config{Config: solo5.Config{Image: hello}, DumpCore: dir + "/none"}, "cannot write core files to none: no such file or directory"},
		{Config{Config: solo5.Config{Image: hello}, DumpCore: hello}, "cannot write core files to hello.hvt: not a directory"},
	} {
		if c.config.Memory == 0 {
			c.config.Memory = 2 << 20
		}
		_, err := Prepare(c.config)
		require.EqualError(t, err, c.want)
	}
}

// BenchmarkStart is the whole life of a unikernel that prints a line, without its process.
func BenchmarkStart(b *testing.B) {
	requireKVM(b)
	path := guests.Write(b, b.TempDir(), "hello", "hvt")
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	require.NoError(b, err)
	before := unix.Stdout
	unix.Stdout = null
	defer func() { unix.Stdout = before; _ = unix.Close(null) }()
	for b.Loop() {
		g, err := Prepare(Config{Config: solo5.Config{Image: path, Memory: 32 << 20, Arguments: []string{"--once"}}})
		require.NoError(b, err)
		_, err = g.run()
		require.NoError(b, err)
		require.NoError(b, g.Close())
	}
}
