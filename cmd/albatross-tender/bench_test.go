package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/test/guests"
)

// competitors are our tenders and, where they are installed, Solo5's, each for the guests
// of its target.
func competitors(b *testing.B, run func(b *testing.B, guest func(name string) string, tender ...string)) {
	for _, target := range guests.Targets() {
		image := map[string]func(string) string{"spt": guest, "hvt": hvtGuest}[target]
		if err := guests.KVM(); err != nil && target == "hvt" {
			b.Logf("this machine cannot run hvt: %v", err)
			continue
		}
		b.Run(target+" ours", func(b *testing.B) { run(b, image, tender, target) })
		if solo5, err := exec.LookPath("solo5-" + target); err == nil {
			b.Run(target+" Solo5's", func(b *testing.B) { run(b, image, solo5) })
		}
	}
}

// BenchmarkFirstByte is the time from the exec of a tender until its guest has printed a
// line, and the memory that the process has then.
func BenchmarkFirstByte(b *testing.B) {
	competitors(b, func(b *testing.B, guest func(string) string, tender ...string) {
		kb := 0
		for b.Loop() {
			c := exec.Command(tender[0], append(tender[1:], "--mem=32", "--", guest("hello"), "--quiet")...)
			output, err := c.StdoutPipe()
			require.NoError(b, err)
			require.NoError(b, c.Start())
			_, err = bufio.NewReader(output).ReadString('\n')
			require.NoError(b, err)
			b.StopTimer()
			kb += residentKB(b, c)
			require.NoError(b, c.Process.Kill())
			require.Error(b, c.Wait())
			b.StartTimer()
		}
		b.ReportMetric(float64(kb)/float64(b.N), "KB")
	})
}

func residentKB(b *testing.B, c *exec.Cmd) (kb int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
	require.NoError(b, err)
	_, err = fmt.Sscanf(line(string(status), "VmRSS:"), "VmRSS: %d kB", &kb)
	require.NoError(b, err)
	return kb
}

// BenchmarkLines is how long a guest takes to print a line: for hvt a hypercall.
func BenchmarkLines(b *testing.B) {
	competitors(b, func(b *testing.B, guest func(string) string, tender ...string) {
		c := exec.Command(tender[0], append(tender[1:], "--mem=32", "--", guest("chatty"), fmt.Sprint(b.N), "exit")...)
		require.NoError(b, c.Run())
	})
}
