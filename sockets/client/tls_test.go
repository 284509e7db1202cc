package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

// A pki is an authority that both sides trust, and what it has signed.
type pki struct {
	root   *certificate.Authority
	shown  tls.Certificate
	server tls.Certificate
}

func newPKI(t *testing.T, command messages.Command) pki {
	key, err := certificate.Ed25519.Generate()
	require.NoError(t, err)
	root, err := certificate.NewRoot("ca", key, time.Now(), time.Hour)
	require.NoError(t, err)
	p := pki{root: root}
	p.server = serverCertificate(t, root, time.Now())
	clientKey, err := certificate.Ed25519.Generate()
	require.NoError(t, err)
	request := certificate.Request{Name: "hello", Command: command, Key: clientKey.Public()}
	chain, err := root.Issue(request, time.Now(), certificate.OnceLife)
	require.NoError(t, err)
	p.shown = tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: clientKey}
	return p
}

func serverCertificate(t *testing.T, root *certificate.Authority, at time.Time, hosts ...string) tls.Certificate {
	key, err := certificate.Ed25519.Generate()
	require.NoError(t, err)
	chain, err := root.IssueServer("server", key.Public(), at, time.Minute, hosts...)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key}
}

func (p pki) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.root.Chain[0])
	return pool
}

func (p pki) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p.server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: p.pool()}
}

func (p pki) dial(t *testing.T, address string) (*client.Conn, error) {
	return client.DialTLS(t.Context(), client.Endpoint{Address: address, Authority: p.root.Chain, Shown: p.shown})
}

// endpoint accepts one connection. The test ends when its script has ended.
func endpoint(t *testing.T, config *tls.Config, s script) (address string) {
	return listenTCP(t, func(t *testing.T, tcp net.Conn) {
		conn := tls.Server(tcp, config)
		if conn.Handshake() == nil {
			s(t, conn)
		}
		conn.Close()
	})
}

func listenTCP(t *testing.T, s script) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	acceptOne(t, l, s)
	return l.Addr().String()
}

var below = messages.Header{Version: messages.Version5, Sequence: 7, Name: messages.Name{Path: "alice", Label: "hello"}}

// shownCommand returns the command in the certificate of the client.
func shownCommand(t *testing.T, conn net.Conn) messages.Command {
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	command, _, _, err := certificate.Command(chain[0])
	if err != nil {
		t.Errorf("cannot read the command: %v", err)
	}
	return command
}

func TestACertificateIsTheQuestion(t *testing.T) {
	p := newPKI(t, messages.ConsoleSubscribe{Count: messages.Some(3)})
	line := messages.DataConsole{Time: time.Unix(1, 0).UTC(), Line: "one"}
	address := endpoint(t, p.config(), func(t *testing.T, conn net.Conn) {
		if got := shownCommand(t, conn); got != (messages.ConsoleSubscribe{Count: messages.Some(3)}) {
			t.Errorf("the certificate says %v", got)
		}
		say(t, conn, messages.Wire{Header: below, Payload: messages.SuccessText{Text: "subscribed"}})
		say(t, conn, messages.Wire{Header: below, Payload: line})
		if err := wire.WriteEnd(conn); err != nil {
			t.Error(err)
		}
		// The client has sent nothing but the certificate.
		if n, err := io.Copy(io.Discard, conn); n != 0 || err != nil {
			t.Errorf("%d bytes came, %v", n, err)
		}
	})
	c, err := p.dial(t, address)
	require.NoError(t, err)
	defer c.Close()
	success, err := c.Ask(t.Context(), hello, messages.ConsoleSubscribe{})
	require.NoError(t, err)
	require.Equal(t, messages.SuccessText{Text: "subscribed"}, success)
	require.Equal(t, below.Name, c.Name())
	got, err := c.NextLine(t.Context())
	require.NoError(t, err)
	require.Equal(t, line, got)
	_, err = c.NextLine(t.Context())
	require.Equal(t, io.EOF, err)
}

func TestRefusalFromAfar(t *testing.T) {
	p := newPKI(t, messages.UnikernelDestroy{})
	c, err := p.dial(t, endpoint(t, p.config(), func(t *testing.T, conn net.Conn) {
		say(t, conn, messages.Wire{Header: below, Payload: messages.Failure{Text: "destroy: not found"}})
	}))
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Ask(t.Context(), hello, messages.UnikernelDestroy{})
	require.Equal(t, &client.Refusal{Name: below.Name, Text: "destroy: not found"}, err)
}

