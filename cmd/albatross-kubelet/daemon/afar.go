package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/client"
)

// An Endpoint is where a daemon is reached from afar, and with which certificates. It keeps sessions
// with it, which follow one another's commands: all methods may be called by several goroutines.
type Endpoint struct {
	Address string // HOST:PORT
	// Files: a certificate with a policy, and those that vouch for it; its key; and the certificate
	// that vouches for the endpoint. They are read for each new session, since somebody may renew them.
	CA, CAKey, ServerCA string

	sessions client.Pool
}

// maxPEM bounds each of those files.
const maxPEM = 1 << 20

var errNoSessions = errors.New("the endpoint offers no sessions: it must be an albatross-tls-endpoint of this version")

// Path returns the path of the certificates, below which everything is.
func (e *Endpoint) Path() (messages.Path, error) {
	authority, err := e.authority()
	if err != nil {
		return messages.Root, err
	}
	path, _, err := certificate.Delegated(authority.Chain.Presented())
	return path, err
}

// dial begins a conversation with a socket of the daemon.
func (e *Endpoint) dial(ctx context.Context, at messages.Endpoint) (*client.Conn, error) {
	if conn := e.sessions.Open(at); conn != nil {
		return conn, nil
	}
	shown, anchors, err := e.certificates()
	if err != nil {
		return nil, err
	}
	session, single, err := client.DialSession(ctx, client.Endpoint{
		Address: e.Address, Authority: anchors,
		Choose: func(bool) (tls.Certificate, error) { return shown, nil },
	})
	switch {
	case err != nil:
		return nil, err
	case session == nil:
		return nil, errors.Join(errNoSessions, single.Close())
	}
	conn := e.sessions.Add(session, at)
	if conn == nil { // somebody has closed all sessions meanwhile
		return nil, &client.ConnectError{Peer: e.Address, Err: client.ErrClosed}
	}
	return conn, nil
}

// Close ends all sessions. Commands that follow begin others.
func (e *Endpoint) Close() { e.sessions.Close() }

// certificates returns what is shown in a new session, and who must vouch for the endpoint.
func (e *Endpoint) certificates() (shown tls.Certificate, anchors []*x509.Certificate, err error) {
	if anchors, err = readPEM(e.ServerCA, certificate.ParseCertificates); err != nil {
		return shown, nil, err
	}
	authority, err := e.authority()
	if err != nil {
		return shown, nil, err
	}
	key, err := certificate.Ed25519.Generate()
	if err != nil {
		return shown, nil, err
	}
	chain, err := authority.IssueSession(key.Public(), time.Now(), certificate.CommandLife)
	if err != nil {
		return shown, nil, fmt.Errorf("cannot make a certificate: %w", err)
	}
	shown = tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		shown.Certificate = append(shown.Certificate, c.Raw)
	}
	return shown, anchors, nil
}

// authority returns who signs our certificates. Who else may read the key is not checked: a Secret in a
// pod is a file of a group.
func (e *Endpoint) authority() (*certificate.Authority, error) {
	chain, err := readPEM(e.CA, certificate.ParseChain)
	if err != nil {
		return nil, err
	}
	key, err := readPEM(e.CAKey, certificate.ParseKey)
	if err != nil {
		return nil, err
	}
	authority, err := certificate.NewAuthority(chain, key)
	if err != nil {
		return nil, fmt.Errorf("cannot sign with %s and %s: %w", e.CA, e.CAKey, err)
	}
	return authority, nil
}

var errTooLarge = errors.New("it is too large")

// readPEM reads a file and parses it.
func readPEM[T any](path string, parse func([]byte) (T, error)) (v T, err error) {
	stat, err := os.Stat(path)
	if err == nil && stat.Size() > maxPEM {
		err = errTooLarge
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err == nil {
		v, err = parse(text)
	}
	if err != nil {
		return v, fmt.Errorf("cannot use %s: %w", path, err)
	}
	return v, nil
}
