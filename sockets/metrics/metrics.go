// Package metrics owns the socket at which Prometheus asks the daemon, by HTTP:
// GET /metrics, and nothing else. It decides nothing about what there is to tell.
//
// Who can reach the socket can read all of it, so it is on the loopback interface
// where no other one is named, and whoever asks gets little time and memory.
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

// What a client gets.
const (
	maxConns   = 16 // at once; one that comes then is closed
	maxScrapes = 2  // at once; another one is answered by 503
	maxHeader  = 8 << 10
	// patience is how long a client may take for its request, and how long for
	// the answer. A connection serves one request.
	patience = 10 * time.Second
)

// loopback is where we listen if nothing is said.
const loopback = "127.0.0.1"

// A Server is the socket, until Serve ends.
type Server struct {
	listener net.Listener
	http     http.Server
	open     atomic.Int64
	conns    sync.WaitGroup
}

// Listen makes the socket at an address: a port, or HOST:PORT. What is gathered
// is told; where a part of it cannot be gathered, the rest is.
func Listen(address string, gatherer prometheus.Gatherer, log *slog.Logger) (*Server, error) {
	return listen(address, gatherer, log, patience)
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

// Address returns where the socket is.
func (s *Server) Address() net.Addr { return s.listener.Addr() }

// Serve answers until ctx is done. Nothing is under way any more then.
func (s *Server) Serve(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = s.http.Close() // they are not told that we end
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

// count refuses connections where there are too many. Package http calls it
// before a connection is served, and when there is nothing left of one.
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
