package sample_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/sample"
)

const (
	// many is how many unikernels a large host has.
	many = 1000
	// budget is what a pass over them may cost, in time of a CPU.
	budget = 50 * time.Millisecond
)

func tapName(i int) string { return fmt.Sprintf("tap%d", i) }

// Compares what a pass over many processes and taps costs with the budget, and with just reading
// three files of each process.
func BenchmarkTake(b *testing.B) {
	targets := make([]messages.Target, many)
	for i := range targets {
		c := exec.Command("sleep", "infinity")
		require.NoError(b, c.Start())
		b.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		})
		targets[i] = target(b, c.Process.Pid)
		targets[i].Ports = []messages.Port{{Device: "net", Link: addTap(b, tapName(i))}}
	}
	s := sample.New()
	b.Cleanup(s.Close)
	s.Take(targets, false) // this opens all files
	var taking, reading time.Duration
	for b.Loop() {
		taking += costs(func() {
			p := s.Take(targets, false)
			require.NoError(b, p.Err)
			require.Len(b, p.Samples, many)
			require.Len(b, p.Samples[many-1].Stats.IfData, 1)
		})
		reading += costs(func() { readFiles(b, targets) })
	}
	b.ReportMetric(float64(taking.Microseconds())/float64(b.N)/1000, "cpu-ms/pass")
	b.ReportMetric(float64(taking)/float64(b.N)/float64(budget), "pass/budget")
	b.ReportMetric(float64(taking)/float64(reading), "pass/reading")
}

// costs returns how much CPU time f takes, with its own garbage, but without that of others.
func costs(f func()) time.Duration {
	runtime.GC()
	begin := cpu()
	f()
	return cpu() - begin
}

func readFiles(b *testing.B, targets []messages.Target) {
	for _, t := range targets {
		for _, file := range []string{"stat", "statm", "status"} {
			_, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", t.Process.PID, file))
			require.NoError(b, err)
		}
	}
}
