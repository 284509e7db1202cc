package remote

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

// An exchange is a connection of a verified client: its request, and all that follows.
type exchange struct {
	server  *Server
	request Request
	conduct messages.Conduct
	peer    *peer
	stream  *wire.ChunkReader // what the client sends
	record  Record
	large   bool // it occupies one of the few places for large certificates

	daemon  net.Conn      // from the policies on
	hears   *bufio.Reader // from the daemon
	unwatch func() bool   // stops watching for the client's end
	settled bool          // an answer was sent, the daemon's or ours
	drained bool          // the client's stream is read to its end, or has failed
	buffer  []byte        // for a record of an answer
	frame   []byte        // for a message of the daemon
}

// A refusal is why the endpoint itself refuses a command.
type refusal struct{ error }

// A guest is a client whose chain has been verified.
type guest struct {
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

// serve serves a verified client.
func (s *Server) serve(ctx context.Context, g guest) {
	if g.large {
		late := time.AfterFunc(largeLimit, func() { g.end(errLargeLimit) })
		defer late.Stop()
	}
	x, unreadable := s.newExchange(g)
	entry, err := s.admitTenant(g)
	switch {
	case err != nil:
		// It still occupies a place in the gate, and must not do so for long.
		x.peer.patience.Drain = x.peer.patience.Leave
		x.refuse(err)
	case unreadable != nil:
		x.refuse(unreadable)
	default:
		x.run(ctx)
	}
	x.finish()
	if entry != nil {
		s.tenants.leave(entry)
	}
	if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() {
		s.config.Log.Warn("A connection was ended", "client", x.record.Address, "cause", cause)
	}
}

// admitTenant counts the connection of a guest as one of its tenant. Such a connection
// may be ended at any time, even before it gets the reason: so a client that is revoked
// already does not get here.
func (s *Server) admitTenant(g guest) (*tenancy, error) {
	if err := s.config.Revocations.check(g.chain); err != nil {
		return nil, err
	}
	entry, err := s.tenants.enter(g.chain, g.end)
	if err == nil {
		g.enter()
	}
	return entry, err
}

// newExchange returns the exchange of a guest, or why its request cannot be read.
func (s *Server) newExchange(g guest) (*exchange, error) {
	request, err := ReadChain(g.chain)
	p := &peer{
		tls: g.conn, patience: s.config.Patience,
		header: messages.Header{Version: request.Version, Name: request.Name},
	}
	x := &exchange{
		server: s, request: request, conduct: conductOf(request.Command),
		peer: p, stream: wire.NewChunkReader(p), large: g.large,
	}
	x.record = newRecord(s.number.Add(1), g.conn.RemoteAddr(), g.chain)
	x.record.Command, x.record.Name = x.conduct.Word, request.Name.String()
	return x, err
}

// run is the exchange with an admitted client.
func (x *exchange) run(ctx context.Context) {
	if err := x.note(Accepted, nil); err != nil {
		x.server.config.Log.Error("A command was refused, because it cannot be noted down", "error", err)
		x.answer(errNotAudited)
		return
	}
	err := x.carryOut(ctx)
	if err == nil {
		x.conclude(x.record.Result, nil)
		return
	}
	if errors.As(err, &refusal{}) {
		x.refuse(err)
		return
	}
	x.answer(err)
	x.conclude(Broken, err)
}

// carryOut passes the command to the daemon, and the answers to the client.
func (x *exchange) carryOut(ctx context.Context) error {
	if x.large && x.conduct.Answers == messages.Forever {
		return refusal{errors.New("the certificate is too large for somebody who stays")}
	}
	if err := x.applyPolicies(ctx); err != nil {
		return err
	}
	if err := x.reach(ctx, x.conduct.At); err != nil {
		return err
	}
	defer x.hangUp()
	switch x.conduct.Sends {
	case messages.ImageAfar:
		return x.create()
	case messages.Contents, messages.ContentsAfar:
		return x.set()
	}
	if err := x.ask(x.request.Command); err != nil {
		return err
	}
	return x.relay()
}

var errNoDaemon = errors.New("the daemon cannot be reached: try again later")

// reach connects to a socket of the daemon.
func (x *exchange) reach(ctx context.Context, socket messages.Endpoint) error {
	if x.daemon != nil {
		return nil
	}
	dialer := net.Dialer{Timeout: client.ConnectTimeout}
	conn, err := dialer.DialContext(ctx, "unix", x.server.socket(socket))
	if err != nil {
		x.server.config.Log.Error("Cannot reach the daemon", "error", err)
		return refusal{errNoDaemon}
	}
	x.daemon, x.hears = conn, bufio.NewReaderSize(conn, recordSize)
	x.unwatch = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return nil
}

// hangUp ends the connection to the daemon.
func (x *exchange) hangUp() {
	x.unwatch()
	_ = x.daemon.Close()
	x.daemon = nil
}

// header returns the header of messages to the daemon. They use the current version,
// since older ones cannot tell a path from a name.
func (x *exchange) header(name messages.Name) messages.Header {
	return messages.Header{Version: messages.CurrentVersion, Name: name}
}

// ask sends the command, and sets the deadline of its answer.
func (x *exchange) ask(command messages.Command) error {
	m := messages.Wire{Header: x.header(x.request.Name), Payload: command}
	pieces, err := wire.AppendPieces(nil, m)
	if err != nil {
		return refusal{err}
	}
	if err := x.daemon.SetDeadline(time.Now().Add(client.AnswerTimeout)); err != nil {
		return fmt.Errorf("cannot ask the daemon: %w", err)
	}
	// A daemon that refuses may close before it has read all of it: so the answer
	// decides.
	buffers := net.Buffers(pieces)
	_, _ = buffers.WriteTo(x.daemon)
	return nil
}

// answer sends an answer of the endpoint, if the daemon has not sent one. It ignores a
// client that does not read.
func (x *exchange) answer(reason error) {
	if !x.settled {
		x.settled = true
		_ = x.peer.fail(messages.PublicError(reason)) // the audit log has the full text
	}
}

func (x *exchange) note(result string, reason error) error {
	r := x.record
	r.Time, r.Result, r.In, r.Out = x.server.config.Now(), result, x.peer.in, x.peer.out
	if reason != nil {
		r.Reason = reason.Error()
	}
	return x.server.config.Audit.write(r)
}

// refuse ends an exchange that the endpoint refuses.
func (x *exchange) refuse(reason error) {
	x.answer(reason)
	x.conclude(Refused, reason)
}

// conclude logs the result of the command.
func (x *exchange) conclude(result string, reason error) {
	x.server.config.Log.Debug("A command has ended", "client", x.record.Address,
		"command", x.record.Command, "name", x.record.Name, "result", result, "cause", reason)
	if err := x.note(result, reason); err != nil {
		x.server.config.Log.Error("What came of a command cannot be noted down", "error", err)
	}
}

// finish ends the connection when the client has read the answer.
func (x *exchange) finish() {
	if x.conduct.Sends != messages.Nothing && !x.drained {
		x.peer.drain(x.stream)
	}
	x.peer.leave()
}
