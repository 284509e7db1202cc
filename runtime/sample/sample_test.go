package sample_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
	"albatross/runtime/sample"
)

func TestWhatAProcessHasUsed(t *testing.T) {
	target, _ := start(t, "burn")
	s := take(t, target)
	require.Equal(t, target.Name, s.Name)
	require.Equal(t, target.Started, s.Started)
	r, m := s.Stats.Rusage, s.Stats.KinfoMem
	require.True(t, m.OK)
	used := duration(r.UTime) + duration(r.STime)
	require.GreaterOrEqual(t, used, burnt-20*time.Millisecond) // the kernel rounds each down to hundredths of a second
	require.Less(t, used, 20*burnt)
	runtime := time.Duration(m.Value.Runtime) * time.Microsecond
	require.InDelta(t, used, runtime, float64(40*time.Millisecond), "the same, cut off, and a little earlier")
	require.Positive(t, r.MinFlt)
	require.Positive(t, r.NVCSw+r.NIvCSw)
	require.Equal(t, r.MaxRSS, m.Value.RSS)
	require.Equal(t, vmSize(t, target.Process.PID), m.Value.VSize)
	require.Positive(t, m.Value.RSS)
	require.Less(t, m.Value.RSS*int64(os.Getpagesize()), m.Value.VSize)
	require.Positive(t, m.Value.TSize)
	require.Positive(t, m.Value.DSize)
	require.Equal(t, m.Value.DSize, m.Value.SSize)
	require.Equal(t, messages.Timeval{Seconds: 1234, Microseconds: 567891}, m.Value.Start)
	require.Empty(t, s.Stats.IfData)
	require.False(t, s.Stats.VMM.OK)
}

func duration(t messages.Timeval) time.Duration {
	return time.Duration(t.Seconds)*time.Second + time.Duration(t.Microseconds)*time.Microsecond
}

// vmSize returns the value of another file for the same.
func vmSize(t *testing.T, pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, _ := bytes.Cut(status, []byte("VmSize:"))
	var kb int64
	_, err = fmt.Sscan(string(rest), &kb)
	require.NoError(t, err)
	return kb << 10
}

func TestWhatAProcessHasWritten(t *testing.T) {
	dir, err := os.MkdirTemp(".", "io") // the usual place for such files often is in memory
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	dir, err = filepath.Abs(dir)
	require.NoError(t, err)
	target, _ := start(t, "write", "SAMPLE_TEST_FILE="+filepath.Join(dir, "f"))
	s := take(t, target)
	if !s.IO.OK {
		t.Skip("this kernel does not count what a process has written")
	}
	require.GreaterOrEqual(t, s.IO.Value.Written, int64(written))
}

func TestAProcessOfAnotherIsNotConfused(t *testing.T) {
	target, _ := start(t, "wait")
	target.Process.StartTime++
	requireGone(t, target)
}

func TestAProcessThatHasEnded(t *testing.T) {
	target, c := start(t, "wait")
	take(t, target)
	require.NoError(t, c.Process.Kill())
	info := unix.Siginfo{}
	require.NoError(t, unix.Waitid(unix.P_PID, c.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil))
	requireGone(t, target) // even if its parent has not reaped it
	_ = c.Wait()
	requireGone(t, target)
}

func requireGone(t *testing.T, target messages.Target) {
	t.Helper()
	p := takeAll(t, target)
	require.NoError(t, p.Err)
	require.Empty(t, p.Samples)
	require.Equal(t, []messages.Target{target}, p.Gone)
}

func TestOneThatIsGoneCostsNoOther(t *testing.T) {
	there, _ := start(t, "wait")
	gone := there
	gone.Name = messages.Name{Label: "gone"}
	gone.Process.PID = 0
	p := takeAll(t, gone, there, gone)
	require.NoError(t, p.Err)
	require.Len(t, p.Samples, 1)
	require.Equal(t, []messages.Target{gone, gone}, p.Gone)
}

// The user who starts a program chooses its name.
func TestNamesOfPrograms(t *testing.T) {
	for _, name := range []string{"a) R 1 1", ") Z (", "x\nvoluntary_ctxt_switches:\t9", "(((", "\xff\xfe"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			copyFile(t, path, os.Args[0])
			target, _ := startAs(t, path, "wait")
			comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", target.Process.PID))
			require.NoError(t, err)
			require.Equal(t, name[:min(len(name), 15)]+"\n", string(comm))
			s := take(t, target)
			require.Positive(t, s.Stats.KinfoMem.Value.RSS)
			require.Less(t, s.Stats.Rusage.NVCSw, int64(100_000))
		})
	}
}

func copyFile(t *testing.T, to, from string) {
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o700)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}

func TestFind(t *testing.T) {
	before := time.Now()
	target, c := start(t, "wait")
	process, started, err := sample.Find(c.Process.Pid, 0)
	require.NoError(t, err)
	require.Equal(t, target.Process, process)
	require.WithinRange(t, started, before.Add(-20*time.Millisecond), time.Now())
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	_, _, err = sample.Find(c.Process.Pid, 0)
	require.ErrorIs(t, err, proc.ErrGone)
}

func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// Files are kept open only of targets that are measured, as long as the process runs.
func TestFilesAreClosed(t *testing.T) {
	first, c := start(t, "wait")
	second, _ := start(t, "wait")
	before := descriptors(t)
	s := sample.New()
	both := s.Take([]messages.Target{first, second}, false)
	require.Len(t, both.Samples, 2)
	require.Equal(t, before+10, descriptors(t))
	require.Len(t, s.Take([]messages.Target{first}, true).Samples, 1)
	require.Equal(t, before+5, descriptors(t))
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	ended := descriptors(t) - 5
	require.Len(t, s.Take([]messages.Target{first, second}, true).Gone, 1)
	require.Equal(t, ended+5, descriptors(t))
	s.Close()
	require.Equal(t, ended, descriptors(t))
	require.Equal(t, sample.Pass{}, s.Take([]messages.Target{second}, true))
	require.Equal(t, ended, descriptors(t))
}
