// Package meter owns the instruments of the daemon, and tells what they show as
// Prometheus wants it. They are counted where things happen, in a line each; what
// is asked for only, is asked for when somebody looks.
//
//	meter.go       what is counted as it happens
//	commands.go    what commands are called
//	actors.go      how the actors are
//	unikernels.go  how the unikernels are
//
// Whatever a client says, it does not make a new series: labels are of our own
// choosing, except for the names of unikernels that run, and of their devices.
package meter

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"albatross/messages"
)

const namespace = "albatross"

// A Meter is what is counted as it happens. It is a prometheus.Collector, and
// may be used by all actors at the same time.
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

// New returns instruments that show nothing yet.
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

// A Request is a command of a client that has not been answered.
type Request struct {
	meter           *Meter
	socket, command string
	begun           time.Time
}

// Asked notes that a client says something at a socket.
func (m *Meter) Asked(socket string, payload messages.Payload, now time.Time) Request {
	return Request{m, socket, command(payload), now}
}

// command returns what a command is called, in whatever form it was said. What is none has
// one name together.
func command(p messages.Payload) string {
	if conduct, known := messages.ConductOf(p); known {
		return conduct.Metric
	}
	return "unknown"
}

// Answered notes the answer.
func (r Request) Answered(with messages.Payload, now time.Time) {
	result := "failure"
	if _, ok := with.(messages.Success); ok {
		result = "success"
	}
	r.meter.requests.WithLabelValues(r.socket, r.command, result).Inc()
	r.meter.durations.WithLabelValues(r.command).Observe(now.Sub(r.begun).Seconds())
}

// TurnedAway notes that a client of a socket was cut off because there were too many.
func (m *Meter) TurnedAway(socket string) { m.turned.WithLabelValues(socket).Inc() }

// SetAside notes that a record of a kind is damaged, and was set aside.
func (m *Meter) SetAside(kind string) { m.aside.WithLabelValues(kind).Inc() }

// Missed notes that somebody who follows a console has missed lines.
func (m *Meter) Missed(lines int) { m.missed.Add(float64(lines)) }

// Adopted notes that a tender was taken over from a former daemon.
func (m *Meter) Adopted() { m.adopted.Inc() }

// Committed notes a commit that has ended, or failed.
func (m *Meter) Committed(took time.Duration, err error) {
	m.commits.Observe(took.Seconds())
	if err != nil {
		m.failed.Inc()
	}
}
