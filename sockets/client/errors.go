package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"albatross/messages"
)

// ErrSilent is what an endpoint answers when the daemon closes the connection silently,
// as native ones do for unknown forms.
var ErrSilent = errors.New("the daemon has closed the connection without an answer: it does not know this form of the command, perhaps")

// NoDaemon is what an endpoint answers while it cannot reach the daemon.
const NoDaemon = "the daemon cannot be reached: try again later"

// What a ProtocolError may wrap.
var (
	// ErrNoAnswer: the connection was closed instead of an answer. Daemons refuse in this
	// way what they do not understand.
	ErrNoAnswer = errors.New("the connection was closed without an answer")
	// ErrClosed: the connection was closed in an endless stream.
	ErrClosed = errors.New("the connection was closed")

	errEarly    = errors.New("the answer came before all was sent")
	errNoAnswer = fmt.Errorf("there was no answer within %v", AnswerTimeout)
	errStalled  = errors.New("the daemon neither takes nor says anything any more")
)

// A ConnectError says that the daemon could not be reached.
type ConnectError struct {
	Peer string
	Err  error
}

func (c *ConnectError) Error() string { return fmt.Sprintf("cannot connect to %s: %v", c.Peer, c.Err) }

func (c *ConnectError) Unwrap() error { return c.Err }

// A ProtocolError says that the conversation ended too early, or made no sense.
type ProtocolError struct {
	Peer string
	Err  error
}

func (p *ProtocolError) Error() string { return fmt.Sprintf("cannot talk to %s: %v", p.Peer, p.Err) }

func (p *ProtocolError) Unwrap() error { return p.Err }

// A Distrust says which certificate was not accepted, and why.
type Distrust int

// The kinds of distrust.
const (
	UnknownIssuer Distrust = iota // we do not trust the issuer of the endpoint's certificate
	Unusable                      // we do, but it must not be used for an endpoint now
	OtherHost                     // it is for another host than the requested one
	Rejected                      // the endpoint does not accept our certificate
)

// A TrustError says that one side did not accept the certificate of the other.
type TrustError struct {
	Peer string
	Kind Distrust
	Err  error
}

func (t *TrustError) Error() string {
	if t.Kind == Rejected {
		return fmt.Sprintf("%s does not accept our certificate: %v", t.Peer, t.Err)
	}
	return fmt.Sprintf("cannot trust the certificate of %s: %v", t.Peer, t.Err)
}

func (t *TrustError) Unwrap() error { return t.Err }

// A Refusal is the daemon's negative answer, in its words, which may contain any bytes.
type Refusal struct {
	Name messages.Name
	Text string
}

func (r *Refusal) Error() string { return r.Text }

// isRefusal reports whether an error is one of an endpoint that refuses a session.
func isRefusal(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal)
}

// An Ended is why the daemon has ended an endless stream, in its words, which may contain
// any bytes.
type Ended struct {
	Name messages.Name
	Text string
}

func (e *Ended) Error() string { return e.Text }

// cause returns why reading or writing has failed. An endpoint may reject our certificate
// at any time after we have sent it.
func (c *Conn) cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == tlsAlert && aboutCertificate(op.Err) {
		return &TrustError{Peer: c.peer, Kind: Rejected, Err: op.Err}
	}
	return rootCause(err)
}

// certificateAlerts lists the alerts of RFC 8446 that reject a certificate.
var certificateAlerts = []tls.AlertError{
	42,  // bad certificate
	43,  // unsupported certificate
	44,  // certificate revoked
	45,  // certificate expired
	46,  // certificate unknown
	48,  // unknown CA
	49,  // access denied
	116, // certificate required
}

// aboutCertificate reports whether an alert is one of them. Package tls offers no other
// way to learn which alert has come.
func aboutCertificate(alert error) bool {
	return slices.ContainsFunc(certificateAlerts, func(a tls.AlertError) bool { return a.Error() == alert.Error() })
}

// rootCause removes what package net puts before the cause: the address, which our errors
// name themselves, and the system call.
func rootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}
