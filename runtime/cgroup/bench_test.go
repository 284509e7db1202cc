package cgroup

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

var limited = Limits{Memory: 256 << 20, CPUs: []int{0}}

// withOthers runs a benchmark alone, and beside 500 other cgroups.
func withOthers(b *testing.B, run func(b *testing.B, tree *Tree)) {
	for _, others := range []int{0, 500} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			tree := newTree(b)
			for i := range others {
				require.NoError(b, tree.Create(parse(b, fmt.Sprintf("other:u%d", i)), limited))
			}
			b.ResetTimer()
			run(b, tree)
		})
	}
}

func BenchmarkCreate(b *testing.B) {
	withOthers(b, func(b *testing.B, tree *Tree) {
		name := parse(b, "hello")
		for range b.N {
			require.NoError(b, tree.Create(name, limited))
			b.StopTimer()
			require.NoError(b, tree.Remove(name))
			b.StartTimer()
		}
	})
}

// BenchmarkJoin moves the process to each cgroup in turn: to join its own again costs less.
func BenchmarkJoin(b *testing.B) {
	withOthers(b, func(b *testing.B, tree *Tree) {
		names := []messages.Name{parse(b, "one"), parse(b, "another")}
		for _, name := range names {
			require.NoError(b, tree.Create(name, limited))
		}
		w := start(b)
		b.ResetTimer()
		for i := range b.N {
			require.NoError(b, tree.Join(names[i%2], w.pid))
		}
		b.StopTimer()
		w.kill()
		w.reap()
	})
}

func BenchmarkRemove(b *testing.B) {
	withOthers(b, func(b *testing.B, tree *Tree) {
		name := parse(b, "hello")
		for range b.N {
			b.StopTimer()
			require.NoError(b, tree.Create(name, limited))
			b.StartTimer()
			require.NoError(b, tree.Remove(name))
		}
	})
}

// BenchmarkMove tells how many times as long it takes to move a process into a cgroup of
// version 2 that runs already (x-move) as to start one there.
func BenchmarkMove(b *testing.B) {
	mounts := usable(b)
	v2 := slices.IndexFunc(mounts, func(m mount) bool { return m.v2 })
	if v2 < 0 {
		b.Skip("needs cgroups of version 2")
	}
	dir := filepath.Join(mounts[v2].dir, "albatross-test-"+rand.Text())
	require.NoError(b, os.Mkdir(dir, 0o700))
	b.Cleanup(func() { require.NoError(b, os.Remove(dir)) })
	file, err := os.Open(dir)
	require.NoError(b, err)
	b.Cleanup(func() { _ = file.Close() })
	var started, moved []time.Duration
	for b.Loop() {
		into, pid := sleeper(b, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(file.Fd())})
		end(b, pid)
		_, pid = sleeper(b, nil)
		begin := time.Now()
		require.NoError(b, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0))
		started, moved = append(started, into), append(moved, time.Since(begin))
		end(b, pid)
		time.Sleep(100 * time.Millisecond) // a move that follows another one at once costs less
	}
	median := func(list []time.Duration) float64 {
		slices.Sort(list)
		return float64(list[len(list)/2])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(moved)/median(started), "x-move")
}

// sleeper starts a process, and returns how long that took.
func sleeper(b *testing.B, attr *syscall.SysProcAttr) (time.Duration, int) {
	begin := time.Now()
	pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "1h"}, &syscall.ProcAttr{Sys: attr})
	require.NoError(b, err)
	return time.Since(begin), pid
}

func end(b *testing.B, pid int) {
	require.NoError(b, unix.Kill(pid, unix.SIGKILL))
	_, err := unix.Wait4(pid, nil, 0, nil)
	require.NoError(b, err)
}
