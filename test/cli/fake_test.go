package cli

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"albatross/messages"
	"albatross/sockets/wire"
)

// serve is a daemon that has been told what to say. It reads a command, then
// does what the lines of its file say, and closes the connection:
//
//	success "TEXT"   answers, to what was asked
//	failure "TEXT"
//	line "TEXT"      sends a line of a console, printed at 2026-01-02 03:04:05
//	image "BYTES"    answers with an image
//	empty KIND       answers with an empty list of unikernels or policies
//	sequence N       answers to another question from here on
//	hex BYTES        sends bytes as they are
//	end              marks the end of the stream
//	hold             waits for the client to leave
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serve SOCKET FILE")
	}
	d := &daemon{steps: strings.Split(strings.TrimSpace(ts.ReadFile(args[1])), "\n")}
	var err error
	d.listener, err = net.Listen("unix", args[0])
	ts.Check(err)
	d.running.Go(d.accept)
	ts.Defer(func() {
		d.close()
		if d.wrong != nil {
			ts.Fatalf("serve: %v", d.wrong)
		}
	})
}

// printed is when all lines of a console were printed.
var printed = time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)

// A daemon answers one connection after the other.
type daemon struct {
	steps    []string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	conn  net.Conn // the connection that is being answered
	wrong error    // with the file
}

// close ends the daemon, and waits for that.
func (d *daemon) close() {
	d.listener.Close()
	d.mu.Lock()
	if d.conn != nil {
		d.conn.Close()
	}
	d.mu.Unlock()
	d.running.Wait()
}

func (d *daemon) accept() {
	for {
		conn, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		d.conn = conn
		d.mu.Unlock()
		err = d.talk(conn)
		conn.Close()
		d.mu.Lock()
		if d.wrong == nil {
			d.wrong = err
		}
		d.mu.Unlock()
	}
}

// talk reads a command and follows the steps. An error is one of the file: a
// client may leave at any time.
func (d *daemon) talk(conn net.Conn) error {
	frame, err := wire.ReadFrame(conn, wire.MaxFrame)
	if err != nil {
		return nil
	}
	asked, err := wire.Decode(frame)
	if err != nil {
		return fmt.Errorf("the client says what cannot be understood: %w", err)
	}
	header := asked.Header
	for _, step := range d.steps {
		verb, text, _ := strings.Cut(step, " ")
		if err := do(conn, &header, verb, text); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	return nil
}

func do(conn net.Conn, header *messages.Header, verb, argument string) (err error) {
	switch verb {
	case "sequence":
		header.Sequence, err = strconv.ParseInt(argument, 10, 64)
		return err
	case "hex":
		b, err := hex.DecodeString(argument)
		conn.Write(b)
		return err
	case "end":
		wire.WriteEnd(conn)
		return nil
	case "hold":
		io.Copy(io.Discard, conn)
		return nil
	}
	p, err := payload(verb, argument)
	if err == nil {
		wire.WriteFrame(conn, messages.Wire{Header: *header, Payload: p})
	}
	return err
}

func payload(verb, argument string) (messages.Payload, error) {
	switch verb + " " + argument {
	case "empty unikernels":
		return messages.SuccessInfos{Form: 4}, nil
	case "empty policies":
		return messages.SuccessPolicies{}, nil
	}
	text, err := strconv.Unquote(argument)
	if err != nil {
		return nil, err
	}
	switch verb {
	case "success":
		return messages.SuccessText{Text: text}, nil
	case "failure":
		return messages.Failure{Text: text}, nil
	case "image":
		return messages.SuccessImage{Image: []byte(text)}, nil
	case "line":
		return messages.DataConsole{Time: printed, Line: text}, nil
	}
	return nil, errors.New("unknown step")
}
