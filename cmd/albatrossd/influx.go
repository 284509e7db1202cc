package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"albatross/messages"
	"albatross/runtime/sample"
	"albatross/sockets/influx"
)

const (
	// reportInterval is native's, and also the time limit for a report.
	reportInterval = 10 * time.Second
	// reporterName is the daemon's name in InfluxDB.
	reporterName = "albatross"
)

// A reporter pushes what the daemon itself uses to InfluxDB. It is nil unless requested.
type reporter struct {
	address string
	every   time.Duration
	self    messages.Target
	sampler *sample.Sampler
	log     *slog.Logger

	conn   net.Conn // nil: none
	silent bool     // the failure has been logged
}

// newReporter returns the reporter for --influx.
func newReporter(o options, log *slog.Logger) (*reporter, error) {
	if o.influx == "" {
		return nil, nil
	}
	address, err := influx.Address(o.influx)
	if err != nil {
		return nil, fmt.Errorf("cannot use --influx %q: %w", o.influx, err)
	}
	process, started, err := sample.Find(os.Getpid(), uint32(os.Geteuid()))
	if err != nil {
		return nil, fmt.Errorf("cannot find out what this process uses: %w", err)
	}
	return &reporter{
		address: address,
		every:   reportInterval,
		self:    messages.Target{Process: process, Started: started},
		sampler: sample.New(),
		log:     log,
	}, nil
}

// run reports until ctx is done.
func (r *reporter) run(ctx context.Context) {
	if r == nil {
		return
	}
	defer r.sampler.Close()
	defer r.hangUp()
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for {
		r.logFailure(ctx, r.report(ctx))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// logFailure logs the first of several failures.
func (r *reporter) logFailure(ctx context.Context, err error) {
	switch {
	case err != nil && !r.silent && ctx.Err() == nil:
		r.log.Warn("Cannot push to InfluxDB, and goes on trying", "address", r.address, "cause", err)
	case err == nil && r.silent:
		r.log.Info("InfluxDB takes what is pushed again", "address", r.address)
	}
	r.silent = err != nil
}

// report pushes once. After a failure, the next report makes a new connection.
func (r *reporter) report(ctx context.Context) error {
	pass := r.sampler.Take([]messages.Target{r.self}, false)
	if len(pass.Samples) != 1 {
		return errors.Join(errors.New("cannot find out what this process uses"), pass.Err)
	}
	if err := r.connect(ctx); err != nil {
		return err
	}
	now := time.Now()
	conn := r.conn
	err := conn.SetWriteDeadline(now.Add(r.every))
	defer context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(now) })()
	if err == nil {
		_, err = conn.Write(influx.AppendLines(nil, reporterName, pass.Samples[0].Stats, now))
	}
	if err != nil {
		r.hangUp()
	}
	return err
}

func (r *reporter) connect(ctx context.Context) (err error) {
	if r.conn != nil {
		return nil
	}
	dialer := net.Dialer{Timeout: r.every}
	r.conn, err = dialer.DialContext(ctx, "tcp", r.address)
	return err
}

func (r *reporter) hangUp() {
	if r.conn != nil {
		_ = r.conn.Close() // nothing can be done about an error
		r.conn = nil
	}
}
