package e2e

import (
	"bufio"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

// floodLines is how many lines each unikernel of a flood prints at least during the test.
const floodLines = 1_000_000

// TestFlood: unikernels that print as fast as they can delay no other client, and cost the daemon
// no memory, however much they print.
func TestFlood(t *testing.T) {
	h := newHost(t)
	start := h.peak()
	var floods []*flood
	for i := range 3 {
		name := fmt.Sprint("flood", i)
		f := &flood{follower: h.subscribe(name, 0), flooded: make(chan struct{})}
		f.running.Go(f.read)
		defer f.end()
		floods = append(floods, f)
		h.create(name, guest("chatty", strconv.Itoa(math.MaxInt32)))
	}
	slowest := time.Duration(0)
	commands := 0
	timed := func(do func()) {
		began := time.Now()
		do() // do fails if there is no answer
		slowest = max(slowest, time.Since(began))
		commands++
	}
	for _, f := range floods {
		for ended := false; !ended; {
			timed(func() { h.create("other", guest("hello", "--quiet")) })
			timed(func() { require.Len(t, h.infos("other"), 1) })
			timed(func() {
				other := h.subscribe("other", 1)
				require.Contains(t, other.line(), "hello from albatross")
				require.NoError(t, other.conn.Close())
			})
			timed(func() { h.requireText("destroyed unikernel", "other", messages.UnikernelDestroy{}) })
			select {
			case <-f.flooded:
				ended = true
			default:
			}
		}
	}
	t.Logf("%d commands, the slowest took %v; memory: %d MB before, %d MB at most since", commands, slowest, start>>20, h.peak()>>20)
	require.Less(t, h.peak()-start, freezeMemory)
}

// A flood is what one unikernel prints, as a follower gets it that reads as fast as possible.
type flood struct {
	*follower
	running sync.WaitGroup
	flooded chan struct{} // closed when it has printed floodLines
}

func (f *flood) read() {
	in := bufio.NewReader(f.conn)
	for last := 0; ; {
		frame, err := wire.ReadFrame(in, wire.MaxFrame)
		if err != nil {
			return // the connection was closed
		}
		_, line, err := wire.DecodeLine(frame)
		if err != nil {
			f.t.Error(err)
			return
		}
		number, isLine := strings.CutPrefix(line.Line, "line ")
		n, err := strconv.Atoi(number)
		if isLine && err == nil && n >= floodLines && last < floodLines {
			close(f.flooded)
		}
		if isLine {
			last = n
		}
	}
}

func (f *flood) end() {
	_ = f.conn.Close()
	f.running.Wait()
}
