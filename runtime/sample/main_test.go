package sample_test

import (
	"bufio"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
	"albatross/runtime/sample"
	"albatross/test/netns"
)

// mode is the environment variable that makes the test binary a process to measure. It prints a
// line when it is ready, and ends with its standard input.
const mode = "SAMPLE_TEST_MODE"

func TestMain(m *testing.M) {
	netns.Enter()
	if mode := os.Getenv(mode); mode != "" {
		work(mode)
	}
	goleak.VerifyTestMain(m)
}

const (
	deadline = 10 * time.Second
	pause    = 10 * time.Millisecond
)

// burnt is how much CPU the process that burns some has used when it is ready.
const burnt = 200 * time.Millisecond

// written is how many bytes the process that writes has written when it is ready.
const written = 1 << 20

func work(mode string) {
	switch mode {
	case "burn":
		for cpu() < burnt {
		}
	case "write":
		if err := write(); err != nil {
			panic(err)
		}
	}
	_, _ = os.Stdout.WriteString("ready\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

func cpu() time.Duration {
	var used unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// write writes to a file system whose writes the kernel counts.
func write() error {
	f, err := os.OpenFile(os.Getenv("SAMPLE_TEST_FILE"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(make([]byte, written)); err != nil {
		return err
	}
	return f.Sync()
}

// start starts a process to measure, which is killed at the end of the test.
func start(t testing.TB, doing string, more ...string) (messages.Target, *exec.Cmd) {
	t.Helper()
	return startAs(t, os.Args[0], doing, more...)
}

func startAs(t testing.TB, program, doing string, more ...string) (messages.Target, *exec.Cmd) {
	t.Helper()
	c := exec.Command(program)
	c.Env = append(append(os.Environ(), mode+"="+doing), more...)
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait() // it may have been killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return target(t, c.Process.Pid), c
}

func target(t testing.TB, pid int) messages.Target {
	t.Helper()
	process, err := proc.Identify(pid)
	require.NoError(t, err)
	return messages.Target{Name: messages.Name{Label: "x"}, Process: process, Started: time.Unix(1234, 567891000)}
}

// takeAll measures targets twice: with files that are opened for it, and with those that have been
// kept open. Both yield the same.
func takeAll(t testing.TB, targets ...messages.Target) sample.Pass {
	t.Helper()
	s := sample.New()
	defer s.Close()
	first, second := s.Take(targets, true), s.Take(targets, true)
	require.Len(t, second.Samples, len(first.Samples))
	require.Equal(t, first.Gone, second.Gone)
	return second
}

// take measures one target.
func take(t testing.TB, target messages.Target) messages.Sample {
	t.Helper()
	p := takeAll(t, target)
	require.NoError(t, p.Err)
	require.Empty(t, p.Gone)
	require.Len(t, p.Samples, 1)
	return p.Samples[0]
}

// addTap makes a tap that is up, and is removed at the end of the test.
func addTap(t testing.TB, name string) messages.Link {
	t.Helper()
	netns.Need(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	require.NoError(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP}))
	link, err := netlink.LinkByName(name)
	require.NoError(t, err)
	t.Cleanup(func() { _ = netlink.LinkDel(link) }) // the test may have removed it
	require.NoError(t, netlink.LinkSetUp(link))
	return messages.Link{Name: name, Index: link.Attrs().Index}
}
