package tender_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/confine"
	"albatross/runtime/fifo"
	"albatross/runtime/tender"
	"albatross/test/guests"
	"albatross/test/programs"
)

// How long a start takes until the program in the place of the tender has run
// to its end, through the gate and without: the difference is the price of the
// gate. The launcher is albatross-tender as it is built for use.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	require.NoError(b, programs.Build(dir, "albatross-tender"))
	launcher := filepath.Join(dir, "albatross-tender")
	path := filepath.Join(b.TempDir(), ":c")
	require.NoError(b, fifo.Create(path))
	console, err := fifo.OpenWriter(path)
	require.NoError(b, err)
	defer func() { _ = console.Close() }()
	command := tender.Command{Launcher: []string{launcher, "launch"}, CPUs: []int{0}, Program: "/bin/true", Output: console}

	b.Run("direct", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, exec.Command(command.Program).Run())
		}
	})
	b.Run("gated", func(b *testing.B) {
		for b.Loop() {
			end(b, released(b, command))
		}
	})
	b.Run("launch", func(b *testing.B) { // what the daemon waits for before it writes the record
		for b.Loop() {
			g, err := tender.Launch(b.Context(), command)
			require.NoError(b, err)
			b.StopTimer()
			require.NoError(b, g.Abort())
			b.StartTimer()
		}
	})
	b.Run("launch and release", func(b *testing.B) {
		for b.Loop() {
			g := released(b, command)
			b.StopTimer()
			end(b, g)
			b.StartTimer()
		}
	})
}

func released(b *testing.B, c tender.Command) *tender.Gated {
	b.Helper()
	g, err := tender.Launch(b.Context(), c)
	require.NoError(b, err)
	require.NoError(b, g.Release(b.Context()))
	return g
}

func end(b *testing.B, g *tender.Gated) {
	b.Helper()
	_, err := g.Handle().Wait(b.Context())
	require.NoError(b, err)
	require.NoError(b, g.Handle().Close())
}

// BenchmarkGate tells how long it takes from the opening of the gate until that is answered,
// and until the guest has printed its first line, if the launcher goes on as the tender.
// x-exec is how many times as long it takes if the launcher executes the tender instead, which
// it does if they have different paths; x-solo5 if that is Solo5's, where it is installed;
// x-confined, under a daemon that is root, where the tender gives up what it has of root.
func BenchmarkGate(b *testing.B) {
	dir := b.TempDir()
	require.NoError(b, programs.Build(dir, "albatross-tender"))
	program, other := filepath.Join(dir, "albatross-tender"), filepath.Join(dir, "other")
	require.NoError(b, os.Link(program, other))
	image := filepath.Join(dir, "image")
	require.NoError(b, os.WriteFile(image, guests.Image("hello", "spt"), 0o400))
	empty := filepath.Join(dir, "empty")
	require.NoError(b, os.Mkdir(empty, 0o755))
	var goesOn, executes, confined, theirs passage
	if os.Geteuid() == 0 {
		var err error
		confined.void, err = confine.NewVoid(empty)
		require.NoError(b, err)
		defer confined.void.Close()
	}
	solo5, err := exec.LookPath("solo5-spt")
	for b.Loop() {
		goesOn.measure(b, program, nil, program, "spt", "--mem=16", "--", image, "--quiet")
		executes.measure(b, other, nil, program, "spt", "--mem=16", "--", image, "--quiet")
		confined.measure(b, program, &confine.Order{User: true, Root: empty}, program, "spt", "--mem=16", "--", image, "--quiet")
		if err == nil {
			theirs.measure(b, program, nil, solo5, "--mem=16", "--", image, "--quiet")
		}
	}
	released, line := median(goesOn.released), median(goesOn.line)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(released.Microseconds()), "us-released")
	b.ReportMetric(float64(line.Microseconds()), "us-line")
	b.ReportMetric(float64(median(executes.released))/float64(released), "x-exec-released")
	b.ReportMetric(float64(median(executes.line))/float64(line), "x-exec-line")
	b.ReportMetric(float64(median(confined.line))/float64(line), "x-confined-line")
	if err == nil {
		b.ReportMetric(float64(median(theirs.line))/float64(line), "x-solo5-line")
	}
}

type passage struct {
	void           *confine.Void // nil: there is none
	released, line []time.Duration
}

func (p *passage) measure(b *testing.B, launcher string, o *confine.Order, program string, args ...string) {
	output, outputEnd, err := os.Pipe()
	require.NoError(b, err)
	defer func() { _, _ = output.Close(), outputEnd.Close() }()
	g, err := tender.Launch(b.Context(), tender.Command{
		Launcher: []string{launcher, "launch"}, Program: program,
		Args: args, Output: outputEnd, Confine: o, Void: p.void,
	})
	require.NoError(b, err)
	awaitGate(b, g.Process().PID)
	begin := time.Now()
	require.NoError(b, g.Release(b.Context()))
	p.released = append(p.released, time.Since(begin))
	_, err = bufio.NewReader(output).ReadString('\n')
	require.NoError(b, err)
	p.line = append(p.line, time.Since(begin))
	require.NoError(b, g.Handle().Signal(unix.SIGKILL))
	end(b, g)
}

// awaitGate returns when a launcher waits at its gate, which is the read of a pipe.
func awaitGate(b *testing.B, pid int) {
	const patience = time.Minute
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		waits, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", pid))
		require.NoError(b, err)
		if string(waits) == "pipe_read" || string(waits) == "anon_pipe_read" {
			return
		}
		require.Less(b, time.Since(begin), patience, "it does not come to its gate: %s", waits)
	}
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}
