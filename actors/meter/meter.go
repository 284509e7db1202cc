// Package meter owns the metrics of the daemon for Prometheus. Events are counted where they
// happen, in one line each; states are read at each scrape.
//
//	meter.go       counters of events
//	actors.go      the actors
//	unikernels.go  the unikernels
//
// No client can create a new series: we choose all labels, except for the names of running
// unikernels and of their devices.
package meter

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"albatross/messages"
)

const namespace = "albatross"

// A Meter counts events. It is a prometheus.Collector; all actors may use it at the same
// time.
type Meter struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	missed    prometheus.Counter
	adopted   prometheus.Counter
	commits   prometheus.Histogram
	failed    prometheus.Counter
	aside     *prometheus.GaugeVec
	turned    *prometheus.CounterVec
	build     prometheus.Gauge
}

// New returns a Meter whose counters are zero.
func New(version string) *Meter {
	m := &Meter{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "requests_total",
			Help: "Commands of clients that have been answered.",
		}, []string{"socket", "command", "result"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "request_duration_seconds",
			Help:    "How long commands of clients took, until there was an answer.",
			Buckets: []float64{.0005, .001, .005, .01, .05, .1, .5, 1, 5, 10, 60},
		}, []string{"command"}),
		missed: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "console_missed_lines_total",
			Help: "Lines of consoles that clients have missed because they read too slowly.",
		}),
		adopted: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "adopted_tenders_total",
			Help: "Running unikernels that were taken over, from a former daemon or after a failure.",
		}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: "store", Name: "commit_duration_seconds",
			Help:    "How long commits to the database took.",
			Buckets: []float64{.0005, .001, .005, .01, .05, .1, .5, 1, 5, 10},
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "store", Name: "commit_failures_total",
			Help: "Commits to the database that have failed.",
		}),
		aside: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: "store", Name: "records_set_aside",
			Help: "Damaged records of the database that were set aside when the daemon started.",
		}, []string{"record"}),
		turned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "clients_turned_away_total",
			Help: "Clients that were cut off because there were too many.",
		}, []string{"socket"}),
		build: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "build_info",
			Help:        "What runs here; the value is always 1.",
			ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
		}),
	}
	m.build.Set(1)
	return m
}

func (m *Meter) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.durations, m.missed, m.adopted, m.commits, m.failed, m.aside, m.turned, m.build}
}

// Describe implements prometheus.Collector.
func (m *Meter) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(to)
	}
}

// Collect implements prometheus.Collector.
func (m *Meter) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(to)
	}
}

// A Request is a command of a client that was not answered yet.
type Request struct {
	meter           *Meter
	socket, command string
	begun           time.Time
}

// Asked counts a command at a socket.
func (m *Meter) Asked(socket string, payload messages.Payload, now time.Time) Request {
	return Request{m, socket, command(payload), now}
}

// command returns the metric name of a command, in whatever form. All other payloads
// share one name.
func command(p messages.Payload) string {
	if properties, known := messages.PropertiesOf(p); known {
		return properties.Metric
	}
	return "unknown"
}

// Answered counts the answer.
func (r Request) Answered(with messages.Payload, now time.Time) {
	result := "failure"
	if _, ok := with.(messages.Success); ok {
		result = "success"
	}
	r.meter.requests.WithLabelValues(r.socket, r.command, result).Inc()
	r.meter.durations.WithLabelValues(r.command).Observe(now.Sub(r.begun).Seconds())
}

// Rejected counts a client that was cut off because a socket had too many.
func (m *Meter) Rejected(socket string) { m.turned.WithLabelValues(socket).Inc() }

// SetAside counts a damaged record of a kind that was set aside.
func (m *Meter) SetAside(kind string) { m.aside.WithLabelValues(kind).Inc() }

// Missed counts lines that a subscriber has missed.
func (m *Meter) Missed(lines int) { m.missed.Add(float64(lines)) }

// Adopted counts a tender that was taken over from a former daemon.
func (m *Meter) Adopted() { m.adopted.Inc() }

// Committed counts a commit that has ended, or failed.
func (m *Meter) Committed(took time.Duration, err error) {
	m.commits.Observe(took.Seconds())
	if err != nil {
		m.failed.Inc()
	}
}
