package spt

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/seccomp"
	"albatross/runtime/solo5"
	"albatross/test/bpf"
)

// maxDevices are as many as a manifest can have.
const maxDevices = 63

// TestTheKernelTakesTheRules of as many devices as there can be.
func TestTheKernelTakesTheRules(t *testing.T) {
	devices := make([]solo5.Device, maxDevices)
	for i := range devices {
		devices[i] = solo5.Device{Kind: image.Block, Capacity: 1 << 40, SectorSize: 512}
	}
	require.LessOrEqual(t, len(seccomp.Compile(rules(devices))), 4096)
}

// The rules themselves, by example: what a guest with one device of each kind
// may do and what it may just not do.
func TestRules(t *testing.T) {
	devices := []solo5.Device{
		{Kind: image.Block, Capacity: 4096, SectorSize: 512},
		{Kind: image.Net},
	}
	filter := seccomp.Compile(rules(devices))
	for _, c := range []struct {
		what      string
		allowed   bool
		number    uint32
		arguments [6]uint64
	}{
		{"console", true, unix.SYS_WRITE, [6]uint64{1, 7, 1 << 40}},
		{"standard error", false, unix.SYS_WRITE, [6]uint64{2}},
		{"standard input", false, unix.SYS_READ, [6]uint64{0}},
		{"read from the console", false, unix.SYS_READ, [6]uint64{1}},
		{"console with a high bit", false, unix.SYS_WRITE, [6]uint64{1<<32 + 1}},
		{"exit", true, unix.SYS_EXIT_GROUP, [6]uint64{255}},
		{"exit of a thread", false, unix.SYS_EXIT, [6]uint64{}},
		{"wait", true, unix.SYS_EPOLL_PWAIT, [6]uint64{3}},
		{"wait for another set", false, unix.SYS_EPOLL_PWAIT, [6]uint64{4}},
		{"timer", true, unix.SYS_TIMERFD_SETTIME, [6]uint64{4, 1}},
		{"another timer", false, unix.SYS_TIMERFD_SETTIME, [6]uint64{3}},
		{"read timer", false, unix.SYS_READ, [6]uint64{4}},
		{"wall clock", true, unix.SYS_CLOCK_GETTIME, [6]uint64{0}},
		{"monotonic clock", true, unix.SYS_CLOCK_GETTIME, [6]uint64{1}},
		{"CPU clock", false, unix.SYS_CLOCK_GETTIME, [6]uint64{2}},
		{"first sector", true, unix.SYS_PREAD64, [6]uint64{5, 0, 512, 0}},
		{"last sector", true, unix.SYS_PWRITE64, [6]uint64{5, 0, 512, 3584}},
		{"behind the last sector", false, unix.SYS_PWRITE64, [6]uint64{5, 0, 512, 3585}},
		{"far behind", false, unix.SYS_PREAD64, [6]uint64{5, 0, 512, 1 << 32}},
		{"before the first sector", false, unix.SYS_PREAD64, [6]uint64{5, 0, 512, ^uint64(0)}},
		{"half a sector", false, unix.SYS_PREAD64, [6]uint64{5, 0, 256, 0}},
		{"two sectors", false, unix.SYS_PREAD64, [6]uint64{5, 0, 1024, 0}},
		{"append to the disk", false, unix.SYS_WRITE, [6]uint64{5}},
		{"receive", true, unix.SYS_READ, [6]uint64{6, 0, 1 << 16}},
		{"send", true, unix.SYS_WRITE, [6]uint64{6}},
		{"seek in the network", false, unix.SYS_PREAD64, [6]uint64{6, 0, 512, 0}},
		{"descriptor of nobody", false, unix.SYS_READ, [6]uint64{7}},
		{"protect memory", false, unix.SYS_MPROTECT, [6]uint64{}},
	} {
		got := bpf.Judge(filter, bpf.Call{Number: c.number, Architecture: seccomp.Architecture, Arguments: c.arguments})
		require.Equal(t, c.allowed, got == unix.SECCOMP_RET_ALLOW, c.what)
	}
}
