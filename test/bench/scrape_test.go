package bench

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/guests"
)

// BenchmarkScrape tells how long Prometheus waits for the metrics of 1,000
// unikernels, and what a client notices of that: how long a small question takes
// while one scrape follows the other, compared with when there are none.
func BenchmarkScrape(b *testing.B) {
	const running, questions = 1000, 200
	h := newHost(b, "--metrics", "0")
	h.crowd(0, running, guests.Image("hello", "spt"))
	url := h.metrics()
	ask := func() (list []time.Duration) {
		for range questions {
			list = append(list, took(func() { h.ask(label("other7"), messages.UnikernelInfo{Form: 6}) }))
		}
		return list
	}
	alone := ask()

	stop, scraped := make(chan struct{}), make(chan []time.Duration)
	go func() {
		var list []time.Duration
		for {
			select {
			case <-stop:
				scraped <- list
				return
			default:
				list = append(list, took(func() { scrape(b, url) }))
			}
		}
	}()
	busy := ask()
	close(stop)
	scrapes := <-scraped
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(median(scrapes)), "ms-scrape")
	atMost("scrape with 1,000 running", "ms", 40, inMilliseconds(scrapes))
	b.ReportMetric(milliseconds(median(alone)), "ms-question")
	b.ReportMetric(float64(median(busy))/float64(median(alone)), "x-while-scraped")
	b.ReportMetric(milliseconds(slices.Max(busy)), "ms-worst-while-scraped")
}

// metrics is where Prometheus may ask, which the log tells.
func (h *host) metrics() string {
	log, err := os.ReadFile(h.path("log"))
	require.NoError(h.b, err)
	url := regexp.MustCompile(`url=(\S+)`).FindSubmatch(log)
	require.NotNil(h.b, url)
	return string(url[1])
}

func scrape(b *testing.B, url string) {
	answer, err := http.Get(url)
	if err != nil {
		b.Error(err)
		return
	}
	defer answer.Body.Close()
	if n, err := io.Copy(io.Discard, answer.Body); err != nil || n < 1<<19 {
		b.Errorf("a scrape has %d bytes (%v)", n, err)
	}
}
