package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

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

// BenchmarkRoundTrips is how long a frame takes to a guest and back, over a tap.
func BenchmarkRoundTrips(b *testing.B) {
	competitors(b, func(b *testing.B, guest func(string) string, tender ...string) {
		isolate(b)
		c := exec.Command(tender[0], append(tender[1:], "--mem=32", "--net:service="+tap, "--net-mac:service=02:67:75:65:73:74", "--", guest("net"))...)
		defer start(b, c)()
		fd := wire(b)
		defer func() { require.NoError(b, unix.Close(fd)) }()
		question, answer := frames(0)
		for send(b, fd, question); !receive(b, fd, answer); send(b, fd, question) {
		}
		for b.Loop() {
			send(b, fd, question)
			for !receive(b, fd, answer) {
			}
		}
	})
}

// BenchmarkRoundTripsOfPairs is the same without a tap.
func BenchmarkRoundTripsOfPairs(b *testing.B) {
	for _, target := range guests.Targets() {
		b.Run(target, func(b *testing.B) {
			if err := guests.KVM(); err != nil && target == "hvt" {
				b.Skipf("this machine cannot run hvt: %v", err)
			}
			guest, other := sockets(b)
			c := exec.Command(tender, target, "--mem=32", "--net:service=@3", "--net-mac:service=02:67:75:65:73:74", "--", imageOf("net", target))
			c.ExtraFiles = []*os.File{guest}
			defer start(b, c)()
			fd := int(other.Fd())
			question, answer := frames(0)
			for b.Loop() {
				send(b, fd, question)
				require.Equal(b, answer, next(b, fd))
			}
		})
	}
}

// start starts a guest, and waits for its first line. Stop kills it.
func start(b *testing.B, c *exec.Cmd) (stop func()) {
	b.Helper()
	output, err := c.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, c.Start())
	_, err = bufio.NewReader(output).ReadString('\n')
	require.NoError(b, err)
	return func() {
		require.NoError(b, c.Process.Kill())
		require.Error(b, c.Wait())
	}
}

// BenchmarkBlocks is how fast a guest reads and writes a block device, in sectors of 4 KB that
// the kernel has in memory.
func BenchmarkBlocks(b *testing.B) {
	const sector = 4096
	for _, what := range []string{"read", "fill"} {
		b.Run(what, func(b *testing.B) {
			competitors(b, func(b *testing.B, guest func(string) string, tender ...string) {
				path := filepath.Join(b.TempDir(), "disk")
				require.NoError(b, os.WriteFile(path, make([]byte, 16<<20), 0o600))
				b.SetBytes(sector)
				b.ResetTimer()
				c := exec.Command(tender[0], append(tender[1:], "--mem=32", "--block:storage="+path, fmt.Sprint("--block-sector-size:storage=", sector),
					"--", guest("disk"), what, fmt.Sprint(b.N))...)
				require.NoError(b, c.Run())
			})
		})
	}
}

// BenchmarkMany is what a guest of 40 of one image has in memory, its part of what they share
// included: of an image that nobody may write to, and of one of which each has a copy.
func BenchmarkMany(b *testing.B) {
	const many, mb = 40, 1 << 20
	for name, mode := range map[string]os.FileMode{"shared": 0o444, "copied": 0o644} {
		b.Run(name, func(b *testing.B) {
			competitors(b, func(b *testing.B, _ func(string) string, tender ...string) {
				target := "spt"
				if strings.Contains(b.Name(), "hvt") {
					target = "hvt"
				}
				path := newLarge(b, target, func(base uint64) []guests.Segment {
					return []guests.Segment{
						{Address: base, Contents: numbered(4 * mb), Flags: flagsConstants},
						{Address: base + 4*mb, Contents: numbered(mb), Flags: flagsData},
					}
				}).write(b, mode)
				kb := 0
				for b.Loop() {
					kb += together(b, many, append(tender, "--mem=32", "--", path, "pages"))
				}
				b.ReportMetric(float64(kb)/many/float64(b.N), "KB/guest")
			})
		})
	}
}

// together starts as many guests, and returns the memory of all.
func together(b *testing.B, many int, command []string) (kb int) {
	var running []*exec.Cmd
	for range many {
		c := exec.Command(command[0], command[1:]...)
		defer start(b, c)()
		running = append(running, c)
	}
	for _, c := range running {
		kb += proportionalKB(b, c)
	}
	return kb
}

// proportionalKB is the memory of a process, of which it has its part where others share it.
func proportionalKB(b *testing.B, c *exec.Cmd) (kb int) {
	b.Helper()
	rollup, err := os.ReadFile(proc(c, "smaps_rollup"))
	require.NoError(b, err)
	_, err = fmt.Sscanf(line(string(rollup), "Pss:"), "Pss: %d kB", &kb)
	require.NoError(b, err)
	return kb
}
