package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"albatross/actors"
	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/sockets/metrics"
)

// surveyTimeout is how long a scrape waits for the unikernels: less than Prometheus does,
// so that it gets the other metrics.
const surveyTimeout = 5 * time.Second

// A prometheusSocket serves metrics. It is nil unless requested.
type prometheusSocket struct {
	registry   *prometheus.Registry
	unikernels *meter.Unikernels
	server     *metrics.Server
	log        *slog.Logger
}

// listenForPrometheus opens the socket, but answers no request yet.
func listenForPrometheus(o options, log *slog.Logger) (*prometheusSocket, error) {
	if o.metrics == "" {
		return nil, nil
	}
	p := &prometheusSocket{registry: prometheus.NewRegistry(), log: log}
	var err error
	if p.server, err = metrics.Listen(o.metrics, prometheus.GathererFunc(p.gather), log); err != nil {
		return nil, fmt.Errorf("cannot use --metrics: %w", err)
	}
	return p, nil
}

// gather returns all metrics. Those of unikernels have a prefix of their own.
func (p *prometheusSocket) gather() ([]*dto.MetricFamily, error) {
	list, err := p.registry.Gather()
	more, moreErr := p.unikernels.Gather()
	return append(list, more...), errors.Join(err, moreErr)
}

// serve answers scrapes until ctx is done.
func (p *prometheusSocket) serve(ctx context.Context, m *meter.Meter, system *supervise.System, a *actors.Actors) {
	if p == nil {
		return
	}
	p.unikernels = meter.NewUnikernels(func() (meter.Survey, error) {
		ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
		defer cancel()
		return a.Survey(ctx)
	})
	p.registry.MustRegister(
		m,
		meter.Actors(system),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	p.log.Info("Prometheus may ask", "url", fmt.Sprintf("http://%s/metrics", p.server.Address()))
	if err := p.server.Serve(ctx); err != nil {
		p.log.Error("Metrics are not told any more", "error", err)
	}
}
