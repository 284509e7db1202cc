package sample

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/runtime/proc"
)

// stat returns a /proc/PID/stat in which each field that is used has its own number as its value.
func stat(name, state string) string {
	fields := []string{"7", "(" + name + ")", state}
	for n := 4; n <= 52; n++ {
		fields = append(fields, fmt.Sprint(n))
	}
	fields[7], fields[24] = "-1", "18446744073709551615" // neither is used
	return strings.Join(fields, " ") + "\n"
}

func TestStatIsReadBehindAnyProgramName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.RuneFrom([]rune("a )(\n\t0Zé")), 0, 15, -1).Draw(t, "name")
		var u usage
		require.NoError(t, u.parseStat([]byte(stat(name, "S"))))
		require.Equal(t, usage{minflt: 10, majflt: 12, utime: 14, stime: 15, start: 22, vsize: 23, nswap: 36}, u)
	})
}

func TestStates(t *testing.T) {
	for state, ended := range map[string]bool{"R": false, "S": false, "D": false, "T": false, "Z": true, "X": true, "x": true} {
		var u usage
		require.NoError(t, u.parseStat([]byte(stat("x", state))))
		require.Equal(t, ended, u.ended, state)
	}
}

func TestNonsense(t *testing.T) {
	var u usage
	short := stat("x", "S")
	short = short[:strings.Index(short, " 36")]
	for _, text := range []string{
		"", " ", "7", ")", "7 (x)", "7 (x) ", "7 (x) S", short, strings.Repeat("1 ", 60),
		strings.Replace(stat("x", "S"), " 14 ", " x ", 1), strings.Replace(stat("x", "S"), " 14 ", " -1 ", 1),
		strings.Replace(stat("x", "S"), " 14 ", " 9223372036854775808 ", 1),
	} {
		require.Error(t, u.parseStat([]byte(text)), "%q", text)
	}
	for _, text := range []string{"", "1 2 3 4 5", "1 x 3 4 5 6", "x"} {
		require.Error(t, u.parseStatm([]byte(text)), "%q", text)
	}
	for _, text := range []string{"", "Name:\tx\n", "\nvoluntary_ctxt_switches:\t1\n", "\nnonvoluntary_ctxt_switches:\t1\n", "\nvoluntary_ctxt_switches:\t\nnonvoluntary_ctxt_switches:\t1"} {
		require.Error(t, u.parseStatus([]byte(text)), "%q", text)
	}
	for _, text := range []string{"", "rchar: 1\nread_bytes: 1\n", "rchar: 1\nread_bytes: x\nwrite_bytes: 1\n"} {
		require.Error(t, u.parseIO([]byte(text)), "%q", text)
	}
	require.False(t, u.io.OK)
}

// The last line counts, and not an earlier one that looks like it.
func TestLabels(t *testing.T) {
	var u usage
	require.NoError(t, u.parseStatus([]byte("Name:\tx\nvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t2\n")))
	require.Equal(t, usage{voluntary: 1, involuntary: 2}, u)
	require.NoError(t, u.parseStatus([]byte("Name:\tx\nVmExe:\t      16 kB\nvoluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t2\n")))
	require.Equal(t, 16/pageKB, u.text)
	require.NoError(t, u.parseRollup([]byte("00010000-7ffe6f18e000 ---p 00000000 00:00 0      [rollup]\nRss:                  36 kB\nPss:                  20 kB\n")))
	require.Equal(t, 36/pageKB, u.rss)
	require.Error(t, u.parseRollup([]byte("Pss: 20 kB\n")))
	require.NoError(t, u.parseIO([]byte("rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 7\n")))
	require.Equal(t, messages.Some(messages.BlockIO{Read: 4096, Written: 8192}), u.io)
}

// A file that does not fit into the buffer is read to its end.
func TestSmallBuffer(t *testing.T) {
	self, err := proc.Identify(os.Getpid())
	require.NoError(t, err)
	s := New()
	defer s.Close()
	s.buffer = make([]byte, 16)
	u, err := s.usage(self, true)
	require.NoError(t, err)
	require.Positive(t, u.voluntary+u.involuntary)
}

// Files beyond the limit of descriptors are not kept open, and measured all the same.
func TestFewDescriptors(t *testing.T) {
	self, err := proc.Identify(os.Getpid())
	require.NoError(t, err)
	parent, err := proc.Identify(os.Getppid())
	require.NoError(t, err)
	s := New()
	defer s.Close()
	s.most = 1
	for range 2 {
		require.Len(t, s.Take([]messages.Target{{Process: self}, {Process: parent}}, true).Samples, 2)
		require.Len(t, s.open, 1)
	}
}

func TestUnits(t *testing.T) {
	u := usage{utime: 1234, stime: 5, runtime: 12399999 * time.Microsecond}
	require.Equal(t, messages.Timeval{Seconds: 12, Microseconds: 340_000}, u.rusage().UTime)
	require.Equal(t, messages.Timeval{Microseconds: 50_000}, u.rusage().STime)
	require.Equal(t, int64(12_399_999), u.memory(messages.Target{}.Started).Runtime)
}

// Whatever is in the files, parsing at most returns an error, and no number is negative.
func FuzzParse(f *testing.F) {
	f.Add([]byte(stat(") S (", "S")))
	for _, file := range []string{"stat", "statm", "status", "io", "smaps_rollup"} {
		contents, err := os.ReadFile("/proc/self/" + file)
		require.NoError(f, err)
		f.Add(contents)
	}
	f.Fuzz(func(t *testing.T, contents []byte) {
		var u usage
		for _, parse := range []func([]byte) error{u.parseStat, u.parseStatm, u.parseStatus, u.parseIO, u.parseRollup} {
			_ = parse(contents)
		}
		for _, n := range []int64{
			u.start, u.minflt, u.majflt, u.nswap, u.utime, u.stime, u.vsize, u.size, u.rss, u.text, u.data,
			u.voluntary, u.involuntary, u.io.Value.Read, u.io.Value.Written,
		} {
			require.GreaterOrEqual(t, n, int64(0))
		}
	})
}

// The same holds for a message of the kernel that is cut off.
func FuzzLink(f *testing.F) {
	f.Add([]byte("0123456789abcdef\x06\x00\x03\x00lo\x00"))
	f.Fuzz(func(t *testing.T, message []byte) {
		counters{}.add(message, counters{"lo": counted{}})
		for kind, value, rest, ok := nextAttribute(message); ok; kind, value, rest, ok = nextAttribute(rest) {
			require.LessOrEqual(t, len(value)+len(rest)+4, len(message), "%d", kind)
		}
	})
}
