package meter

import (
	"github.com/prometheus/client_golang/prometheus"

	"albatross/actors/supervise"
)

var (
	actors = prometheus.NewDesc(namespace+"_actors",
		"Actors that live.", []string{"kind"}, nil)
	queued = prometheus.NewDesc(namespace+"_actor_queued_messages",
		"Messages that wait in the mailboxes of actors.", []string{"kind"}, nil)
	failures = prometheus.NewDesc(namespace+"_actor_failures_total",
		"Failures of actors, each of which is a bug of albatross.", []string{"kind"}, nil)
)

// Actors returns the metrics of the actors of a system.
func Actors(system *supervise.System) prometheus.Collector { return population{system} }

type population struct{ system *supervise.System }

func (c population) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{actors, queued, failures} {
		to <- d
	}
}

func (c population) Collect(to chan<- prometheus.Metric) {
	for kind, p := range c.system.Population() {
		to <- prometheus.MustNewConstMetric(actors, prometheus.GaugeValue, float64(p.Actors), kind)
		to <- prometheus.MustNewConstMetric(queued, prometheus.GaugeValue, float64(p.Queued), kind)
		to <- prometheus.MustNewConstMetric(failures, prometheus.CounterValue, float64(p.Failures), kind)
	}
}
