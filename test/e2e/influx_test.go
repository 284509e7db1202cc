package e2e

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// TestInflux: what albatross-influx pushes of a real unikernel arrives, also from the next daemon.
func TestInflux(t *testing.T) {
	withBridges(t, "service")
	h := emptyHost(t)
	h.args = []string{"--interval", "50ms"}
	h.start()
	database, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer database.Close()
	push(t, "--influx", database.Addr().String(), "--tmpdir", h.dir, "--no-drop-path")
	conn, err := database.Accept()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))

	points := bufio.NewReader(conn)
	for _, label := range []string{"one", "two"} {
		h.create("a:"+label, echo("service"))
		for _, measurement := range []string{"resource_usage", "kinfo_mem", "interface"} {
			untilPushed(t, points, measurement, "a:"+label)
		}
		require.Equal(t, messages.SuccessText{Text: "destroyed unikernel"}, h.ask("a:"+label, messages.UnikernelDestroy{}))
		require.NoError(t, h.stop())
		h.start()
	}
}

// TestInfluxOfTheDaemon: albatross-influx pushes its own usage, as a native one does.
func TestInfluxOfTheDaemon(t *testing.T) {
	database, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer database.Close()
	h := emptyHost(t)
	h.args = []string{"--influx", database.Addr().String()}
	h.start()
	conn, err := database.Accept()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	lines := bufio.NewReader(conn)
	untilPushed(t, lines, "resource_usage", "albatross")
	untilPushed(t, lines, "kinfo_mem", "albatross")
	require.NoError(t, h.stop(), "it does not wait for a database that takes nothing")
	h.args = nil
	h.start()
}

// push runs albatross-influx until the test ends, and checks how it ends.
func push(t *testing.T, args ...string) {
	t.Helper()
	c := exec.Command(filepath.Join(bin, "albatross-influx"), args...)
	c.Stderr = t.Output()
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		require.NoError(t, c.Process.Signal(unix.SIGTERM))
		require.NoError(t, c.Wait())
	})
}

// untilPushed reads lines until one of a measurement and a unikernel comes.
func untilPushed(t *testing.T, lines *bufio.Reader, measurement, vm string) {
	t.Helper()
	for {
		line, err := lines.ReadBytes('\n')
		require.NotErrorIs(t, err, io.EOF)
		require.NoError(t, err, "%s of %s", measurement, vm)
		if m, tags := parsed(t, line); m == measurement && tags["vm"] == vm {
			return
		}
	}
}

// parsed returns the parts of a line.
func parsed(t *testing.T, line []byte) (measurement string, tags map[string]string) {
	t.Helper()
	d := lineprotocol.NewDecoderWithBytes(line)
	require.True(t, d.Next())
	m, err := d.Measurement()
	require.NoError(t, err)
	tags = map[string]string{}
	for {
		key, value, err := d.NextTag()
		require.NoError(t, err)
		if key == nil {
			break
		}
		tags[string(key)] = string(value)
	}
	for fields := 0; ; fields++ {
		key, _, err := d.NextField()
		require.NoError(t, err)
		if key == nil {
			require.Positive(t, fields)
			return string(m), tags
		}
	}
}
