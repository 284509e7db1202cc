package cli

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"albatross/messages"
	"albatross/sockets/wire"
)

// serve starts a daemon that answers as its file says. It reads a command, then
// does what the lines of the file say, and closes the connection:
//
//	heard HEX        checks that exactly this message has come
//	success "TEXT"   answers, to what was asked
//	failure "TEXT"
//	line "TEXT"      sends a line of a console, printed at 2026-01-02 03:04:05
//	stats NAME       sends what a unikernel uses
//	image "BYTES"    answers with an image
//	empty KIND       answers with an empty list of unikernels, policies or blocks
//	block NAME MB    answers with a list of one block device, which is in use
//	dump BOOL        answers that a dump follows, compressed or not
//	chunk "BYTES"    sends a chunk of a dump
//	packed "BYTES"   sends the zlib stream of these as a chunk
//	last             sends the end of the contents
//	take N           reads N chunks of an upload
//	save FILE        reads the rest of an upload, and writes what was in it to a file
//	sequence N       answers another command from here on
//	hex BYTES        sends bytes as they are
//	end              marks the end of the stream
//	hold             waits for the client to leave
//	next             ends the connection; the lines below are for the next one
//
// After the last line it begins again with the first.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serve SOCKET FILE")
	}
	d := &daemon{dir: ts.MkAbs("."), talks: strings.Split(strings.TrimSpace(ts.ReadFile(args[1])), "\nnext\n")}
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

// printed is the time of all lines of a console.
var printed = time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)

// A daemon answers one connection after the other.
type daemon struct {
	dir      string   // the directory of its files
	talks    []string // the steps of each connection
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	conn  net.Conn // the connection that is being answered
	wrong error    // what is wrong with the file
}

// close ends the daemon, and waits for it.
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
	for i := 0; ; i++ {
		conn, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		d.conn = conn
		d.mu.Unlock()
		err = d.talk(conn, strings.Split(d.talks[i%len(d.talks)], "\n"))
		conn.Close()
		d.mu.Lock()
		if d.wrong == nil {
			d.wrong = err
		}
		d.mu.Unlock()
	}
}

// talk reads a command and follows the steps. It returns only errors of the file: a client may
// leave at any time.
func (d *daemon) talk(conn net.Conn, steps []string) error {
	frame, err := wire.ReadFrame(conn, wire.MaxFrame)
	if err != nil {
		return nil
	}
	asked, err := wire.Decode(frame)
	if err != nil {
		return fmt.Errorf("the client says what cannot be understood: %w", err)
	}
	for _, step := range steps {
		verb, text, _ := strings.Cut(step, " ")
		if verb == "heard" {
			if heard := hex.EncodeToString(frame); heard != text {
				return fmt.Errorf("the client says %s instead of %s", heard, text)
			}
			continue
		}
		if err := d.do(conn, &asked, verb, text); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	return nil
}

func (d *daemon) do(conn net.Conn, asked *messages.Wire, verb, argument string) (err error) {
	switch verb {
	case "sequence":
		asked.Header.Sequence, err = strconv.ParseInt(argument, 10, 64)
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
	case "stats":
		return sendStats(conn, argument)
	case "take":
		return take(conn, argument)
	case "save":
		return save(conn, asked.Payload, filepath.Join(d.dir, argument))
	}
	p, err := payload(verb, argument)
	if err == nil {
		wire.WriteFrame(conn, messages.Wire{Header: asked.Header, Payload: p})
	}
	return err
}

// sendStats sends statistics of each kind.
func sendStats(conn net.Conn, argument string) error {
	name, err := messages.ParseName(argument)
	wire.WriteFrame(conn, messages.Wire{Header: messages.Header{Version: messages.Version5, Name: name}, Payload: messages.DataStats{
		Rusage:   messages.Rusage{UTime: messages.Timeval{Seconds: 1, Microseconds: 20_000}, MaxRSS: 411, NVCSw: 4},
		KinfoMem: messages.Some(messages.KinfoMem{VSize: 19488768, RSS: 411, Start: messages.Timeval{Seconds: 1795357720, Microseconds: 775116}}),
		IfData:   []messages.IfData{{Device: "service\x1b[31m", Flags: 0x11043, MTU: 1500, InputPackets: 3}},
	}})
	return err
}

func take(conn net.Conn, argument string) error {
	n, err := strconv.Atoi(argument)
	for range n {
		if _, err := wire.ReadChunk(conn); err != nil {
			return nil // the client has left
		}
	}
	return err
}

// save writes the contents of an upload to a file, once they are complete. It decompresses them if
// the command says that they are compressed.
func save(conn net.Conn, asked messages.Payload, path string) error {
	var contents bytes.Buffer
	for {
		chunk, err := wire.ReadChunk(conn)
		if errors.Is(err, wire.ErrEnd) {
			break
		}
		if err != nil {
			return nil // the client has left
		}
		contents.Write(chunk)
	}
	var r io.Reader = &contents
	if set, ok := asked.(messages.BlockSet); ok && set.Compressed {
		var err error
		if r, err = zlib.NewReader(r); err != nil {
			return err
		}
	}
	all, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return os.WriteFile(path, all, 0o600)
}

func payload(verb, argument string) (messages.Payload, error) {
	switch verb + " " + argument {
	case "empty unikernels":
		return messages.SuccessInfos{Form: 4}, nil
	case "empty policies":
		return messages.SuccessPolicies{}, nil
	case "empty blocks":
		return messages.SuccessBlocks{}, nil
	case "last ":
		return messages.DataBlock{}, nil
	}
	switch verb {
	case "block":
		return blocks(argument)
	case "dump":
		compressed, err := strconv.ParseBool(argument)
		return messages.SuccessDump{Compressed: compressed}, err
	}
	text, err := strconv.Unquote(argument)
	if err != nil {
		return nil, err
	}
	switch verb {
	case "success":
		return messages.SuccessText{Text: messages.Public(text)}, nil
	case "failure":
		return messages.Failure{Text: messages.Public(text)}, nil
	case "image":
		return messages.SuccessImage{Image: []byte(text)}, nil
	case "line":
		return messages.DataConsole{Time: printed, Line: text}, nil
	case "chunk":
		return messages.DataBlock{Chunk: messages.Some([]byte(text))}, nil
	case "packed":
		return messages.DataBlock{Chunk: messages.Some(packed(text))}, nil
	}
	return nil, errors.New("unknown step")
}

func blocks(argument string) (messages.Payload, error) {
	text, size, _ := strings.Cut(argument, " ")
	name, err := messages.ParseName(text)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(size)
	return messages.SuccessBlocks{List: []messages.NamedBlock{{Name: name, Size: n, Active: true}}}, err
}

func packed(text string) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	io.WriteString(w, text)
	w.Close()
	return out.Bytes()
}
