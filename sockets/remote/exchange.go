package remote

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/control"
	"albatross/sockets/wire"
)

// An exchange is a connection of a verified client: its request, and all that follows.
type exchange struct {
	server     *Server
	request    Request
	properties messages.Properties
	peer       *peer
	stream     *wire.ChunkReader // what the client sends
	record     Record
	chain      []*x509.Certificate
	large      bool // it occupies one of the few places for large certificates

	session      bool          // its commands follow one another, in exchanges of their own
	conversation *conversation // what the client says, of a command in a session

	daemon     net.Conn      // from the policies on
	fromDaemon *bufio.Reader // from the daemon
	unwatch    func() bool   // stops watching for the client's end
	native     bool          // the command is for the control socket, and the answer a native one
	settled    bool          // an answer was sent, the daemon's or ours
	partial    bool          // the client has a part of a message
	drained    bool          // the client's stream is read to its end, or has failed
	buffer     []byte        // for a record of an answer
	frame      []byte        // for a message of the daemon
}

// A refusal is why the endpoint itself refuses a command.
type refusal struct{ error }

// A verifiedClient is a client whose chain has been verified.
type verifiedClient struct {
	conn  *tls.Conn
	chain []*x509.Certificate
	large bool
	end   context.CancelCauseFunc
	enter func() // ends its time in the gate
}

// largeLimit bounds the time of a client with a large certificate, since there are few
// places for these. It is enough for a create.
const largeLimit = 5 * time.Minute

var errLargeLimit = errors.New("its certificate is large, and it has stayed for too long")

// A dismissal is why a client loses its connection that has time to read that.
type dismissal struct{ error }

// serve serves a verified client.
func (s *Server) serve(conn context.Context, g verifiedClient) {
	x, unreadable := s.newExchange(g, sessionOf(g))
	ctx, cancel := context.WithCancelCause(conn)
	defer cancel(nil)
	dismiss := func(cause error) { cancel(dismissal{cause}) }
	stop := context.AfterFunc(ctx, x.peer.dismiss)
	defer stop()
	if g.large {
		late := time.AfterFunc(largeLimit, func() { dismiss(errLargeLimit) })
		defer late.Stop()
	}
	entry, err := s.admitTenant(g, x.session, dismiss)
	switch {
	case err != nil:
		// It still occupies a place in the gate, and must not do so for long.
		x.peer.patience.Drain = x.peer.patience.Leave
		x.refuse(err)
	case unreadable != nil:
		x.refuse(unreadable)
	case x.session:
		x.converse(ctx)
	default:
		x.run(ctx)
	}
	x.finish()
	if entry != nil {
		s.tenants.leave(entry)
	}
	// What ends the connection may be seen by the exchange before ctx hears of it.
	if cause := cmp.Or(context.Cause(conn), context.Cause(ctx)); cause != nil && cause != context.Canceled {
		s.config.Log.Warn("A connection was ended", "client", x.record.Address, "cause", cause)
	}
}

// admitTenant counts the connection of a verified client as one of its tenant. Such a connection
// may be ended at any time, even before it gets the reason: so a client that is revoked
// already does not get here.
func (s *Server) admitTenant(g verifiedClient, session bool, dismiss context.CancelCauseFunc) (*tenantConn, error) {
	if err := s.config.Revocations.check(g.chain); err != nil {
		return nil, err
	}
	entry, err := s.tenants.enter(g.chain, session, g.end, dismiss)
	if err == nil {
		g.enter()
	}
	return entry, err
}

// newExchange returns the exchange of a verified client, or why its request cannot be read.
func (s *Server) newExchange(g verifiedClient, session bool) (*exchange, error) {
	read, encode := ReadChain, wire.AppendFrame
	if session {
		read, encode = ReadSession, welcome
	}
	request, err := read(g.chain)
	p := &peer{
		tls: g.conn, patience: s.config.Patience, encode: encode,
		header: messages.Header{Version: request.Version, Name: request.Name},
	}
	x := &exchange{
		server: s, request: request, properties: propertiesOf(request.Command),
		peer: p, stream: wire.NewChunkReader(p), chain: g.chain, large: g.large, session: session,
	}
	x.record = newRecord(s.number.Add(1), g.conn.RemoteAddr(), g.chain)
	x.record.Command, x.record.Name = x.properties.Word, request.Name.String()
	if session {
		x.record.Command = sessionWord
	}
	return x, err
}

// sessionWord stands for the command of a session that is refused as a whole.
const sessionWord = "session"

// run is the exchange with an admitted client.
func (e *exchange) run(ctx context.Context) {
	if err := e.note(Accepted, nil); err != nil {
		e.server.config.Log.Error("A command was refused, because it cannot be noted down", "error", err)
		e.answer(errNotAudited)
		return
	}
	err := e.carryOut(ctx)
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &dismissal{}) && (err != nil || e.follows()):
		e.part(cause)
		e.conclude(Broken, cause)
	case err == nil:
		e.conclude(e.record.Result, nil)
	case errors.As(err, &refusal{}):
		e.refuse(err)
	default:
		e.answer(err)
		e.conclude(Broken, err)
	}
}

// follows reports whether the client has its answer, and gets more messages after it.
func (e *exchange) follows() bool {
	return e.properties.Answers == messages.Forever && e.record.Result == Done
}

