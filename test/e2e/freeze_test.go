package e2e

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// chattyLines is far more than a console remembers and the sockets on the way to a client hold.
const chattyLines = 200_000

// freezeMemory is how much more the daemon may need for a frozen subscriber: a console remembers
// 1,024 lines, and a session holds a batch of them. The rest is garbage that has not been collected
// yet.
const freezeMemory = 32 << 20

// TestFrozenSubscriber: a client that stops reading delays neither the unikernel, which would never
// end, nor another client, which would never learn of its end. It reads how many lines it has
// missed when it reads on.
func TestFrozenSubscriber(t *testing.T) {
	h := newHost(t)
	frozen, reader := h.subscribe("chatty", 0), h.subscribe("chatty", 0)
	start := h.peak()
	h.create("chatty", guest("chatty", strconv.Itoa(chattyLines), "exit"))

	reader.requireAll(chattyLines)
	h.until("the unikernel has ended", func() bool { return len(h.infos("chatty")) == 0 })
	t.Logf("memory: %d MB before, %d MB at most since", start>>20, h.peak()>>20)
	require.Less(t, h.peak()-start, freezeMemory)
	require.NotZero(t, frozen.requireAll(chattyLines), "it has missed nothing, so it was not slow")
}

var missed = regexp.MustCompile(`^\[(\d+) lines missed: this client reads too slowly\]$`)

// requireAll checks that a follower gets n numbered lines, in order and each once, except for those
// that are reported as missed. It returns how many.
func (f *follower) requireAll(n int) (sum int) {
	f.t.Helper()
	for next := 1; next <= n; {
		line := f.line()
		if m := missed.FindStringSubmatch(line); m != nil {
			count, err := strconv.Atoi(m[1])
			require.NoError(f.t, err)
			next += count
			sum += count
			continue
		}
		require.Equal(f.t, fmt.Sprintf("line %d", next), line)
		next++
	}
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
