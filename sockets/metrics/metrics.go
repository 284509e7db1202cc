// Package metrics owns the HTTP socket for Prometheus: GET /metrics, and nothing else.
// The caller decides which metrics there are.
//
// Whoever can reach the socket can read all of them, so it is on the loopback interface
// by default, and clients get little time and memory.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The limits for clients.
const (
	maxConns   = 16 // at once; a further one is closed
	maxScrapes = 2  // at once; a further one is answered by 503
	maxHeader  = 8 << 10
	// patience bounds the time of a request, and that of its answer. A connection serves
	// one request.
	patience = 10 * time.Second
)

// loopback is the default host.
const loopback = "127.0.0.1"

// A Server is the socket, until Serve ends.
type Server struct {
	listener net.Listener
	http     http.Server
	open     atomic.Int64
	conns    sync.WaitGroup
}

// Listen makes the socket at an address: a port, or HOST:PORT. If some metrics cannot be
// gathered, it serves the others.
func Listen(address string, gatherer prometheus.Gatherer, log *slog.Logger) (*Server, error) {
	return listen(address, gatherer, log, patience)
}

// Check returns why an address cannot be that of Listen.
func Check(address string) error {
	_, err := complete(address)
	return err
}

func listen(address string, gatherer prometheus.Gatherer, log *slog.Logger, patience time.Duration) (*Server, error) {
	full, err := complete(address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for Prometheus at %q: %w", address, err)
	}
	l, err := net.Listen("tcp", full)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for Prometheus: %w", err)
	}
	errorLog := slog.NewLogLogger(log.Handler(), slog.LevelError)
	s := &Server{listener: l}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorLog:            errorLog,
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	}))
	s.http = http.Server{
		Handler:        mux,
		ReadTimeout:    patience,
		WriteTimeout:   patience,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       errorLog,
		ConnState:      s.count,
	}
	s.http.SetKeepAlivesEnabled(false)
	return s, nil
}

// complete adds what is missing to an address.
func complete(address string) (string, error) {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return "", err
	case port == "":
		return "", errors.New("there is no port")
	case host == "":
		host = loopback
	}
	return net.JoinHostPort(host, port), nil
}

// Address returns the address of the socket.
func (s *Server) Address() net.Addr { return s.listener.Addr() }

// Serve answers requests until ctx is done, and ends those under way.
func (s *Server) Serve(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = s.http.Close() // clients do not learn that we stop
	})
	err := s.http.Serve(s.listener)
	if !stop() {
		<-stopped
	}
	s.conns.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("cannot serve Prometheus any more: %w", err)
}

// count refuses connections beyond the limit. Package http calls it before it serves a
// connection, and after the connection has ended.
func (s *Server) count(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
		if s.open.Add(1) > maxConns {
			_ = conn.Close() // serving it fails, and comes here again
		}
	case http.StateClosed:
		s.open.Add(-1)
		s.conns.Done()
	}
}
