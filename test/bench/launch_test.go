package bench

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/tender"
	"albatross/test/guests"
)

// BenchmarkLaunch tells what of a create's answer a launcher could save that is ready before,
// if the image is small:
// %-launch is the part in which the daemon waits for a launcher to be forked and to execute,
// and %-gate the part until it has come to its gate as well, if nothing else is done meanwhile.
// The daemon stores the record meanwhile.
func BenchmarkLaunch(b *testing.B) {
	h := newHost(b)
	image := guests.Image("hello", "spt")
	h.ask(label("holder"), messages.UnikernelCreate{Form: 5, Config: config(image)})
	var create times
	var launched, through, released []time.Duration
	for b.Loop() {
		h.create(&create, image)
		took, g := h.launch(b)
		launched = append(launched, took)
		h.create(&create, image) // meanwhile it comes to its gate
		released = append(released, release(b, g))
		took, g = h.launch(b)
		through = append(through, took+release(b, g))
	}
	answered := median(create.answered)
	part := func(d time.Duration) float64 { return 100 * float64(d) / float64(answered) }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(answered), "ms-answered")
	b.ReportMetric(part(median(launched)), "%-launch")
	b.ReportMetric(part(median(through)-median(released)), "%-gate")
}

// launch forks a launcher as the daemon does.
func (h *host) launch(b *testing.B) (time.Duration, *tender.Gated) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(b, err)
	defer func() { _ = null.Close() }()
	program := h.path("albatross-tender")
	begin := time.Now()
	g, err := tender.Launch(b.Context(), tender.Command{
		Launcher: []string{program, "launch"}, CPUs: []int{0}, Program: program, Args: []string{"spt", "--", "/nowhere"}, Output: null,
	})
	require.NoError(b, err)
	return time.Since(begin), g
}

// release opens the gate; what follows ends at once.
func release(b *testing.B, g *tender.Gated) time.Duration {
	begin := time.Now()
	require.NoError(b, g.Release(b.Context()))
	took := time.Since(begin)
	_, err := g.Handle().Wait(b.Context())
	require.NoError(b, err)
	require.NoError(b, g.Handle().Close())
	return took
}
