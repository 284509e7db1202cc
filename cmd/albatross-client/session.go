package main

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/client"
)

// Sessions are the connections to an endpoint on which several commands can be given.
type sessions struct {
	client.Pool
	// none is true once the endpoint has not offered any.
	none atomic.Bool
}

// errSocketGiven is about a command that needs several sockets.
const errSocketGiven = inputError("this is not possible with --socket, which is one of several that are needed")

// errOnlySession is about a command that no certificate can contain.
const errOnlySession = inputError("this is possible on the machine of the daemon, or through an endpoint that offers sessions, which this one does not")

// connectSession connects to a socket of the daemon behind the endpoint, which must offer sessions.
func (d *daemon) connectSession(ctx context.Context, at messages.Endpoint) (*client.Conn, error) {
	if d.destination.made != nil {
		return nil, errOnlySession
	}
	return d.connectAfar(ctx, at, messages.Name{}, nil)
}

// connectAfar connects to a socket of the daemon behind the endpoint: in a session, or else with a
// certificate that contains a command. nil: no certificate can.
func (d *daemon) connectAfar(ctx context.Context, at messages.Endpoint, name messages.Name, command messages.Command) (*client.Conn, error) {
	anchors, err := readPEM(d.destination.serverCA, certificate.ParseCertificates)
	if err != nil {
		return nil, err
	}
	authority, err := readAuthority(d.destination.ca, d.destination.caKey)
	if err != nil {
		return nil, err
	}
	if err := judge(authority.Chain, name, command); err != nil {
		return nil, err
	}
	if conn := d.sessions.Open(at); conn != nil {
		return conn, nil
	}
	natively := func() (*madeCertificate, error) {
		if command == nil {
			return nil, errOnlySession
		}
		return d.certify(authority, name, command)
	}
	if d.sessions.none.Load() {
		made, err := natively()
		if err != nil {
			return nil, err
		}
		return d.connectMade(ctx, made)
	}
	made, err := d.certifySession(authority)
	if err != nil {
		return nil, err
	}
	if err := leadsTo(made.chain, anchors); err != nil {
		return nil, &chainError{err}
	}
	e := client.Endpoint{Address: d.destination.address, Authority: anchors}
	e.Choose = func(session bool) (shown tls.Certificate, err error) {
		if !session {
			if made, err = natively(); err != nil {
				return shown, err
			}
		}
		d.destination.large = made.size() > largeSize
		return made.forTLS(), nil
	}
	d.out.message(info, "connecting to "+d.destination.address)
	session, conn, err := client.DialSession(ctx, e)
	if session != nil {
		return d.sessions.Add(session, at), nil
	}
	if conn != nil || errors.Is(err, errOnlySession) {
		d.sessions.none.Store(true)
	}
	return conn, err
}

// certifySession makes a certificate for a session.
func (d *daemon) certifySession(authority *certificate.Authority) (*madeCertificate, error) {
	key, err := d.destination.keyType.Generate()
	if err != nil {
		return nil, err
	}
	chain, err := authority.IssueSession(key.Public(), time.Now(), certificate.CommandLife)
	if err != nil {
		return nil, inputError("cannot make a certificate: " + escape(err.Error()))
	}
	return &madeCertificate{chain, key}, nil
}
