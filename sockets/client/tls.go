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

// An Endpoint is the address and the trust of a remote daemon.
type Endpoint struct {
	Address   string              // HOST:PORT
	Authority []*x509.Certificate // one of these must vouch for the endpoint's certificate
	Shown     tls.Certificate     // contains the command, followed by those that vouch for it

	// Choose returns what is shown instead, in a session or for one command.
	Choose func(session bool) (tls.Certificate, error)
}

const (
	// EndpointTimeout is for a host that may be anywhere.
	EndpointTimeout = 20 * time.Second

	// HandshakeTimeout covers certificates with an image, up to 16 MB over a slow line.
	HandshakeTimeout = AnswerTimeout
)

// tlsAlert is the operation of package tls's errors that report an alert of the other
// side.
const tlsAlert = "remote error"

// DialTLS connects to an endpoint with a certificate that contains the command: Ask and
// Upload send no other. That the endpoint rejects it may become known only there.
func DialTLS(ctx context.Context, e Endpoint) (*Conn, error) {
	e.Choose = nil
	return dialTLS(ctx, e)
}

func dialTLS(ctx context.Context, e Endpoint) (*Conn, error) {
	dialer := net.Dialer{Timeout: EndpointTimeout}
	tcp, err := dialer.DialContext(ctx, "tcp", e.Address)
	if err != nil {
		return nil, &ConnectError{Peer: e.Address, Err: rootCause(err)}
	}
	var unchosen error
	c := &Conn{conn: tls.Client(tcp, e.config(&unchosen)), peer: e.Address, inCertificate: true, afar: true}
	c.header = messages.Header{Version: messages.CurrentVersion}
	ctx, cancel := context.WithTimeoutCause(ctx, HandshakeTimeout, errStalled)
	defer cancel()
	if err := c.conn.(*tls.Conn).HandshakeContext(ctx); err != nil {
		tcp.Close()
		if unchosen != nil {
			return nil, unchosen
		}
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

// config returns how to connect. If no certificate is chosen, unchosen is why.
func (e Endpoint) config(unchosen *error) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Endpoints are trusted for who vouches for them, and not all certificates
		// contain a host: verify does what is skipped.
		InsecureSkipVerify: true,
		VerifyConnection:   e.verify,
		// Whatever authorities the endpoint asks for: there is only this certificate.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &e.Shown, nil },
		// One record per message if possible: see the endpoint.
		DynamicRecordSizingDisabled: true,
	}
	if e.Choose == nil {
		return config
	}
	config.NextProtos = []string{SessionProtocol}
	session := false
	config.VerifyConnection = func(state tls.ConnectionState) error { // it precedes our certificate
		session = state.NegotiatedProtocol == SessionProtocol
		return e.verify(state)
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		chosen, err := e.Choose(session)
		*unchosen = err
		return &chosen, err
	}
	return config
}

// verify checks that an authority itself has signed the endpoint's certificate, and not
// for another host.
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

// host returns the part of the address that a certificate may contain.
func (e Endpoint) host() string {
	host, _, err := net.SplitHostPort(e.Address)
	if err != nil {
		return e.Address // not reached: nobody can connect to that
	}
	return host
}

// distrustOf returns the kind of an error about the endpoint's certificate.
func distrustOf(err error) Distrust {
	var unknown x509.UnknownAuthorityError
	var other *certificate.HostError
	switch {
	case errors.As(err, &unknown):
		return UnknownIssuer
	case errors.As(err, &other):
		return OtherHost
	}
	return Unusable
}

var (
	errIndirect = errors.New("it is not signed by the authority itself")
	errCommand  = errors.New("it, or its authority, is for a client: it holds a command or policy")
)

// noTenant refuses what a tenant who may sign could have signed.
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
