package main

import (
	"bufio"
	"bytes"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"albatross/messages"
	"albatross/sockets/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what must happen.
const patience = 20 * time.Second

// receive returns the next value, which must come.
func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

// listen accepts connections until the test ends.
func listen(t *testing.T, network, address string) (net.Listener, <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	conns := make(chan net.Conn, 100)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	})
	t.Cleanup(func() {
		l.Close()
		accepting.Wait()
		for len(conns) > 0 {
			(<-conns).Close()
		}
	})
	return l, conns
}

// A subscriber is a connection to the fake daemon, which has subscribed.
type subscriber struct {
	t    *testing.T
	conn net.Conn
	name messages.Name
}

// subscribed waits for the next subscription.
func subscribed(t *testing.T, conns <-chan net.Conn) *subscriber {
	t.Helper()
	conn := receive(t, conns)
	t.Cleanup(func() { conn.Close() })
	frame, err := wire.ReadFrame(conn, wire.MaxCommand)
	require.NoError(t, err)
	m, err := wire.Decode(frame)
	require.NoError(t, err)
	require.IsType(t, messages.StatsSubscribe{}, m.Payload)
	s := &subscriber{t, conn, m.Header.Name}
	m.Payload = messages.SuccessText{Text: "subscribed"}
	s.say(m)
	return s
}

func (s *subscriber) say(m messages.Wire) {
	s.t.Helper()
	require.NoError(s.t, s.conn.SetWriteDeadline(time.Now().Add(patience)))
	require.NoError(s.t, wire.WriteFrame(s.conn, m))
}

// send sends a sample, which its number identifies.
func (s *subscriber) send(name string, number int64) {
	s.t.Helper()
	n, err := messages.ParseName(name)
	require.NoError(s.t, err)
	s.say(messages.Wire{
		Header:  messages.Header{Version: messages.CurrentVersion, Name: n},
		Payload: messages.DataStats{Rusage: messages.Rusage{NSignals: number}},
	})
}

// A database is one connection to the fake InfluxDB.
type database struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func pushed(t *testing.T, conns <-chan net.Conn) *database {
	t.Helper()
	conn := receive(t, conns)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	return &database{t, conn, bufio.NewReader(conn)}
}

// gets returns the name and the number of the next sample.
func (d *database) gets() (vm string, number int64) {
	d.t.Helper()
	text, err := d.in.ReadString('\n')
	require.NoError(d.t, err)
	parts := resourceUsage.FindStringSubmatch(text)
	require.NotNil(d.t, parts, text)
	number, err = strconv.ParseInt(parts[2], 10, 64)
	require.NoError(d.t, err)
	return parts[1], number
}

// resourceUsage matches a line about a process.
var resourceUsage = regexp.MustCompile(`^resource_usage,vm=([^ ,]+) .*,nsignals=(\d+)i,.*\n$`)

func (d *database) mustGet(vm string, number int64) {
	d.t.Helper()
	gotVM, got := d.gets()
	require.Equal(d.t, vm, gotVM)
	require.Equal(d.t, number, got)
}

// A journal is a log that a test can wait for.
type journal struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wrote chan struct{}
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case j.wrote <- struct{}{}:
	default:
	}
	return j.text.Write(b)
}

// until waits until the log contains a text.
func (j *journal) until(t *testing.T, text string) {
	t.Helper()
	for {
		j.mu.Lock()
		found := bytes.Contains(j.text.Bytes(), []byte(text))
		j.mu.Unlock()
		if found {
			return
		}
		receive(t, j.wrote)
	}
}

// A world is a relay between a fake daemon and a fake InfluxDB.
type world struct {
	*testing.T
	relay   *relay
	log     *journal
	stat    string
	daemon  <-chan net.Conn
	influx  net.Listener
	pushes  <-chan net.Conn
	running sync.WaitGroup
}

// newWorld makes a relay that does not run yet. change gets the options that follow from the world.
func newWorld(t *testing.T, change func(*options)) *world {
	t.Helper()
	w := &world{T: t, log: &journal{wrote: make(chan struct{}, 1)}, stat: filepath.Join(t.TempDir(), "stat.sock")}
	_, w.daemon = listen(t, "unix", w.stat)
	w.influx, w.pushes = listen(t, "tcp", "127.0.0.1:0")
	o := options{influx: w.influx.Addr().String(), socket: w.stat, name: ":"}
	change(&o)
	r, err := newRelay(o, slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	r.timing.firstPause, r.timing.longestPause = time.Millisecond, time.Hour
	w.relay = r
	return w
}

func asIs(*options) {}

func (w *world) start() {
	w.Helper()
	w.running.Go(func() { w.relay.run(w.Context()) }) // this ends before the cleanup
	w.Cleanup(w.running.Wait)
}

// newRunning returns a world whose relay is connected to both sides.
func newRunning(t *testing.T, change func(*options)) (*world, *subscriber, *database) {
	t.Helper()
	w := newWorld(t, change)
	w.start()
	return w, subscribed(t, w.daemon), pushed(t, w.pushes)
}
