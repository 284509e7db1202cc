package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
)

// A Config is what a Server needs.
type Config struct {
	CA          *x509.Certificate // all chains lead to it
	Certificate tls.Certificate   // of the server
	Sockets     string            // directory of the daemon's sockets
	Spool       *Spool
	Revocations *Revocations // nil: nothing is revoked
	Audit       *Audit       // nil: nothing is logged
	Now         func() time.Time
	Log         *slog.Logger
	Single      bool // there are no sessions

	// Work does a piece of long work, in turns of those it is for.
	Work func(ctx context.Context, whose string, work func()) error

	Gate     GateLimits
	Conns    ConnLimits
	Patience Patience
}

// A Server serves clients over TLS.
type Server struct {
	config   Config
	tls      *tls.Config
	gate     *gate
	tenants  *tenants
	failures *failureLog
	number   atomic.Uint64 // of the last exchange
}

// New makes a Server.
func New(config Config) *Server {
	return &Server{
		config:   config,
		gate:     newGate(config.Gate),
		tenants:  newTenants(config.Conns),
		failures: newFailureLog(config.Log, config.Now),
		tls: &tls.Config{
			Certificates: []tls.Certificate{config.Certificate},
			MinVersion:   tls.VersionTLS13,
			// We verify the chain ourselves, with any usage of its keys.
			ClientAuth: tls.RequireAnyClientCert,
			Time:       config.Now,
			// Nobody would check the certificates of a resumed session again, and its
			// ticket would contain a certificate with an image.
			SessionTicketsDisabled:      true,
			DynamicRecordSizingDisabled: true,
		},
	}
}

// Serve serves clients until ctx is done; then it ends all connections and closes the
// listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) {
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	serving.Go(func() { s.watchChains(ctx) })
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return
		case err != nil: // most likely out of descriptors
			s.config.Log.Error("Cannot accept a client", "error", err)
			pause(ctx)
		default:
			serving.Go(func() { s.admit(ctx, c) })
		}
	}
}

// pause keeps a persistent error from using up a CPU.
func pause(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	<-ctx.Done()
}

// ServeConn serves one connection, until it ends or ctx is done.
func (s *Server) ServeConn(ctx context.Context, c net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { s.watchChains(ctx) })
	s.admit(ctx, c)
}

// admit verifies a client, and serves it.
func (s *Server) admit(ctx context.Context, c net.Conn) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()

	address := addressOf(c)
	pending, leave, err := s.gate.enter(address, end)
	if err != nil {
		s.failures.add(address, err)
		return
	}
	leave = sync.OnceFunc(leave)
	defer leave()
	counted, err := newCountedConn(ctx, c, s.gate, pending)
	if err != nil {
		return // it has left already
	}
	defer counted.done()
	conn, chain, err := s.handshake(ctx, address, counted)
	if err != nil {
		switch {
		case errors.Is(context.Cause(ctx), errPlace):
			s.failures.add(address, errPlace)
		case ctx.Err() == nil:
			s.failures.add(address, explain(err))
		}
		return
	}
	s.serve(ctx, verifiedClient{conn: conn, chain: chain, large: counted.large, end: end, enter: leave})
}

// handshake returns the connection and the verified chain of a client. Chains are
// verified in turns of the addresses.
func (s *Server) handshake(ctx context.Context, address netip.Addr, counted *countedConn) (*tls.Conn, []*x509.Certificate, error) {
	var chain []*x509.Certificate
	config := s.tls.Clone()
	config.VerifyConnection = func(state tls.ConnectionState) (err error) {
		turn := s.config.Work(ctx, address.String(), func() {
			chain, err = verify(state.PeerCertificates, s.config.CA, s.config.Now())
		})
		if turn != nil {
			return turn
		}
		return err
	}
	// Who offers other protocols than ours gets none, as if it had offered nothing.
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if s.config.Single || !slices.Contains(hello.SupportedProtos, client.SessionProtocol) {
			return nil, nil
		}
		own := config.Clone()
		own.NextProtos = []string{client.SessionProtocol}
		return own, nil
	}
	conn := tls.Server(counted, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		counted.drainRejected()
		return nil, nil, err
	}
	return conn, chain, counted.endHandshake()
}

// tooLarge is in crypto/tls's error about a certificate above its limit.
const tooLarge = "exceeds maximum of 262144 bytes"

// ErrSmallBuild says that the build has not raised the limit of crypto/tls.
var ErrSmallBuild = errors.New("this program was built without room for certificates above 262144 bytes, as those with an image in them: rebuild it by make build")

// explain translates errors of crypto/tls.
func explain(err error) error {
	if strings.Contains(err.Error(), tooLarge) {
		return fmt.Errorf("%w (%w)", ErrSmallBuild, err)
	}
	return err
}

// watchChains ends connections of clients that have been revoked, and sessions that have expired.
// They read why.
func (s *Server) watchChains(ctx context.Context) {
	tick := time.NewTicker(crlEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.endInvalid()
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) endInvalid() {
	for _, t := range s.tenants.all() {
		err := s.config.Revocations.check(t.chain)
		if err == nil && t.session {
			err = s.inTime(t.chain)
		}
		if err != nil {
			s.tenants.invalidate(t, err)
		}
	}
}

var errExpired = errors.New("a certificate that vouches for this session has expired")

// inTime returns an error if a certificate of a chain has expired.
func (s *Server) inTime(chain []*x509.Certificate) error {
	now := s.config.Now()
	if slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return now.After(c.NotAfter) }) {
		return errExpired
	}
	return nil
}

func (s *Server) socket(at messages.Endpoint) string {
	return filepath.Join(s.config.Sockets, string(at)+".sock")
}
