package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/influx"
)

// timing holds the timeouts and pauses of a relay.
type timing struct {
	// A connection that has ended is made again after a pause, which doubles until a
	// connection was useful.
	firstPause, longestPause time.Duration

	dial  time.Duration // for InfluxDB to accept
	write time.Duration // for it to take a batch
}

// standard: statistics come again within write, so a batch not accepted by then is old.
var standard = timing{firstPause: time.Second, longestPause: 30 * time.Second, dial: 5 * time.Second, write: 10 * time.Second}

var errClosed = errors.New("it has closed the connection")

// A relay takes statistics from the daemon and pushes them. It drops a sample that cannot
// be pushed, and never repeats one, since part of it may have arrived. So the
// subscription goes on whatever happens to InfluxDB, and the other way round.
type relay struct {
	socket  string        // of the daemon
	influx  string        // HOST:PORT
	name    messages.Name // whose statistics
	full    bool          // names include their paths
	timing  timing
	outbox  *outbox
	losses  losses
	logging *slog.Logger
}

// run relays until ctx is done, and drops what has not been pushed by then.
func (r *relay) run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { r.again(ctx, "the daemon", r.follow) })
	both.Go(func() { r.again(ctx, "InfluxDB", r.push) })
	both.Wait()
	r.losses.rest(time.Now())
}

// again repeats a conversation, which returns whether it was useful.
func (r *relay) again(ctx context.Context, with string, conversation func(context.Context) (bool, error)) {
	pause := r.timing.firstPause
	for {
		useful, err := conversation(ctx)
		if ctx.Err() != nil {
			return
		}
		if useful {
			pause = r.timing.firstPause
		}
		r.logging.Warn("No connection to "+with, "cause", err, "again_in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, r.timing.longestPause)
	}
}

// follow takes statistics from the daemon, until that ends.
func (r *relay) follow(ctx context.Context) (useful bool, err error) {
	conn, err := client.Dial(ctx, r.socket)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if _, err := conn.Ask(ctx, r.name, messages.StatsSubscribe{}); err != nil {
		return false, err
	}
	r.logging.Info("Subscribed to statistics", "socket", r.socket, "name", r.name)
	for {
		name, data, err := conn.Next(ctx)
		if err != nil {
			return useful, err
		}
		stats, ok := data.(messages.DataStats)
		if !ok {
			return useful, fmt.Errorf("the daemon sends a %T as statistics", data)
		}
		useful = true
		now := time.Now()
		if !r.outbox.put(influx.AppendLines(nil, r.vm(name), stats, now)) {
			r.losses.add(1, now)
		}
	}
}

// vm returns the name of a unikernel in the database.
func (r *relay) vm(name messages.Name) string {
	if r.full || name.IsPath() {
		return name.String()
	}
	return string(name.Label)
}

// push pushes statistics to InfluxDB, until that stops accepting them.
func (r *relay) push(ctx context.Context) (useful bool, err error) {
	// The database gives a sample the time of its arrival, so those that have waited for
	// a connection are useless.
	r.losses.add(r.outbox.empty().samples, time.Now())
	dialer := net.Dialer{Timeout: r.timing.dial}
	conn, err := dialer.DialContext(ctx, "tcp", r.influx)
	if err != nil {
		return false, err
	}
	r.logging.Info("Connected to InfluxDB", "address", conn.RemoteAddr())
	left, ctx := r.watch(ctx, conn)
	defer left()
	for {
		b, err := r.outbox.take(ctx)
		if err != nil {
			return useful, err
		}
		if err := r.write(conn, b); err != nil {
			return useful, err
		}
		useful = true
	}
}

// watch cancels its context when the other side closes the connection, and closes the
// connection when the context ends. Otherwise the first sample after that would be
// silently lost. The caller must call left, which waits for both.
func (r *relay) watch(ctx context.Context, conn net.Conn) (left func(), watched context.Context) {
	watched, cancel := context.WithCancelCause(ctx)
	closed := make(chan struct{})
	context.AfterFunc(watched, func() {
		defer close(closed)
		_ = conn.Close() // nothing can be done about an error
	})
	var reading sync.WaitGroup
	reading.Go(func() {
		_, err := io.Copy(io.Discard, conn)
		cancel(cmp.Or(err, errClosed))
	})
	return func() {
		cancel(nil)
		<-closed
		reading.Wait()
	}, watched
}

// write pushes a batch. An incomplete batch is lost, and its rest in the kernel must not
// arrive late.
func (r *relay) write(conn net.Conn, b batch) error {
	if len(b.lines) == 0 {
		return nil // emptied meanwhile
	}
	err := conn.SetWriteDeadline(time.Now().Add(r.timing.write))
	if err == nil {
		_, err = conn.Write(b.lines)
	}
	if err == nil {
		r.logging.Debug("Pushed", "samples", b.samples, "bytes", len(b.lines))
		return nil
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed in any case
	}
	r.losses.add(b.samples, time.Now())
	return fmt.Errorf("cannot push %d samples: %w", b.samples, err)
}