func TestUploadFromAfar(t *testing.T) {
	contents := bytes.Repeat([]byte("albatross"), 20000)
	p := newPKI(t, messages.BlockSet{})
	var got []byte
	c, err := p.dial(t, endpoint(t, p.config(), func(t *testing.T, conn net.Conn) {
		got = takeStream(t, conn)
		say(t, conn, messages.Wire{Header: below, Payload: messages.SuccessEmpty{}})
	}))
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Upload(t.Context(), hello, messages.BlockSet{}, io.NopCloser(bytes.NewReader(contents)))
	require.NoError(t, err)
	require.True(t, bytes.Equal(contents, got))
}

func TestEndpointsThatAreNotTrusted(t *testing.T) {
	p, other := newPKI(t, messages.PolicyInfo{}), newPKI(t, messages.PolicyInfo{})
	asClient, expired, foreign := p.config(), p.config(), p.config()
	asClient.Certificates = []tls.Certificate{p.shown}
	foreign.Certificates = []tls.Certificate{other.server}
	expired.Certificates = []tls.Certificate{serverCertificate(t, p.root, time.Now().Add(-2*time.Minute))}
	for name, c := range map[string]struct {
		config *tls.Config
		kind   client.Distrust
	}{
		"by somebody else": {foreign, client.UnknownIssuer},
		"expired":          {expired, client.Unusable},
		"a client's":       {asClient, client.Unusable},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.dial(t, endpoint(t, c.config, func(t *testing.T, conn net.Conn) { waitForEnd(conn) }))
			var trust *client.TrustError
			require.ErrorAs(t, err, &trust)
			require.Equal(t, c.kind, trust.Kind)
			require.ErrorContains(t, err, "cannot trust the certificate of 127.0.0.1:")
		})
	}
}

// TestEndpointsThatDoNotTrust: the client learns that only when it waits for the answer.
func TestEndpointsThatDoNotTrust(t *testing.T) {
	p, other := newPKI(t, messages.BlockSet{}), newPKI(t, messages.BlockSet{})
	config := p.config()
	config.ClientCAs = other.pool()
	nothing := func(*testing.T, net.Conn) { t.Error("the certificate was accepted") }
	for name, ask := range map[string]func(*client.Conn) error{
		"ask": func(c *client.Conn) error {
			_, err := c.Ask(t.Context(), hello, messages.PolicyInfo{})
			return err
		},
		"follow": func(c *client.Conn) error {
			_, err := c.NextLine(t.Context())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := p.dial(t, endpoint(t, config, nothing))
			require.NoError(t, err)
			defer c.Close()
			err = ask(c)
			var trust *client.TrustError
			require.ErrorAs(t, err, &trust)
			require.Equal(t, client.Rejected, trust.Kind)
			require.ErrorContains(t, err, "does not accept our certificate: tls: ")
		})
	}
}

func TestHandshakesThatGoWrong(t *testing.T) {
	p := newPKI(t, messages.PolicyInfo{})
	old := p.config()
	old.MaxVersion = tls.VersionTLS12
	for name, c := range map[string]struct{ address, want string }{
		"closes":  {listenTCP(t, func(*testing.T, net.Conn) {}), "cannot talk to"},
		"speaks":  {listenTCP(t, func(_ *testing.T, conn net.Conn) { io.WriteString(conn, "220 mail ready\r\n"); waitForEnd(conn) }), "TLS handshake"},
		"TLS 1.2": {endpoint(t, old, func(t *testing.T, _ net.Conn) { t.Error("it agreed to TLS 1.2") }), "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.dial(t, c.address)
			require.ErrorContains(t, err, c.want)
			var connect *client.ConnectError
			require.NotErrorAs(t, err, &connect, "somebody was there")
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = p.dial(t, l.Addr().String())
	var connect *client.ConnectError
	require.ErrorAs(t, err, &connect)
	require.ErrorContains(t, err, "connection refused")
}

func TestCancelAHandshake(t *testing.T) {
	p := newPKI(t, messages.PolicyInfo{})
	ctx, cancel := context.WithCancel(t.Context())
	address := listenTCP(t, func(_ *testing.T, conn net.Conn) {
		cancel()
		waitForEnd(conn)
	})
	_, err := client.DialTLS(ctx, client.Endpoint{Address: address, Authority: p.root.Chain, Shown: p.shown})
	require.ErrorIs(t, err, context.Canceled)
}
