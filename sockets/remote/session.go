package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/control"
	"albatross/sockets/wire"
)

const (
	// sessionCommand bounds a command in a session, as smallHandshake does in a certificate.
	// Images and contents follow it.
	sessionCommand = smallHandshake

	// socketName is longer than the name of any socket.
	socketName = 16
)

var errLargeChain = errors.New("the certificates are too large for a session")

// converse serves the commands of a session, one after another, until the client leaves. Each has
// an exchange of its own; e is what they have in common.
func (e *exchange) converse(ctx context.Context) {
	if e.large {
		e.refuse(errLargeChain)
		return
	}
	e.peer.chunked = true
	goesOn := e.peer.end() == nil // the client is welcome
	for goesOn {
		goesOn = e.next(ctx)
	}
}

// welcome encodes the reason of a refused session, which is the first that a client reads: see
// client.SessionProtocol.
func welcome(dst []byte, m messages.Wire) ([]byte, error) {
	failure, _ := m.Payload.(messages.Failure)
	reason := failure.Text[:min(len(failure.Text), maxReason)]
	return append(appendHead(dst, len(reason)), reason...), nil
}

// next serves the next command of a session. It reports whether another one may follow.
func (e *exchange) next(ctx context.Context) bool {
	socket, err := e.peer.await()
	if err != nil {
		return false
	}
	x := &exchange{
		server: e.server, peer: e.peer, chain: e.chain,
		request: Request{Policies: e.request.Policies, Version: messages.CurrentVersion},
		record:  e.record, conversation: &conversation{chunks: wire.NewChunkReader(e.peer)},
	}
	x.record.Number, x.record.Session = e.server.number.Add(1), e.record.Number
	x.peer.header, x.peer.encode = messages.Header{Version: messages.CurrentVersion, Name: e.request.Name}, wire.AppendFrame
	x.stream = wire.NewChunkReader(x.conversation)
	err = x.hear(messages.Endpoint(socket), e.request.Name.Path)
	switch {
	case err == nil:
		err = x.current()
	case context.Cause(ctx) != nil:
		err = context.Cause(ctx)
	}
	switch {
	case err == io.EOF: // it has changed its mind
	case err != nil:
		x.refuse(err)
	default:
		x.run(ctx)
	}
	return ctx.Err() == nil && !x.partial && x.close() == nil
}

// current returns why the chain is not valid any more. The connection ends for that, too, but
// no command is carried out until then.
func (e *exchange) current() error {
	if err := e.server.inTime(e.chain); err != nil {
		return err
	}
	return e.server.config.Revocations.check(e.chain)
}

// hear reads a command for a socket of the daemon, by a client who is confined to a path.
func (e *exchange) hear(socket messages.Endpoint, path messages.Path) error {
	m, err := e.read(socket)
	if err != nil {
		return err
	}
	command, ok := m.Payload.(messages.Command)
	if bad, wrong := m.Payload.(messages.BadRequest); wrong {
		return errors.New(string(bad.Why))
	}
	if !ok {
		return errNoQuestion
	}
	e.request.Name, e.request.Command = path.InFull(m.Header.Name), within(path, command)
	e.properties = propertiesOf(command)
	e.record.Command, e.record.Name = e.properties.Word, e.request.Name.String()
	e.peer.header.Name = e.request.Name
	if e.properties.At != socket {
		return fmt.Errorf("%s is no command for the socket %s", e.properties.Word, socket)
	}
	return permitted(e.request, e.properties)
}

var errNoQuestion = errors.New("this is no command")

// read reads what the client would say to a socket of the daemon.
func (e *exchange) read(socket messages.Endpoint) (messages.Wire, error) {
	switch socket {
	case messages.AtVMMD, messages.AtConsole, messages.AtStats:
		return e.readNative()
	case messages.AtControl:
		e.peer.encode = control.Append
		m, err := control.Read(e.conversation, control.MaxItem)
		if control.Native(m.Payload) == nil || err != nil {
			return m, err
		}
		native, err := e.readNative()
		if err == nil {
			m = control.Complete(m, native)
		}
		return m, err
	}
	return messages.Wire{}, fmt.Errorf("there is no socket %.16q", socket)
}

func (e *exchange) readNative() (messages.Wire, error) {
	frame, err := wire.ReadFrame(e.conversation, sessionCommand)
	if err != nil {
		return messages.Wire{}, err
	}
	m, err := wire.Decode(frame)
	if err == nil && m.Header.Version != messages.CurrentVersion {
		err = fmt.Errorf("the command is in version %d, and in a session only %d is possible", m.Header.Version, messages.CurrentVersion)
	}
	return m, err
}

// within returns a command whose names, which are relative to a path, are in full.
func within(path messages.Path, command messages.Command) messages.Command {
	if rename, ok := command.(messages.RenameRequest); ok {
		rename.To = path.InFull(rename.To)
		return rename
	}
	return command
}

// close ends a conversation: it says so, and reads what the client still says in it.
func (e *exchange) close() error {
	e.peer.endless, e.peer.readLeft, e.peer.writeLeft = false, 0, 0
	if err := e.peer.end(); err != nil {
		return err
	}
	defer e.peer.hurry()()
	_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{e.conversation}, make([]byte, recordSize))
	return err
}

// A conversation is what a client says about one command of a session.
type conversation struct {
	chunks *wire.ChunkReader
	ended  bool
}

func (c *conversation) Read(b []byte) (int, error) {
	if c.ended {
		return 0, io.EOF
	}
	n, err := c.chunks.Read(b)
	c.ended = err == io.EOF
	return n, err
}

// relayControl passes on an answer on the control socket, item by item. There it ends with the
// connection.
func (e *exchange) relayControl() error {
	err := e.relayItem()
	if err != nil || e.record.Result == Failed {
		return err
	}
	for {
		if err := e.daemon.SetReadDeadline(time.Now().Add(e.peer.patience.Step)); err != nil {
			return errCutOff
		}
		switch err := e.relayItem(); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// relayItem passes on one item. It returns io.EOF after the last one.
func (e *exchange) relayItem() error {
	item, failure, err := control.ReadItem(e.fromDaemon)
	switch {
	case err == io.EOF && e.settled:
		return io.EOF
	case err != nil:
		return e.unanswered(err)
	case !e.settled && failure != nil:
		e.settled, e.record.Result, e.record.Reason = true, Failed, string(failure.Text)
	case !e.settled:
		e.settled, e.record.Result = true, Done
	}
	return e.pour(item)
}

// sessionOf reports whether a client has asked for a session.
func sessionOf(g verifiedClient) bool {
	return g.conn.ConnectionState().NegotiatedProtocol == client.SessionProtocol
}
