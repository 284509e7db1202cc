package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/sockets/wire"
	"albatross/test/guests"
)

// chattyLines are printed as fast as a unikernel can.
const chattyLines = 2_000_000

// BenchmarkConsole has one unikernel print as fast as it can. It tells how many
// lines per second that is, how many each subscriber is told, and what the daemon
// computes for a line that it reads, and for one that it tells a subscriber: beside
// what the encoding of a line alone takes.
func BenchmarkConsole(b *testing.B) {
	h := newHost(b)
	reading := h.chat(b, 0)
	yardstick := encoding(b)
	for _, subscribers := range []int{0, 1, 5} {
		b.Run(fmt.Sprint(subscribers), func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			r := h.chat(b, subscribers)
			b.ReportMetric(chattyLines/r.took.Seconds(), "lines/s")
			b.ReportMetric(float64(r.cpu.Nanoseconds())/chattyLines, "cpu-ns/line")
			if r.told == 0 {
				return
			}
			each := float64((r.cpu - reading.cpu).Nanoseconds()) / float64(r.told)
			b.ReportMetric(float64(r.told)/float64(subscribers)/r.took.Seconds(), "told/s")
			b.ReportMetric(each, "cpu-ns/told")
			b.ReportMetric(each/yardstick, "cpu/encoding")
		})
	}
}

// A burst is what one unikernel prints at once, and then nothing more.
const (
	burstLines  = 100_000
	burstRounds = 10
)

// BenchmarkConsoleBurst has one unikernel print a burst, to followers that read as fast as they
// can. It tells which share of the lines arrives, how many lines per second each gets, from
// the first line of the first one to the last line of the last one, and what the daemon
// computes for a line and follower that gets it. x-socket is how many times as long the
// burst takes as the same frames where somebody only sends them to as many readers.
func BenchmarkConsoleBurst(b *testing.B) {
	h := newHost(b)
	reading := h.bursts(b, 0)
	for _, followers := range []int{1, 5} {
		b.Run(fmt.Sprint(followers), func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			r := h.bursts(b, followers)
			arrived := 100 * float64(r.told) / burstRounds / float64(burstLines*followers)
			computed := float64((r.cpu - reading.cpu).Nanoseconds()) / float64(r.told)
			b.ReportMetric(arrived, "%-arrived")
			b.ReportMetric(medianOf(r.rates), "lines/s")
			b.ReportMetric(computed, "cpu-ns/told")
			b.ReportMetric(medianOf(r.toSocket), "x-socket")
			title := fmt.Sprintf("a burst of 100,000 lines to %d: ", followers)
			atLeast(title+"arrived", "%", 100, []float64{arrived})
			atLeast(title+"rate", "/s", map[int]float64{1: 400_000, 5: 150_000}[followers], r.rates)
			atMost(title+"processor time for a line and follower", "µs", map[int]float64{1: 1, 5: 0.5}[followers], []float64{computed / 1000})
		})
	}
}

// A manyBursts is the sum of some of them.
type manyBursts struct {
	chat
	rates    []float64 // lines per second, of each
	toSocket []float64 // how many times as long each took as it took to send the same frames
}

func (h *host) bursts(b *testing.B, followers int) (all manyBursts) {
	for range burstRounds {
		r := h.burst(b, followers)
		all.rates = append(all.rates, burstLines/r.took.Seconds())
		all.toSocket = append(all.toSocket, float64(r.took)/float64(sendBurst(b, followers)))
		all.cpu += r.cpu
		all.told += r.told
	}
	return all
}

func (h *host) burst(b *testing.B, followers int) (r chat) {
	name := label("chatty")
	var conns []net.Conn
	for range followers {
		conn, err := net.Dial("unix", h.path("util/console.sock"))
		require.NoError(b, err)
		conns = append(conns, conn)
		subscribe(b, conn, name)
	}
	c := config(guests.Image("chatty", "spt"))
	c.Arguments.Argv = messages.Some([]string{strconv.Itoa(burstLines), "exit"})
	before := h.cpu()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.told, r.took = readBurst(conns)
	}()
	h.ask(name, messages.UnikernelCreate{Form: 5, Config: c})
	<-done
	for len(h.infos()) > 0 {
		time.Sleep(10 * time.Millisecond) // so that asking is little of the work
	}
	r.cpu = h.cpu() - before
	for _, conn := range conns {
		require.NoError(b, conn.Close())
	}
	return r
}

// readBurst reads up to the last line of a burst, and returns how many lines have come to all,
// and how long that took.
func readBurst(conns []net.Conn) (lines int64, took time.Duration) {
	var reading sync.WaitGroup
	var mu sync.Mutex
	var began, ended time.Time
	for _, conn := range conns {
		reading.Go(func() {
			n, first, last := readLines(conn)
			mu.Lock()
			defer mu.Unlock()
			lines += n
			if began.IsZero() || first.Before(began) {
				began = first
			}
			if last.After(ended) {
				ended = last
			}
		})
	}
	reading.Wait()
	return lines, ended.Sub(began)
}

// readLines counts the lines up to the last one of a burst.
func readLines(conn net.Conn) (n int64, first, last time.Time) {
	r := bufio.NewReaderSize(conn, 1<<20)
	text, end := []byte("line "), []byte(fmt.Sprint("line ", burstLines))
	for {
		head, err := r.Peek(4)
		if err != nil {
			return n, first, time.Now()
		}
		if n == 0 {
			first = time.Now()
		}
		size := 4 + int(binary.BigEndian.Uint32(head))
		frame, err := r.Peek(size)
		if err != nil {
			return n, first, time.Now()
		}
		if bytes.Contains(frame, text) {
			n++
		}
		if bytes.HasSuffix(frame, end) {
			return n, first, time.Now()
		}
		_, _ = r.Discard(size) // Peek has read it
	}
}

