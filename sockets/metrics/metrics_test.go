package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds what must happen.
const deadline = 10 * time.Second

// start serves what g gathers until the test ends. Each client has that much patience of the
// server.
func start(t *testing.T, g prometheus.Gatherer, patience time.Duration) *Server {
	t.Helper()
	s, err := listen("0", g, slog.New(slog.NewTextHandler(t.Output(), nil)), patience)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
		_, err := net.Dial("tcp", s.Address().String())
		require.Error(t, err, "nobody listens any more")
	})
	return s
}

func some() prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "answer"}, func() float64 { return 42 }))
	return r
}

func (s *Server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Address().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(deadline)))
	return c
}

// ask sends a request on a connection of its own, and returns the answer.
func (s *Server) ask(t *testing.T, request string) string {
	t.Helper()
	c := s.dial(t)
	_, err := io.WriteString(c, request)
	require.NoError(t, err)
	answer, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(answer)
}

const scrape = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

func TestOnlyMetricsAreTold(t *testing.T) {
	s := start(t, some(), patience)
	answer := s.ask(t, scrape)
	require.Contains(t, answer, "HTTP/1.1 200 OK\r\n")
	require.Contains(t, answer, "\nanswer 42\n")
	require.Contains(t, answer, "Connection: close\r\n", "one request for each connection")
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n":                              "404 Not Found",
		"GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n":                      "404 Not Found",
		"GET /debug/pprof/ HTTP/1.1\r\nHost: x\r\n\r\n":                  "404 Not Found",
		"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n": "405 Method Not Allowed",
		"nonsense\r\n\r\n": "400 Bad Request",
		"GET /metrics HTTP/1.1\r\nHost: " + strings.Repeat("x", 1<<20) + "\r\n\r\n": "431 Request Header Fields Too Large",
	} {
		answer, err := tryAsk(s.dial(t), request)
		require.True(t, strings.HasPrefix(answer, "HTTP/1.1 "+want), "%.60q: %.60q (%v)", request, answer, err)
	}
}

// tryAsk sends a request that the server may refuse before it has read all of it.
func tryAsk(c net.Conn, request string) (string, error) {
	_, err := io.WriteString(c, request)
	answer, readErr := io.ReadAll(c)
	return string(answer), errors.Join(err, readErr)
}

func TestAddresses(t *testing.T) {
	for given, want := range map[string]string{
		"9100": "127.0.0.1:9100", ":9100": "127.0.0.1:9100",
		"0.0.0.0:9100": "0.0.0.0:9100", "[::]:9100": "[::]:9100", "localhost:9100": "localhost:9100",
	} {
		got, err := complete(given)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, given := range []string{"", ":", "::1", "nonsense", "127.0.0.1", "127.0.0.1:66000", "[::1"} {
		_, err := Listen(given, some(), slog.Default())
		require.ErrorContains(t, err, "cannot listen for Prometheus", given)
	}
}

// TestSlowClientsAreCutOff: both those that do not ask, and those that do not read.
func TestSlowClientsAreCutOff(t *testing.T) {
	entered := make(chan struct{}, 1)
	value := 1.0
	large := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		entered <- struct{}{}
		name, help := "large", strings.Repeat("x", 16<<20) // more than the buffers of the kernel hold
		return []*dto.MetricFamily{{Name: &name, Help: &help, Metric: []*dto.Metric{{Untyped: &dto.Untyped{Value: &value}}}, Type: dto.MetricType_UNTYPED.Enum()}}, nil
	})
	s := start(t, large, 100*time.Millisecond)
	for _, request := range []string{"", "GET /met", "GET /metrics HTTP/1.1\r\nHost: x\r\n"} {
		answer, err := tryAsk(s.dial(t), request)
		require.NoError(t, err)
		require.NotContains(t, answer, "200 OK", request)
	}
	c := s.dial(t)
	require.NoError(t, c.(*net.TCPConn).SetReadBuffer(1<<12))
	_, err := io.WriteString(c, scrape)
	require.NoError(t, err)
	<-entered
	require.Eventually(t, func() bool { return s.open.Load() == 0 }, deadline, time.Millisecond, "it is not waited for")
}

// TestTooManyClients: those beyond the limit are closed, and when the others have gone there is
// room again.
func TestTooManyClients(t *testing.T) {
	s := start(t, some(), time.Minute)
	var idle []net.Conn
	for range maxConns {
		idle = append(idle, s.dial(t))
	}
	for range 10 {
		_, err := io.ReadAll(s.dial(t)) // it ends with EOF or a reset
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	for _, c := range idle {
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool { return s.open.Load() == 0 }, deadline, time.Millisecond)
	require.Contains(t, s.ask(t, scrape), "200 OK")
}

// TestTheEndWaits for what is under way.
func TestTheEndWaits(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 1)
	s, err := Listen("0", prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		entered <- struct{}{}
		<-gate
		return nil, nil
	}), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	_, err = io.WriteString(s.dial(t), scrape)
	require.NoError(t, err)
	<-entered
	cancel()
	require.Never(t, func() bool { return len(served) > 0 }, 50*time.Millisecond, time.Millisecond)
	close(gate)
	require.NoError(t, <-served)
}

// TestTooManyScrapes are refused while the first ones are under way.
func TestTooManyScrapes(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 10)
	s := start(t, prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		entered <- struct{}{}
		<-gate
		return nil, nil
	}), time.Minute)
	for range maxScrapes {
		_, err := io.WriteString(s.dial(t), scrape)
		require.NoError(t, err)
		<-entered
	}
	require.Contains(t, s.ask(t, scrape), "503 Service Unavailable")
	require.Empty(t, entered)
	close(gate)
}

// TestWhatCannotBeGathered: one collector that fails costs only its own metrics.
func TestWhatCannotBeGathered(t *testing.T) {
	sick := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return nil, errors.New("the host does not answer") })
	s := start(t, prometheus.Gatherers{some(), sick}, patience)
	answer := s.ask(t, scrape)
	require.Contains(t, answer, "200 OK")
	require.Contains(t, answer, "answer 42")
}
