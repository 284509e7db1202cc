package hvt

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/solo5"
	"albatross/test/guests"
)

func TestTooMuchMemory(t *testing.T) {
	_, err := Prepare(Config{Config: solo5.Config{Image: guests.Write(t, t.TempDir(), "hello", "hvt"), Memory: 524290 << 20}})
	require.EqualError(t, err, "cannot use 524290 MB of memory: guest memory size 549757911040 bytes exceeds the max size 549755813888 bytes")
}

// TestCore: debuggers find registers and memory where they look for them.
func TestCore(t *testing.T) {
	dir := t.TempDir()
	c, err := openCore(dir)
	require.NoError(t, err)
	memory := make([]byte, 4*image.PageSize)
	copy(memory[image.PageSize:], "something")
	var s state
	s.r15, s.rax, s.rip, s.cs.selector, s.rsp, s.fs.base, s.gs.selector = 15, 1, 0x101000, 8, 0x1ff000, 7, 16
	require.NoError(t, c.write(memory, s.status(nil)))
	require.ErrorIs(t, c.write(memory, s.status(nil)), unix.EEXIST)
	require.NoError(t, c.close())

	file, err := elf.Open(filepath.Join(dir, c.name))
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	require.Equal(t, elf.ET_CORE, file.Type)
	require.Len(t, file.Progs, 2)
	dumped, err := io.ReadAll(file.Progs[1].Open())
	require.NoError(t, err)
	require.Equal(t, memory, dumped)
	note, err := io.ReadAll(file.Progs[0].Open())
	require.NoError(t, err)
	require.Len(t, note, noteHeaderSize+statusSize)
	require.Equal(t, "CORE\x00", string(note[12:17]))
	register := func(i int) uint64 { return binary.LittleEndian.Uint64(note[noteHeaderSize+112+8*i:]) }
	require.Equal(t, []uint64{15, 1, 0x101000, 8, 0x1ff000, 7, 16},
		[]uint64{register(0), register(10), register(16), register(17), register(19), register(21), register(26)})
}

// TestCoreOfATrap: the registers are those that the guest had at the trap.
func TestCoreOfATrap(t *testing.T) {
	trapped := make([]byte, cookieSize)
	for i := range 7 {
		binary.LittleEndian.PutUint64(trapped[8*i:], uint64(100+i))
	}
	status := state{}.status(trapped)
	register := func(i int) uint64 { return binary.LittleEndian.Uint64(status[112+8*i:]) }
	require.Equal(t, []uint64{102, 103, 104, 105, 106},
		[]uint64{register(16), register(17), register(18), register(19), register(20)})
}

// TestFailures: what KVM reports is explained, and ends the guest with its registers.
func TestFailures(t *testing.T) {
	m := machine{shared: make([]byte, 4096)}
	le := binary.LittleEndian
	le.PutUint64(m.shared[detailOffset:], 0x5000)
	for reason, want := range map[uint32]string{
		exitMMIO:          "host/guest translation fault at 0x5000",
		exitShutdown:      "triple fault, an exception that it does not handle",
		exitHalted:        "it halted its CPU",
		exitFailEntry:     "the processor refuses its state: reason 0x5000",
		exitInternalError: "KVM has an internal error: suberror 20480",
		99:                "KVM stopped it: reason 99",
	} {
		require.EqualError(t, m.explain(reason), want)
	}
	f := &failure{errTranslation, state{registers: registers{rip: 0x1234, rax: 0xabcd}}}
	require.True(t, errors.Is(f, errTranslation))
	require.Regexp(t, `^cannot continue unikernel: host/guest translation fault: rip=0x1234\nrax=0xabcd `, f.Error())
}

// TestOutput: a port is read as KVM describes it, and nothing else counts as a hypercall.
func TestOutput(t *testing.T) {
	le := binary.LittleEndian
	output := func(direction, size byte, count uint32, at uint64) output {
		m := machine{shared: make([]byte, 4096)}
		detail := m.shared[detailOffset:]
		detail[0], detail[1] = direction, size
		le.PutUint16(detail[2:], 0x502)
		le.PutUint32(detail[4:], count)
		le.PutUint64(detail[8:], at)
		le.PutUint32(m.shared[4092:], 0x1234)
		o, err := m.output()
		require.NoError(t, err)
		return o
	}
	require.Equal(t, output(1, 4, 1, 4092).value, uint32(0x1234))
	require.False(t, output(1, 4, 1, 4092).odd)
	require.Equal(t, output(1, 4, 1, 4092).place, uint64(0x502))
	require.True(t, output(0, 4, 1, 4092).odd, "IN")
	require.True(t, output(1, 2, 1, 4092).odd, "16 bits")
	require.True(t, output(1, 4, 2, 4088).odd, "a string")
	require.True(t, output(1, 4, 1, 4093).odd, "outside")
	require.True(t, output(1, 4, 1, 1<<63).odd, "far outside")
}
