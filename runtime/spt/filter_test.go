package spt

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"albatross/runtime/image"
)

// systemCall is what a filter judges.
type systemCall struct {
	number, architecture uint32
	arguments            [6]uint64
}

func (s systemCall) data() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, s.number)
	b = le.AppendUint32(b, s.architecture)
	b = le.AppendUint64(b, 0) // instruction pointer
	for _, a := range s.arguments {
		b = le.AppendUint64(b, a)
	}
	return b
}

// judge runs a filter as the kernel does.
func judge(t require.TestingT, filter []unix.SockFilter, c systemCall) uint32 {
	data := c.data()
	var a uint32
	for pc := 0; ; pc++ {
		require.Less(t, pc, len(filter), "filter runs off its end")
		switch i := filter[pc]; i.Code {
		case opLoad:
			a = binary.LittleEndian.Uint32(data[i.K:])
		case opReturn:
			return i.K
		case opJumpIfEqual:
			pc += jump(a == i.K, i)
		case opJumpIfGreater:
			pc += jump(a > i.K, i)
		case opJumpIfAnyBitOf:
			pc += jump(a&i.K != 0, i)
		default:
			require.Fail(t, "unknown instruction")
		}
	}
}

func jump(holds bool, i unix.SockFilter) int {
	if holds {
		return int(i.Jt)
	}
	return int(i.Jf)
}

// allowed is what the rules mean, said without BPF.
func allowed(rules []rule, c systemCall) bool {
	if c.architecture != unix.AUDIT_ARCH_X86_64 {
		return false
	}
	for _, r := range rules {
		holds := r.call == c.number
		for _, condition := range r.conditions {
			v := c.arguments[condition.argument]
			holds = holds && (v == condition.value || (condition.compare == atMost && v < condition.value))
		}
		if holds {
			return true
		}
	}
	return false
}

// maxDevices are as many as a manifest can have.
const maxDevices = 63

func drawDevices(t *rapid.T) []device {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) device {
		if rapid.Bool().Draw(t, "net") {
			return device{kind: image.Net}
		}
		size := uint16(512) << rapid.IntRange(0, 6).Draw(t, "sector size")
		sectors := rapid.Uint64Range(1, 1<<45).Draw(t, "sectors")
		return device{kind: image.Block, sectorSize: size, capacity: sectors * uint64(size)}
	}), 0, maxDevices).Draw(t, "devices")
}

// drawCall draws a call that is allowed, or nearly: random ones hardly ever
// touch a boundary.
func drawCall(t *rapid.T, rules []rule) systemCall {
	r := rapid.SampledFrom(rules).Draw(t, "rule")
	c := systemCall{number: r.call, architecture: unix.AUDIT_ARCH_X86_64}
	for i := range c.arguments {
		c.arguments[i] = rapid.Uint64().Draw(t, "argument")
	}
	for _, condition := range r.conditions {
		off := rapid.SampledFrom([]uint64{0, 0, 0, 1, ^uint64(0), 1 << 32, 0xffffffff << 32}).Draw(t, "off")
		c.arguments[condition.argument] = condition.value + off
	}
	switch rapid.IntRange(0, 9).Draw(t, "twist") {
	case 0:
		c.architecture = rapid.SampledFrom([]uint32{unix.AUDIT_ARCH_I386, 0}).Draw(t, "architecture")
	case 1:
		c.number |= x32
	case 2:
		c.number = rapid.Uint32Range(0, 500).Draw(t, "number")
	}
	return c
}

func TestFilterMeansTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := rules(drawDevices(t))
		filter := compileFilter(rules)
		require.LessOrEqual(t, len(filter), 4096, "the kernel takes no more")
		for range 20 {
			c := drawCall(t, rules)
			want := uint32(unix.SECCOMP_RET_KILL_PROCESS)
			if allowed(rules, c) {
				want = unix.SECCOMP_RET_ALLOW
			}
			require.Equal(t, want, judge(t, filter, c), "%+v", c)
		}
	})
}

// The rules themselves, by example: what a guest with one device of each kind
// may do and what it may just not do.
func TestRules(t *testing.T) {
	devices := []device{
		{kind: image.Block, capacity: 4096, sectorSize: 512},
		{kind: image.Net},
	}
	filter := compileFilter(rules(devices))
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
		{"set fs", true, unix.SYS_ARCH_PRCTL, [6]uint64{0x1002, 5}},
		{"set gs", false, unix.SYS_ARCH_PRCTL, [6]uint64{0x1001, 5}},
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
		got := judge(t, filter, systemCall{c.number, unix.AUDIT_ARCH_X86_64, c.arguments})
		require.Equal(t, c.allowed, got == unix.SECCOMP_RET_ALLOW, c.what)
	}
}
