package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

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
	registry *prometheus.Registry
	server   *metrics.Server
	log      *slog.Logger
}

// listenForPrometheus opens the socket, but answers no request yet.
func listenForPrometheus(o options, log *slog.Logger) (*prometheusSocket, error) {
	if o.metrics == "" {
		return nil, nil
	}
	registry := prometheus.NewRegistry()
	server, err := metrics.Listen(o.metrics, registry, log)
	if err != nil {
		return nil, fmt.Errorf("cannot use --metrics: %w", err)
	}
	return &prometheusSocket{registry, server, log}, nil
}

// serve answers scrapes until ctx is done.
func (p *prometheusSocket) serve(ctx context.Context, m *meter.Meter, system *supervise.System, a *actors.Actors) {
	if p == nil {
		return
	}
	p.registry.MustRegister(
		m,
		meter.Actors(system),
		meter.Unikernels(func() (meter.Survey, error) {
			ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
			defer cancel()
			return a.Survey(ctx)
		}),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	p.log.Info("Prometheus may ask", "url", fmt.Sprintf("http://%s/metrics", p.server.Address()))
	if err := p.server.Serve(ctx); err != nil {
		p.log.Error("Metrics are not told any more", "error", err)
	}
}
