package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/test/guests"
)

// BenchmarkAdopt tells how long a daemon takes from its start until it answers
// that it has taken over 1,000 unikernels whose daemon was killed.
func BenchmarkAdopt(b *testing.B) {
	const running = 1000
	h := newHost(b)
	h.crowd(0, running, guests.Image("hello", "spt"))
	var all []time.Duration
	for range 5 {
		h.kill()
		all = append(all, took(func() {
			h.start()
			require.Len(b, h.infos(), running)
		}))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(median(all)), "ms")
	atMost("adoption of 1,000", "ms", 300, inMilliseconds(all))
}
