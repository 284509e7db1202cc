package history

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// BenchmarkTake measures what a line costs the daemon, without waiting and without giving it to
// subscribers, in a pipe that has many lines, and in one that has one at a time. It includes the
// cost of the unikernel that writes them.
func BenchmarkTake(b *testing.B) {
	for _, lines := range []int{1, 4096} {
		output := bytes.Repeat([]byte("line 12345678901\n"), lines)
		run := func(name string, take func(*world)) {
			b.Run(fmt.Sprintf("%d/%s", lines, name), func(b *testing.B) {
				w := newWorld(b)
				for b.Loop() {
					_, err := w.writer.Write(output)
					require.NoError(b, err)
					take(w)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
			})
		}
		log := func(w *world) {
			for left := len(output); left > 0; left -= chunk {
				_, err := w.log.Take(w.pipe)
				require.NoError(w.t, err)
			}
		}
		run("unfollowed", log)
		run("followed", func(w *world) {
			if w.reader == nil {
				w.follow()
			}
			log(w)
			for w.reader.Next() < w.log.Next() {
				w.reader.Read(w.log.Next())
			}
		})
		buffer := make([]byte, chunk)
		var s splitter
		run("read", func(w *world) {
			for left := len(output); left > 0; {
				n, err := w.pipe.fifo.Read(buffer)
				require.NoError(w.t, err)
				left -= n
				var list []messages.ConsoleLine
				now := time.Now()
				s.feed(buffer[:n], func(kept []byte) { list = append(list, messages.ConsoleLine{Time: now, Text: string(kept)}) })
			}
		})
	}
}
