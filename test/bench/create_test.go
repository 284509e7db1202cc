package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// rounds is how often each thing is measured.
const rounds = 25

// BenchmarkCreate tells how long a create takes until it is answered, and until the unikernel has
// printed its first line, with an image that the daemon has, and with a new one, which it has to
// bring to disk first. x-shell is how many times as long the answer takes as a shell that brings a
// file to disk, the image if it is new, and starts the same tender, whose first line comes. x-crowd
// is how many times as long it takes a daemon with 1,000 others. x-alone is how many times as long
// it takes as with a daemon without a keeper.
func BenchmarkCreate(b *testing.B) {
	empty, crowded, alone := newHost(b), newHost(b), newHost(b, "--no-keeper")
	known := largeImage(b)
	hosts := []*host{empty, crowded, alone}
	for _, h := range hosts { // one that runs all the time keeps the image known
		h.ask(label("holder"), messages.UnikernelCreate{Form: 5, Config: config(known)})
	}
	crowded.crowd(0, 1000, known)
	for _, image := range []string{"known", "new"} {
		b.Run("image="+image, func(b *testing.B) {
			var took [3]times
			var shell []time.Duration
			for range rounds {
				next := known
				if image == "new" {
					next = largeImage(b)
				}
				for i, h := range hosts {
					h.create(&took[i], next)
				}
				shell = append(shell, fromShell(b, empty.path("albatross-tender"), next, image == "new"))
			}
			answered := took[0].answered
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(milliseconds(median(answered)), "ms-answered")
			b.ReportMetric(milliseconds(median(took[0].line)), "ms-line")
			toShell, crowd := ratios(answered, shell), ratios(took[1].answered, answered)
			b.ReportMetric(medianOf(toShell), "x-shell")
			b.ReportMetric(medianOf(crowd), "x-crowd")
			b.ReportMetric(medianOf(ratios(answered, took[2].answered)), "x-alone")
			goal := map[string]float64{"known": 1.5, "new": 1.3}[image]
			atMost(fmt.Sprintf("create, %s image of 8 MB: a shell that brings it to disk and starts the tender", image), "×", goal, toShell)
			atMost(fmt.Sprintf("create, %s image, with 1,000 running: with none", image), "×", 1.1, crowd)
		})
	}
}

// crowd starts those that are numbered from one number on, below another.
func (h *host) crowd(from, below int, image []byte) {
	for n := from; n < below; n++ {
		h.ask(label(fmt.Sprint("other", n)), messages.UnikernelCreate{Form: 5, Config: config(image)})
	}
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

// stores has a shell bring a new image to disk, as the daemon does, and syncs only a small file.
const (
	stores = `cp "$1" image.tmp && sync image.tmp && mv image.tmp image && sync . && exec "$0" --mem=16 -- image --quiet`
	syncs  = `echo record > record && sync record && exec "$0" --mem=16 -- "$1" --quiet`
)

// fromShell is how long a shell takes to bring an image to disk, or a small file if the image is no
// new one, and the tender that it then starts, to its first line.
func fromShell(b *testing.B, tender string, image []byte, isNew bool) time.Duration {
	dir, script := filepath.Dir(tender), syncs
	if isNew {
		script = stores
	}
	path := filepath.Join(dir, "uploaded")
	require.NoError(b, os.WriteFile(path, image, 0o400))
	defer func() { require.NoError(b, os.Remove(path)) }()
	c := exec.Command("/bin/sh", "-c", script, tender, path)
	c.Dir = dir
	return toFirstLine(b, c)
}

// toFirstLine starts a tender, and ends it when it has printed a line.
func toFirstLine(b *testing.B, c *exec.Cmd) time.Duration {
	took, end := untilFirstLine(b, c)
	end()
	return took
}

func untilFirstLine(b *testing.B, c *exec.Cmd) (took time.Duration, end func()) {
	out, err := c.StdoutPipe()
	require.NoError(b, err)
	begin := time.Now()
	require.NoError(b, c.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	took = time.Since(begin)
	require.NoError(b, err)
	return took, func() {
		_ = c.Process.Signal(unix.SIGTERM)
		_ = c.Wait() // it was ended
	}
}
