package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// maxWaiting bounds the bytes of waiting samples: some 1,500 unikernels.
const maxWaiting = 1 << 20

// A batch consists of lines of whole samples.
type batch struct {
	lines   []byte
	samples int // number of samples
}

// An outbox holds the samples to push next.
type outbox struct {
	filled chan struct{} // holds an element if a sample waits

	mu      sync.Mutex
	waiting batch
}

func newOutbox() *outbox { return &outbox{filled: make(chan struct{}, 1)} }

// put adds a sample, or returns false if there is no room.
func (o *outbox) put(sample []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting.lines)+len(sample) > maxWaiting {
		return false
	}
	o.waiting.lines = append(o.waiting.lines, sample...)
	o.waiting.samples++
	select {
	case o.filled <- struct{}{}:
	default: // it is signalled already
	}
	return true
}

// take waits for samples, and takes all of them.
func (o *outbox) take(ctx context.Context) (batch, error) {
	select {
	case <-o.filled:
		return o.empty(), nil
	case <-ctx.Done():
		return batch{}, context.Cause(ctx)
	}
}

// empty takes all samples, maybe none.
func (o *outbox) empty() batch {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.waiting
	o.waiting = batch{}
	return all
}

// lossInterval is the least time between two log lines about losses.
const lossInterval = time.Minute

// losses counts samples that were not pushed, and logs them once in a while.
type losses struct {
	log   *slog.Logger
	every time.Duration

	mu     sync.Mutex
	count  int // since the last log line
	logged time.Time
}

func (l *losses) add(samples int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count += samples
	if l.count > 0 && now.Sub(l.logged) >= l.every {
		l.report(now)
	}
}

// rest logs the losses that were not logged yet.
func (l *losses) rest(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count > 0 {
		l.report(now)
	}
}

func (l *losses) report(now time.Time) {
	l.log.Warn("Samples were dropped, which InfluxDB has not taken", "samples", l.count)
	l.count, l.logged = 0, now
}
