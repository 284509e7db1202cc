package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/store"
	"albatross/test/guests"
	"albatross/test/programs"
)

// many is how many unikernels are started at once, and starters how many clients start them.
const (
	many     = 1000
	starters = 8
)

// BenchmarkMany tells how long 8 clients take to create 1,000 unikernels of a known image, and
// how long the host takes to start 1,000 anew that it finds ended. x-loop is how many times as long
// that takes as it takes 8 goroutines to start as many tenders.
func BenchmarkMany(b *testing.B) {
	h := newHost(b)
	image := guests.Image("hello", "spt")
	var creates, starts, loops []time.Duration
	for range 3 {
		loops = append(loops, h.loop(b))
		creates = append(creates, took(func() { h.createMany(image) }))
		h.endAll(b)
		starts = append(starts, took(func() {
			h.start()
			h.awaitTenders(b, many)
		}))
		resident := float64(h.resident()) / 1024
		atMost("memory of the daemon that has started 1,000 anew", "MB", 60, []float64{resident})
		h.destroyAll()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(median(creates))/many, "ms-each-create")
	b.ReportMetric(milliseconds(median(starts))/many, "ms-each-start")
	b.ReportMetric(medianOf(ratios(creates, loops)), "x-loop-create")
	b.ReportMetric(medianOf(ratios(starts, loops)), "x-loop-start")
	atMost("1,000 creates by 8 clients: a loop that starts as many tenders", "×", 1/0.7, ratios(creates, loops))
	atMost("1,000 to start anew: a loop that starts as many tenders", "×", 1.5, ratios(starts, loops))
}

// byStarters does something many times, with as many goroutines as there are starters.
func byStarters(do func(n int)) {
	var next atomic.Int64
	var working sync.WaitGroup
	for range starters {
		working.Go(func() {
			for n := next.Add(1); n <= many; n = next.Add(1) {
				do(int(n))
			}
		})
	}
	working.Wait()
}

func (h *host) createMany(image []byte) {
	byStarters(func(n int) {
		c := config(image)
		c.Arguments.Fail.Restart = true
		h.ask(label(fmt.Sprint("many", n)), messages.UnikernelCreate{Form: 5, Config: c})
	})
}

// loop is how long it takes to start as many tenders without a daemon.
func (h *host) loop(b *testing.B) time.Duration {
	path := guests.Write(b, b.TempDir(), "hello", "spt")
	ends := make([]func(), many)
	took := took(func() {
		byStarters(func(n int) {
			_, ends[n-1] = untilFirstLine(b, exec.Command(h.path("albatross-tender"), "--mem=16", "--", path, "--quiet"))
		})
	})
	byStarters(func(n int) { ends[n-1]() })
	return took
}

// endAll ends all processes, and makes the records those of an earlier boot, as a power cut does.
func (h *host) endAll(b *testing.B) {
	tenders := h.tenders(b)
	require.Len(b, tenders, many)
	for _, keeper := range programs.Keepers(h.path("db")) {
		require.NoError(b, unix.Kill(keeper, unix.SIGKILL))
	}
	h.kill()
	for _, pid := range tenders {
		require.NoError(b, unix.Kill(pid, unix.SIGKILL))
	}
	h.awaitTenders(b, 0)
	db, err := store.Open(h.path("db"))
	require.NoError(b, err)
	state, err := db.Load()
	require.NoError(b, err)
	var changes []messages.Change
	for _, r := range state.Unikernels {
		r.Runtime.Value.Process.BootID = "before"
		changes = append(changes, messages.PutRuntime{Name: r.Name, Runtime: r.Runtime.Value})
	}
	require.NoError(b, db.Apply(changes))
	require.NoError(b, db.Close())
}

// awaitTenders returns when so many unikernels run.
func (h *host) awaitTenders(b *testing.B, n int) {
	for end := time.Now().Add(patience); len(h.tenders(b)) != n; time.Sleep(10 * time.Millisecond) {
		require.True(b, time.Now().Before(end), "there are never %d", n)
	}
}

// tenders returns the processes in which unikernels of the host run.
func (h *host) tenders(b *testing.B) (pids []int) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(b, err)
	for _, dir := range processes {
		name, _ := os.ReadFile(filepath.Join(dir, "comm")) // the process may be gone
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && string(name) == "albatross-spt\n" && bytes.Contains(line, []byte(h.path("db"))) {
			pid, err := strconv.Atoi(filepath.Base(dir))
			require.NoError(b, err)
			pids = append(pids, pid)
		}
	}
	return pids
}
