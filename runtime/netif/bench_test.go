package netif_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/runtime/netif"
	"albatross/test/netns"
)

// What a tap costs from its creation to its removal where there are others on its bridge, and how
// many times as much its creation costs as without others.
func BenchmarkTap(b *testing.B) {
	netns.Bridge(b, bridge)
	var alone time.Duration
	others := 0
	for _, want := range []int{0, 100, 1000} {
		for ; others < want; others++ {
			made(b)
		}
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			var create, keep, remove time.Duration
			n := 0
			for b.Loop() {
				n++
				begin := time.Now()
				tap, err := netif.Create(bridge)
				require.NoError(b, err)
				created := time.Now()
				require.NoError(b, tap.Keep())
				kept := time.Now()
				require.NoError(b, netif.Remove(tap.Link()))
				create += created.Sub(begin)
				keep += kept.Sub(created)
				remove += time.Since(kept)
			}
			if others == 0 {
				alone = create / time.Duration(n)
			}
			b.ReportMetric(float64(create.Nanoseconds())/float64(n), "create-ns")
			b.ReportMetric(float64(keep.Nanoseconds())/float64(n), "keep-ns")
			b.ReportMetric(float64(remove.Nanoseconds())/float64(n), "remove-ns")
			b.ReportMetric(float64(create)/float64(n)/float64(alone), "create/alone")
		})
	}
}
