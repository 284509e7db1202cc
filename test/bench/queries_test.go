package bench

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/guests"
)

// BenchmarkInfo tells how long the list of 40 and of 1,000 unikernels takes, with a connection for
// each question. x-echo is how many times as long it takes as a server that has the same answer
// ready.
func BenchmarkInfo(b *testing.B) {
	h := newHost(b)
	image := guests.Image("hello", "spt")
	for _, running := range []int{40, 1000} {
		h.crowd(len(h.infos()), running, image)
		echo := answering(b, h.infos())
		var ours, theirs []time.Duration
		for range 200 {
			ours = append(ours, took(func() { h.infos() }))
			theirs = append(theirs, took(func() { echo.infos() }))
		}
		b.Run(fmt.Sprint(running), func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(milliseconds(median(ours)), "ms")
			b.ReportMetric(medianOf(ratios(ours, theirs)), "x-echo")
		})
		if running == 1000 {
			atMost("info of 1,000", "ms", 3, inMilliseconds(ours))
		}
	}
}

// answering has a server give every client the same answer.
func answering(b *testing.B, list []messages.NamedInfo) *host {
	echo := &host{b: b, dir: b.TempDir()}
	require.NoError(b, os.Mkdir(echo.path("util"), 0o700))
	l, err := net.Listen("unix", echo.path("util/vmmd.sock"))
	require.NoError(b, err)
	b.Cleanup(func() { _ = l.Close() })
	answer, err := wire.AppendFrame(nil, messages.Wire{
		Header: messages.Header{Version: messages.CurrentVersion}, Payload: messages.SuccessInfos{Form: 6, List: list},
	})
	require.NoError(b, err)
	go serve(l, func(c net.Conn) {
		if _, err := wire.ReadFrame(bufio.NewReader(c), wire.MaxFrame); err == nil {
			_, _ = c.Write(answer)
		}
	})
	return echo
}
