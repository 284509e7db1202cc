package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/sockets/wire"
)

// freezeMemory is how much more the daemon may need for frozen subscribers: a session holds a batch
// of lines, and the rest are on disk. What remains is garbage that has not been collected yet.
const freezeMemory = 32 << 20

// TestABurst: all lines that a unikernel prints at once come to all who follow it, in order. A client
// that stops reading delays neither the unikernel, which would never end, nor another client. It has
// missed nothing when it reads on, either: a burst fits into what is kept for it.
func TestABurst(t *testing.T) {
	const lines, readers = 100_000, 4
	h := newHost(t)
	frozen := h.subscribe("chatty", 0)
	var reading sync.WaitGroup
	for range readers {
		f := h.subscribe("chatty", 0)
		reading.Go(func() { assert.Zero(t, f.readAll(1, lines, "line %d")) })
	}
	start := h.peak()
	h.create("chatty", guest("chatty", strconv.Itoa(lines), "exit"))
	reading.Wait()
	h.until("the unikernel has ended", func() bool { return len(h.infos("chatty")) == 0 })
	t.Logf("memory: %d MB before, %d MB at most since", start>>20, h.peak()>>20)
	require.Less(t, h.peak()-start, freezeMemory)
	require.Zero(t, frozen.readAll(1, lines, "line %d"))
}

// TestManyFollowersThatDoNotRead cost the daemon some memory each, however much is printed: a batch
// of lines.
func TestManyFollowersThatDoNotRead(t *testing.T) {
	const lines, followers, each = 200_000, 200, 256 << 10
	h := emptyHost(t)
	h.args = []string{"--max-subscribers", strconv.Itoa(followers)}
	h.start()
	for range followers {
		h.subscribe("chatty", 0)
	}
	start := h.peak()
	h.create("chatty", guest("chatty", strconv.Itoa(lines), "exit"))
	h.until("the unikernel has ended", func() bool { return len(h.infos("chatty")) == 0 })
	t.Logf("memory: %d MB before, %d MB at most since", start>>20, h.peak()>>20)
	require.Less(t, h.peak()-start, freezeMemory+followers*each)
}

// TestAFollowerThatStaysBehind: what is kept for a client that does not read has a bound. It delays
// neither who prints nor another client, and reads how many lines it has missed when it reads on.
func TestAFollowerThatStaysBehind(t *testing.T) {
	const lines, step = 80_000, 2000 // 40 MB
	h := newHost(t)
	path := fifo.Path(h.path("fifo"), parse(t, "x"))
	require.NoError(t, fifo.Create(path))
	defer func() { require.NoError(t, fifo.Remove(path)) }()
	link := h.dial("console")
	say(t, link, "x", messages.ConsoleAdd{Max: messages.Some(1)})
	require.IsType(t, messages.SuccessEmpty{}, hear(t, link).Payload)
	x, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer x.Close()
	frozen, reader := h.subscribe("x", 0), h.subscribe("x", 0)
	start := h.peak()
	format := "line %d " + strings.Repeat("x", 490)
	for n := 1; n < lines; n += step {
		var text strings.Builder
		for i := range step {
			fmt.Fprintf(&text, format+"\n", n+i)
		}
		_, err := x.WriteString(text.String())
		require.NoError(t, err)
		require.Zero(t, reader.readAll(n, n+step-1, format))
	}
	t.Logf("memory: %d MB before, %d MB at most since", start>>20, h.peak()>>20)
	require.Less(t, h.peak()-start, freezeMemory)
	require.NotZero(t, frozen.readAll(1, lines, format), "it has missed nothing, so there is no bound")
}

var missed = regexp.MustCompile(`^\[(\d+) lines missed: this client reads too slowly\]$`)

// readAll checks that a follower gets numbered lines, in order and each once, except for those that
// are reported as missed. It returns how many those are.
func (f *follower) readAll(first, last int, format string) (sum int) {
	in := bufio.NewReader(f.conn)
	for next := first; next <= last; {
		frame, err := wire.ReadFrame(in, wire.MaxFrame)
		if !assert.NoError(f.t, err) {
			return sum
		}
		_, line, err := wire.DecodeLine(frame)
		if !assert.NoError(f.t, err) {
			return sum
		}
		if m := missed.FindStringSubmatch(line.Line); m != nil {
			count, _ := strconv.Atoi(m[1]) // it consists of digits
			next += count
			sum += count
			continue
		}
		if want := fmt.Sprintf(format, next); !assert.Equal(f.t, want, line.Line) {
			return sum
		}
		next++
	}
	assert.Zero(f.t, in.Buffered(), "more comes than was printed")
	return sum
}

// TestAnswersNotRead: clients that do not read their answers harm no other client.
func TestAnswersNotRead(t *testing.T) {
	h := newHost(t)
	const clients = 20
	var silent []net.Conn
	for i := range clients {
		c := h.dial("vmmd")
		say(t, c, fmt.Sprintf("unread%d", i), create(guest("hello", "--quiet")))
		silent = append(silent, c)
	}
	h.until("all have been created", func() bool { return len(h.infos(":")) == clients })
	for range clients {
		c := h.dial("vmmd")
		say(t, c, "unread0", messages.UnikernelGet{Form: 3})
		silent = append(silent, c)
	}
	h.create("read", guest("hello", "--quiet"))
	for _, c := range silent { // the answer has been sent, and waits to be read
		require.Implements(t, (*messages.Success)(nil), hear(t, c).Payload)
	}
}
