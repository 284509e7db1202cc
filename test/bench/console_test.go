package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
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
