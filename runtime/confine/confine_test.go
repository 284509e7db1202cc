package confine

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary runs itself again as a process without some privilege, which prints what it
// finds.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "find" {
		runtime.LockOSThread()
		find(os.Args[2])
		unix.Exit(0)
	}
	if len(os.Args) == 3 && os.Args[1] == "inside" {
		runtime.LockOSThread()
		inside()
		unix.Exit(0)
	}
	if len(os.Args) == 3 && os.Args[1] == "outside" {
		outside(os.Args[2])
		unix.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// find prints which layers there can be without a capability, or without a system call.
func find(without string) {
	if without == "setns" {
		refuseSetns()
	}
	for n, name := range names {
		if name == without {
			var sets [2]unix.CapUserData
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			must(unix.Capget(&header, &sets[0]))
			sets[0].Effective &^= 1 << n
			must(unix.Capset(&header, &sets[0]))
		}
	}
	can, missing := Find(Order{User: true, Root: os.TempDir(), Void: 3})
	fmt.Println(can.User, can.Void, can.Root, missing, Separate([]string{"solo5-hvt", "--", "image"}, false))
}

// refuseSetns filters the system calls of this thread, as a service manager may.
func refuseSetns() {
	const number = 0 // of the call, in struct seccomp_data
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SETNS, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		must(errno)
	}
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		unix.Exit(1)
	}
}

func TestOrdersThatTravel(t *testing.T) {
	for _, o := range []Order{{}, {User: true}, {Root: "/run/a,b=c/empty"}, {User: true, Root: "/run/user,root=/x"}, {Void: 5}, {User: true, Void: 12, Root: "/run/void=5"}} {
		name, value, _ := strings.Cut(o.Environment(), "=")
		t.Setenv(name, value)
		got, given, err := FromEnvironment()
		require.NoError(t, err)
		require.True(t, given)
		require.Equal(t, o, got)
	}
	for _, text := range []string{"nonsense", "void=x", "void=", "void=5,x", "user,nonsense"} {
		t.Setenv(Variable, text)
		_, _, err := FromEnvironment()
		require.EqualError(t, err, fmt.Sprintf("cannot understand ALBATROSS_CONFINE=%q", text))
	}
	require.NoError(t, os.Unsetenv(Variable))
	_, given, err := FromEnvironment()
	require.NoError(t, err)
	require.False(t, given)
}

// TestUsersAreNobodyElses: those of all processes there can be are in the range that is free.
func TestUsersAreNobodyElses(t *testing.T) {
	require.GreaterOrEqual(t, Own(1), 1879048192)
	require.Less(t, Own(1<<22), 2147483647)
	require.NotEqual(t, Own(1), Own(2))
}

func TestMaps(t *testing.T) {
	for text, covered := range map[string]bool{
		"         0          0 4294967295\n":     true,
		"0 100000 65536\n":                       false,
		"0 1000 1\n1879048192 2000000 4194304\n": true,
		"1879048193 0 10\n":                      false,
		"":                                       false,
		"nonsense":                               false,
	} {
		require.Equal(t, covered, covers(text, 1879048192), text)
	}
}

// TestLayersThatCannotBe are named, and why.
func TestLayersThatCannotBe(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("an ordinary user misses nothing")
	}
	run := func(without string) string {
		out, err := exec.Command("/proc/self/exe", "find", without).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	for _, capability := range []string{"CAP_SETUID", "CAP_SETGID", "CAP_SYS_PTRACE"} {
		require.Contains(t, run(capability), "tenders are not users of their own: "+capability+" is missing")
	}
	require.Contains(t, run("CAP_SYS_ADMIN"), "tenders have no namespaces of their own: CAP_SYS_ADMIN is missing")
	for _, capability := range []string{"CAP_SYS_ADMIN", "CAP_SYS_CHROOT"} {
		require.Contains(t, run(capability), "tenders share the mounts and the network of the machine: "+capability+" is missing")
	}
	require.Contains(t, run("setns"), "tenders share the mounts and the network of the machine: cannot enter a namespace: operation not permitted")
	require.Contains(t, run("CAP_SYS_ADMIN"), " is not empty", "where there is no void, a directory is the root")
	require.Contains(t, run("CAP_KILL"), "true 3  []", "where there is one, no directory is looked at")
	require.Contains(t, run("CAP_SYS_CHROOT"), "tenders keep the root directory: CAP_SYS_CHROOT is missing")
}

// TestRootsThatAreNotEmpty are not used.
func TestRootsThatAreNotEmpty(t *testing.T) {
	all := ^Capabilities(0)
	dir := t.TempDir()
	require.NoError(t, checkRoot(dir, all))
	require.ErrorContains(t, checkRoot(dir+"/missing", all), "no such file or directory")
	require.NoError(t, os.Mkdir(dir+"/x", 0o700))
	require.EqualError(t, checkRoot(dir, all), dir+" is not empty")
}

func TestNeeds(t *testing.T) {
	require.Equal(t, needed{program: "/usr/bin/solo5-hvt", image: "/images/a", blocks: []string{"/block/a=b", "/block/c"}},
		parseNeeds([]string{"/usr/bin/solo5-hvt", "--mem=16", "--net:n=tap0", "--block:x=/block/a=b", "--block-sector-size:x=512",
			"--block:y=/block/c", "--", "/images/a", "--block:z=/x"}))
	require.Equal(t, needed{program: "/bin/sh"}, parseNeeds([]string{"/bin/sh", "--"}))
}

// TestLimitsAreOnlyLowered.
func TestLimitsAreOnlyLowered(t *testing.T) {
	var before, after unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	require.NoError(t, lower(unix.RLIMIT_NOFILE, before.Max))
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &after))
	require.Equal(t, before, after)
}

// TestAFileOfAnotherUser is found to need a capability.
func TestAFileOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root opens files of other users")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	image := t.TempDir() + "/image"
	require.NoError(t, os.WriteFile(image, nil, 0o400))
	n := needed{image: image, blocks: []string{"/nowhere"}}
	before, err := Effective()
	require.NoError(t, err)
	require.NoError(t, n.tryWithout())
	require.NoError(t, os.Chown(image, 12345, 12345))
	require.ErrorIs(t, n.tryWithout(), syscall.EACCES)
	after, err := Effective()
	require.NoError(t, err)
	require.Equal(t, before, after)
}
