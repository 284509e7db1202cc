package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// rounds is how often each thing is measured.
const rounds = 25

// BenchmarkCreate tells how long a create takes until it is answered, and until
// the unikernel has printed its first line, with 0, 100 and 1,000 others
// running; with an image that the daemon has, and with a new one, which it has to
// bring to disk first. x-0 is how many times as long it takes as with no others,
// x-shell how many times as long as the same tender takes from a shell to its
// first line. x-alone is how many times as long the answer takes as that of a daemon
// without a keeper, which runs as many others.
func BenchmarkCreate(b *testing.B) {
	h, alone := newHost(b), newHost(b, "--no-keeper")
	known := largeImage(b)
	path := h.path("image")
	require.NoError(b, os.WriteFile(path, known, 0o600))
	first := map[string]times{}
	// One that runs all the time keeps the image known.
	for _, each := range []*host{h, alone} {
		each.ask(label("holder"), messages.UnikernelCreate{Form: 5, Config: config(known)})
	}
	running := 0
	for _, others := range []int{0, 100, 1000} {
		for ; running < others; running++ {
			for _, each := range []*host{h, alone} {
				each.ask(label(fmt.Sprint("other", running)), messages.UnikernelCreate{Form: 5, Config: config(known)})
			}
		}
		for _, image := range []string{"known", "new"} {
			b.Run(fmt.Sprintf("image=%s/others=%d", image, others), func(b *testing.B) {
				var t, withoutKeeper times
				var shell []time.Duration
				for range rounds {
					next := known
					if image == "new" {
						next = largeImage(b)
					}
					h.create(&t, next)
					alone.create(&withoutKeeper, next)
					shell = append(shell, fromShell(b, h.path("albatross-tender"), path))
				}
				if others == 0 {
					first[image] = t
				}
				answered, line := median(t.answered), median(t.line)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(milliseconds(answered), "ms-answered")
				b.ReportMetric(milliseconds(line), "ms-line")
				b.ReportMetric(float64(answered)/float64(median(first[image].answered)), "x-0")
				b.ReportMetric(float64(line)/float64(median(shell)), "x-shell")
				b.ReportMetric(float64(answered)/float64(median(withoutKeeper.answered)), "x-alone")
			})
		}
	}
	b.Run(fmt.Sprintf("info/others=%d", running), func(b *testing.B) {
		for b.Loop() {
			require.Len(b, h.infos(), running+1)
		}
	})
}

type times struct{ answered, line []time.Duration }

// create measures one create, and removes what it has made.
func (h *host) create(t *times, image []byte) {
	name := label("measured")
	console := h.dial("console")
	defer console.Close()
	begin := time.Now()
	_, err := console.Ask(context.Background(), name, messages.ConsoleSubscribe{Count: messages.Some(0)})
	require.NoError(h.b, err)
	subscribed := time.Since(begin)
	lines := make(chan time.Duration, 1)
	go func() {
		if _, err := console.NextLine(context.Background()); err == nil {
			lines <- time.Since(begin) - subscribed
		}
		close(lines)
	}()
	h.ask(name, messages.UnikernelCreate{Form: 5, Config: config(image)})
	t.answered = append(t.answered, time.Since(begin)-subscribed)
	line, ok := <-lines
	require.True(h.b, ok, "no line")
	t.line = append(t.line, line)
	h.ask(name, messages.UnikernelDestroy{})
}

// fromShell is how long the tender takes to its first line when a shell starts
// it.
func fromShell(b *testing.B, tender, image string) time.Duration {
	c := exec.Command("/bin/sh", "-c", `exec "$0" --mem=16 -- "$1" --quiet`, tender, image)
	out, err := c.StdoutPipe()
	require.NoError(b, err)
	begin := time.Now()
	require.NoError(b, c.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	took := time.Since(begin)
	require.NoError(b, err)
	require.NoError(b, c.Process.Kill())
	_ = c.Wait() // it was killed
	return took
}
