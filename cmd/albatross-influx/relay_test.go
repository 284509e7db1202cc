package main

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

func TestSamplesArePushed(t *testing.T) {
	_, daemon, influx := newRunning(t, asIs)
	require.Equal(t, messages.Name{}, daemon.name)
	for n := range int64(100) {
		daemon.send("a:b:hello", n)
		influx.mustGet("hello", n)
	}
}

func TestNames(t *testing.T) {
	_, daemon, influx := newRunning(t, func(o *options) { o.name, o.noDropPath = "org:", true })
	require.Equal(t, messages.Name{Path: "org"}, daemon.name)
	daemon.send("web:hello", 1)
	influx.mustGet("web:hello", 1)
}

// TestTheDaemonComesBack: InfluxDB does not see the daemon go, and gets nothing twice.
func TestTheDaemonComesBack(t *testing.T) {
	w, daemon, influx := newRunning(t, asIs)
	for n := range int64(20) {
		daemon.send("hello", n)
		influx.mustGet("hello", n)
		require.NoError(t, daemon.conn.Close())
		daemon = subscribed(t, w.daemon)
	}
	daemon.send("hello", 20)
	influx.mustGet("hello", 20)
}

// TestInfluxComesBack: InfluxDB gets nothing a second time, and the subscription goes on. The relay
// notices without a sample that InfluxDB has closed.
func TestInfluxComesBack(t *testing.T) {
	w, daemon, influx := newRunning(t, asIs)
	for n := range int64(20) {
		daemon.send("hello", n)
		influx.mustGet("hello", n)
		require.NoError(t, influx.conn.Close())
		influx = pushed(t, w.pushes)
	}
	daemon.send("hello", 20)
	influx.mustGet("hello", 20)
	require.Empty(t, w.daemon, "there was one subscription")
}

// TestOldSamplesAreNotPushed: samples that have come while InfluxDB was away are dropped.
func TestOldSamplesAreNotPushed(t *testing.T) {
	w, daemon, influx := newRunning(t, asIs)
	address := w.influx.Addr().String()
	require.NoError(t, w.influx.Close())
	require.NoError(t, influx.conn.Close())
	w.log.until(t, `No connection to InfluxDB" cause="it has closed`)
	for n := range int64(10) {
		daemon.send("hello", n)
	}
	w.log.until(t, "Samples were dropped")
	_, w.pushes = listen(t, "tcp", address)
	influx = pushed(t, w.pushes)
	daemon.send("hello", 100)
	for last := int64(-1); last != 100; {
		_, number := influx.gets()
		require.Less(t, last, number, "in order, and each once")
		last = number
	}
}

// TestInfluxThatDoesNotRead gets a bounded number of bytes. The next connection begins with a whole
// line.
func TestInfluxThatDoesNotRead(t *testing.T) {
	w := newWorld(t, asIs)
	w.relay.timing.write = 100 * time.Millisecond
	w.relay.losses.every = 0
	w.start()
	daemon, influx := subscribed(t, w.daemon), pushed(t, w.pushes)
	require.NoError(t, influx.conn.(*net.TCPConn).SetReadBuffer(1<<12))
	flood(daemon, func() bool { return len(w.pushes) > 0 })
	w.log.until(t, "i/o timeout")
	w.log.until(t, "Samples were dropped")
	next := pushed(t, w.pushes)
	daemon.send("last", 1)
	vm := ""
	for vm != "last" {
		vm, _ = next.gets()
	}
	require.Empty(t, w.daemon, "the subscription goes on")
	rest, err := io.ReadAll(influx.in)
	t.Log(len(rest), err)
	require.ErrorIs(t, err, syscall.ECONNRESET, "old samples do not arrive late")
	require.Less(t, len(rest), 8<<20)
}

// flood sends samples until that is enough.
func flood(daemon *subscriber, enough func() bool) {
	for n := int64(0); !enough(); n++ {
		daemon.send("flood", n)
	}
}

// TestAFullOutbox has room again when it has been emptied.
func TestAFullOutbox(t *testing.T) {
	o := newOutbox()
	sample := []byte(strings.Repeat("x", 1000))
	n := 0
	for o.put(sample) {
		n++
	}
	require.Equal(t, maxWaiting/1000, n)
	b, err := o.take(t.Context())
	require.NoError(t, err)
	require.Equal(t, n, b.samples)
	require.Len(t, b.lines, n*1000)
	require.True(t, o.put(sample))
}

func TestLossesAreToldOnceInAWhile(t *testing.T) {
	w := newWorld(t, asIs)
	l := &w.relay.losses
	now := time.Now()
	l.add(1, now)
	for range 1000 {
		l.add(2, now.Add(l.every-1))
	}
	l.add(3, now.Add(l.every))
	l.add(4, now.Add(l.every))
	l.rest(now.Add(l.every))
	l.rest(now.Add(l.every))
	var counts []string
	for line := range strings.Lines(w.log.text.String()) {
		_, count, _ := strings.Cut(line, "samples=")
		counts = append(counts, strings.TrimSpace(count))
	}
	require.Equal(t, []string{"1", "2003", "4"}, counts)
}

// TestPauses get longer while no connection works, and no longer than the longest.
func TestPauses(t *testing.T) {
	w := newWorld(t, asIs)
	require.NoError(t, w.influx.Close())
	w.relay.timing.longestPause = 10 * time.Millisecond
	w.start()
	for _, pause := range []string{"1ms", "2ms", "4ms", "8ms", "10ms", "10ms"} {
		w.log.until(t, "again_in="+pause)
	}
}

// TestDaemonsThatMakeNoSense: the relay connects again.
func TestDaemonsThatMakeNoSense(t *testing.T) {
	w := newWorld(t, asIs)
	w.start()
	conn := receive(t, w.daemon)
	_, err := io.WriteString(conn, "\xff\xff\xff\xff")
	require.NoError(t, err)
	w.log.until(t, "cannot talk to")
	conn.Close()

	conn = receive(t, w.daemon)
	require.NoError(t, wire.WriteFrame(conn, messages.Wire{
		Header:  messages.Header{Version: messages.CurrentVersion},
		Payload: messages.Failure{Text: "unexpected command"},
	}))
	w.log.until(t, `cause="unexpected command"`)
	conn.Close()

	subscribed(t, w.daemon).say(messages.Wire{
		Header:  messages.Header{Version: messages.CurrentVersion},
		Payload: messages.DataConsole{},
	})
	w.log.until(t, "the daemon sends a messages.DataConsole as statistics")
	subscribed(t, w.daemon)
}

func TestNoDaemonYet(t *testing.T) {
	w := newWorld(t, asIs)
	w.relay.socket += ".new"
	w.start()
	w.log.until(t, "no such file or directory")
	_, conns := listen(t, "unix", w.relay.socket)
	t.Cleanup(func() { os.Remove(w.relay.socket) })
	subscribed(t, conns)
}
