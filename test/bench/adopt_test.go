package bench

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/guests"
)

// BenchmarkAdopt tells how long a daemon takes from its start until it answers
// that it has taken over 1,000 unikernels whose daemon was killed.
func BenchmarkAdopt(b *testing.B) {
	const running = 1000
	h := newHost(b)
	image := guests.Image("hello", "spt")
	for i := range running {
		h.ask(label(fmt.Sprint("u", i)), messages.UnikernelCreate{Form: 5, Config: config(image)})
	}
	for range 5 {
		h.kill()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(milliseconds(took(func() {
			h.start()
			require.Len(b, h.infos(), running)
		})), "ms")
	}
}