// part writes to a client that is dismissed why, in place of the answer or after what it
// has got.
func (e *exchange) part(cause error) {
	if !e.partial {
		e.settled = true
		_ = e.peer.fail(messages.PublicError(cause)) // that the client does not get it is of no interest
	}
}

// carryOut passes the command to the daemon, and the answers to the client.
func (e *exchange) carryOut(ctx context.Context) error {
	if e.large && e.properties.Answers == messages.Forever {
		return refusal{errors.New("the certificate is too large for somebody who stays")}
	}
	if err := e.applyPolicies(ctx); err != nil {
		return err
	}
	e.introduce(ctx)
	if err := e.reach(ctx, e.properties.At); err != nil {
		return err
	}
	defer e.hangUp()
	switch e.properties.Sends {
	case messages.RemoteImage:
		return e.create()
	case messages.Contents, messages.RemoteContents:
		return e.set()
	}
	if err := e.ask(e.request.Command); err != nil {
		return err
	}
	return e.relay()
}

var errNoDaemon = errors.New(client.NoDaemon)

// reach connects to a socket of the daemon.
func (e *exchange) reach(ctx context.Context, socket messages.Endpoint) error {
	if e.daemon != nil {
		return nil
	}
	if err := e.connect(ctx, socket); err != nil {
		e.server.config.Log.Error("Cannot reach the daemon", "error", err)
		return refusal{errNoDaemon}
	}
	return nil
}

// connect connects to a socket of the daemon, in place of the one before.
func (e *exchange) connect(ctx context.Context, socket messages.Endpoint) error {
	dialer := net.Dialer{Timeout: client.ConnectTimeout}
	conn, err := dialer.DialContext(ctx, "unix", e.server.socket(socket))
	if err != nil {
		return err
	}
	if e.daemon != nil {
		e.hangUp()
	}
	e.daemon, e.fromDaemon = conn, bufio.NewReaderSize(conn, recordSize)
	e.unwatch = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return nil
}

// introduce has a native create passed on by the control socket, where the daemon learns on whose
// behalf. A native daemon has no such socket, and gets the create as it is.
func (e *exchange) introduce(ctx context.Context) {
	create, ok := e.request.Command.(messages.UnikernelCreate)
	if !ok || e.connect(ctx, messages.AtControl) != nil {
		return
	}
	e.request.Command, e.properties.At, e.native = messages.UnikernelDeploy{Create: create, Native: true}, messages.AtControl, true
}

// hangUp ends the connection to the daemon.
func (e *exchange) hangUp() {
	e.unwatch()
	_ = e.daemon.Close()
	e.daemon = nil
}

// header returns the header of messages to the daemon. They use the current version,
// since in older ones a path and a name look the same.
func (e *exchange) header(name messages.Name) messages.Header {
	return messages.Header{Version: messages.CurrentVersion, Name: name}
}

// preface returns what precedes the native message of a command, and the command in that message;
// nil: there is none.
func (e *exchange) preface(command messages.Command) (pieces [][]byte, native messages.Command, err error) {
	if e.properties.At != messages.AtControl {
		return nil, command, nil
	}
	request, err := control.AppendRequestFor(nil, e.request.Name, command, e.record.who())
	return [][]byte{request}, control.Native(command), err
}

// ask sends the command, and sets the deadline of its answer.
func (e *exchange) ask(command messages.Command) error {
	pieces, native, err := e.preface(command)
	if native != nil && err == nil {
		pieces, err = wire.AppendPieces(pieces, messages.Wire{Header: e.header(e.request.Name), Payload: native})
	}
	if err != nil {
		return refusal{err}
	}
	if err := e.daemon.SetDeadline(time.Now().Add(client.AnswerTimeout)); err != nil {
		return fmt.Errorf("cannot ask the daemon: %w", err)
	}
	// A daemon that refuses may close before it has read all of it: so the answer
	// decides.
	buffers := net.Buffers(pieces)
	_, _ = buffers.WriteTo(e.daemon)
	return nil
}

// answer sends an answer of the endpoint, if the daemon has not sent one. It ignores a
// client that does not read.
func (e *exchange) answer(reason error) {
	if !e.settled {
		e.settled = true
		_ = e.peer.fail(messages.PublicError(reason)) // the audit log has the full text
	}
}

func (e *exchange) note(result string, reason error) error {
	r := e.record
	r.Time, r.Result, r.In, r.Out = e.server.config.Now(), result, e.peer.in, e.peer.out
	if reason != nil {
		r.Reason = reason.Error()
	}
	return e.server.config.Audit.write(r)
}

// refuse ends an exchange that the endpoint refuses.
func (e *exchange) refuse(reason error) {
	e.answer(reason)
	e.conclude(Refused, reason)
}

// conclude logs the result of the command.
func (e *exchange) conclude(result string, reason error) {
	e.server.config.Log.Debug("A command has ended", "client", e.record.Address,
		"command", e.record.Command, "name", e.record.Name, "result", result, "cause", reason)
	if err := e.note(result, reason); err != nil {
		e.server.config.Log.Error("What came of a command cannot be noted down", "error", err)
	}
}

// finish ends the connection when the client has read the answer.
func (e *exchange) finish() {
	if e.properties.Sends != messages.Nothing && !e.drained {
		e.peer.drain(e.stream)
	}
	e.peer.leave()
}
