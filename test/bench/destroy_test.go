package bench

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/guests"
)

// BenchmarkDestroy tells how long a destroy takes among 1,000 unikernels, of one that the daemon has
// started, and of one that it has taken over from the daemon before; and what that is more than the
// end of a tender without a daemon, at SIGTERM.
func BenchmarkDestroy(b *testing.B) {
	const others = 1000
	h := newHost(b)
	image := guests.Image("hello", "spt")
	path := guests.Write(b, b.TempDir(), "hello", "spt")
	h.crowd(0, others, image)
	for _, adopted := range []bool{false, true} {
		b.Run(fmt.Sprintf("adopted=%t", adopted), func(b *testing.B) {
			var ours, tenders []time.Duration
			for n := range 50 {
				h.ask(label(fmt.Sprint("measured", n)), messages.UnikernelCreate{Form: 5, Config: config(image)})
			}
			if adopted {
				h.kill()
				h.start()
				require.Len(b, h.infos(), others+50)
			}
			for n := range 50 {
				ours = append(ours, took(func() { h.ask(label(fmt.Sprint("measured", n)), messages.UnikernelDestroy{}) }))
				_, end := untilFirstLine(b, exec.Command(h.path("albatross-tender"), "--mem=16", "--", path, "--quiet"))
				tenders = append(tenders, took(end))
			}
			var more []float64
			for n := range ours {
				more = append(more, milliseconds(ours[n]-tenders[n]))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(milliseconds(median(ours)), "ms")
			b.ReportMetric(medianOf(more), "ms-more")
			atMost(map[bool]string{false: "destroy with 1,000 running", true: "destroy of one that was taken over"}[adopted]+
				", beyond the end of the tender", "ms", 3, more)
		})
	}
}

// BenchmarkIdle tells what a daemon uses that has 1,000 unikernels and nothing to do.
func BenchmarkIdle(b *testing.B) {
	// What the daemon has begun is done after settled, and memory is returned: see returnMemory.
	const settled, watched = 25 * time.Second, 10 * time.Second
	h := newHost(b)
	h.crowd(0, 1000, guests.Image("hello", "spt"))
	time.Sleep(settled)
	before := h.cpu()
	time.Sleep(watched)
	busy := 100 * float64(h.cpu()-before) / float64(watched)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(h.resident())/1024, "MB")
	b.ReportMetric(busy, "%-busy")
	atMost("memory of an idle daemon with 1,000 running", "MB", 40, []float64{float64(h.resident()) / 1024})
	atMost("processor time of an idle daemon with 1,000 running", "%", 0.5, []float64{busy})
}
