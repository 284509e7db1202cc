package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"albatross/messages"
	"albatross/sockets/certificate"
)

// An Endpoint is where a daemon is asked from afar.
type Endpoint struct {
	Address   string              // HOST:PORT
	Authority []*x509.Certificate // one of these must vouch for the endpoint's certificate
	Shown     tls.Certificate     // says the command, and goes with those that vouch for it
}

const (
	// EndpointTimeout is for a host that may be anywhere.
	EndpointTimeout = 20 * time.Second

	// HandshakeTimeout is for certificates with an image in them, too, of which
	// there may be 16 MB, to be sent over a slow line.
	HandshakeTimeout = AnswerTimeout
)

// tlsAlert is what package tls calls an operation that has failed because the
// other side said so.
const tlsAlert = "remote error"

// DialTLS connects to an endpoint and shows it a certificate, which is the
// question: Ask and Upload send no other. That it is rejected may turn out only
// there.
func DialTLS(ctx context.Context, e Endpoint) (*Conn, error) {
	dialer := net.Dialer{Timeout: EndpointTimeout}
	tcp, err := dialer.DialContext(ctx, "tcp", e.Address)
	if err != nil {
		return nil, &ConnectError{Peer: e.Address, Err: rootCause(err)}
	}
	c := &Conn{conn: tls.Client(tcp, e.config()), peer: e.Address, shown: true}
	c.header = messages.Header{Version: messages.CurrentVersion}
	ctx, cancel := context.WithTimeoutCause(ctx, HandshakeTimeout, errStalled)
	defer cancel()
	if err := c.conn.(*tls.Conn).HandshakeContext(ctx); err != nil {
		tcp.Close()
		return nil, c.noHandshake(ctx, err)
	}
	return c, nil
}

func (c *Conn) noHandshake(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return c.failed(c.cause(err))
}

func (e Endpoint) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Endpoints are known by who vouches for them, and not all certificates
		// tell of a host: verify does what is skipped.
		InsecureSkipVerify: true,
		VerifyConnection:   e.verify,
		// Whatever authorities the endpoint says it wants: there is only this one.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &e.Shown, nil },
		// A message is one record where it can be: see the endpoint.
		DynamicRecordSizingDisabled: true,
	}
}

// verify checks that an authority itself has signed the endpoint's certificate, and
// not for another host.
func (e Endpoint) verify(state tls.ConnectionState) error {
	chain, err := certificate.Verify(state.PeerCertificates, e.Authority, time.Now(), x509.ExtKeyUsageServerAuth)
	if err == nil {
		err = noTenant(chain)
	}
	if err == nil {
		err = certificate.CheckHost(chain[0], e.host())
	}
	if err == nil {
		return nil
	}
	return &TrustError{Peer: e.Address, Kind: distrustOf(err), Err: err}
}

// host returns the part of the address that a certificate may tell of.
func (e Endpoint) host() string {
	host, _, err := net.SplitHostPort(e.Address)
	if err != nil {
		return e.Address // not reached: nobody can connect to that
	}
	return host
}

// distrustOf returns how an endpoint is not trusted.
func distrustOf(err error) Distrust {
	var stranger x509.UnknownAuthorityError
	var other *certificate.HostError
	switch {
	case errors.As(err, &stranger):
		return Stranger
	case errors.As(err, &other):
		return Misplaced
	}
	return Unfit
}

var (
	errIndirect = errors.New("it is not signed by the authority itself")
	errCommand  = errors.New("it, or its authority, is for a client: it holds a command or policy")
)

// noTenant refuses what a tenant who may sign can have signed.
func noTenant(chain certificate.Chain) error {
	if len(chain) > 2 {
		return errIndirect
	}
	for _, c := range chain {
		if _, _, command, _ := certificate.Command(c); command {
			return errCommand
		}
	}
	return nil
}