// sendBurst is how long it takes to send the frames of a burst to some readers.
func sendBurst(b *testing.B, readers int) time.Duration {
	var frames []byte
	for n := range burstLines {
		var err error
		frames, err = wire.AppendFrame(frames, messages.Wire{
			Header:  messages.Header{Version: messages.CurrentVersion, Name: label("chatty")},
			Payload: messages.DataConsole{Time: time.Now(), Line: fmt.Sprint("line ", n+1)},
		})
		require.NoError(b, err)
	}
	var conns []net.Conn
	for range readers {
		here, there := socketPair(b)
		conns = append(conns, here)
		go func() {
			defer there.Close()
			for rest := frames; len(rest) > 0; {
				n, err := there.Write(rest[:min(len(rest), 64<<10)])
				if err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
	}
	_, took := readBurst(conns)
	for _, conn := range conns {
		require.NoError(b, conn.Close())
	}
	return took
}

func socketPair(b *testing.B) (here, there net.Conn) {
	l, err := net.Listen("unix", filepath.Join(b.TempDir(), "pair"))
	require.NoError(b, err)
	defer l.Close()
	here, err = net.Dial("unix", l.Addr().String())
	require.NoError(b, err)
	there, err = l.Accept()
	require.NoError(b, err)
	return here, there
}

// A chat is what it took to read the lines of one unikernel, and to tell them.
type chat struct {
	took, cpu time.Duration
	told      int64 // lines, to all subscribers
}

func (h *host) chat(b *testing.B, subscribers int) (r chat) {
	name := label("chatty")
	var reading sync.WaitGroup
	var conns []net.Conn
	told := make([]int64, subscribers)
	for i := range subscribers {
		conn, err := net.Dial("unix", h.path("util/console.sock"))
		require.NoError(b, err)
		conns = append(conns, conn)
		subscribe(b, conn, name)
		reading.Go(func() { told[i] = count(conn) })
	}
	c := config(guests.Image("chatty", "spt"))
	c.Arguments.Argv = messages.Some([]string{strconv.Itoa(chattyLines), "exit"})
	before, began := h.cpu(), time.Now()
	h.ask(name, messages.UnikernelCreate{Form: 5, Config: c})
	for len(h.infos()) > 0 {
		time.Sleep(time.Millisecond) // otherwise asking would be most of the work
	}
	r.took, r.cpu = time.Since(began), h.cpu()-before
	for _, conn := range conns {
		require.NoError(b, conn.Close())
	}
	reading.Wait()
	for _, n := range told {
		r.told += n
	}
	return r
}

func subscribe(b *testing.B, conn net.Conn, name messages.Name) {
	frame, err := wire.AppendPieces(nil, messages.Wire{
		Header:  messages.Header{Version: messages.CurrentVersion, Name: name},
		Payload: messages.ConsoleSubscribe{Count: messages.Some(0)},
	})
	require.NoError(b, err)
	out := net.Buffers(frame)
	_, err = out.WriteTo(conn)
	require.NoError(b, err)
	_, err = wire.ReadFrame(conn, wire.MaxChunk)
	require.NoError(b, err)
}

// count counts frames, until the connection is closed.
func count(conn net.Conn) (n int64) {
	r := bufio.NewReaderSize(conn, 1<<20)
	var size [4]byte
	for {
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return n
		}
		if _, err := r.Discard(int(binary.BigEndian.Uint32(size[:]))); err != nil {
			return n
		}
		n++
	}
}

// cpu is what the daemon has computed so far, in the ticks of proc(5).
func (h *host) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.daemon.Process.Pid))
	require.NoError(h.b, err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	ticks := 0
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(f)
		require.NoError(h.b, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// encoding is how many nanoseconds the encoding of a line takes.
func encoding(b *testing.B) float64 {
	const lines = 1 << 18
	m := messages.Wire{
		Header:  messages.Header{Version: messages.CurrentVersion, Name: label("chatty")},
		Payload: messages.DataConsole{Time: time.Now(), Line: "line 1234567"},
	}
	var frame []byte
	began := time.Now()
	for range lines {
		var err error
		frame, err = wire.Append(frame[:0], m)
		require.NoError(b, err)
	}
	return float64(time.Since(began).Nanoseconds()) / lines
}

// BenchmarkIdleConsoles tells how much memory the daemon has for each of 1,000
// consoles that are open and have printed nothing, beside what it has without them.
func BenchmarkIdleConsoles(b *testing.B) {
	const consoles = 1000
	h := newHost(b)
	before := h.resident()
	link := h.dial("console")
	defer link.Close()
	for i := range consoles {
		name := label(fmt.Sprint("idle", i))
		require.NoError(b, fifo.Create(fifo.Path(h.path("fifo"), name)))
		_, err := link.Ask(context.Background(), name, messages.ConsoleAdd{Max: messages.Some(consoles)})
		require.NoError(b, err)
	}
	each := float64(h.resident()-before) / consoles
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(each, "kB/console")
	b.ReportMetric(each*consoles/float64(before), "all/none")
}

// resident is how many kB of memory the daemon has.
func (h *host) resident() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.daemon.Process.Pid))
	require.NoError(h.b, err)
	_, rest, _ := strings.Cut(string(status), "\nVmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(h.b, err)
	return kb
}
