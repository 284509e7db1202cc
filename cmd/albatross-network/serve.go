package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"albatross/runtime/network/wire"
	"albatross/runtime/seqpacket"
)

const (
	// maxConns bounds the connections: a daemon has one, and the next one may come before that
	// has ended.
	maxConns = 4
	// answerTimeout bounds the sending of an answer.
	answerTimeout = 10 * time.Second
	// acceptPause is the pause after a connection could not be accepted.
	acceptPause = 100 * time.Millisecond
	// maxNews bounds the texts that wait for a daemon; the oldest is dropped for a new one.
	maxNews = 32
)

// errQuit says that a daemon has asked this process to end.
var errQuit = errors.New("quit")

// serve serves daemons until one of them asks this process to end.
func (s *server) serve() error {
	quit := make(chan struct{}, maxConns)
	places := make(chan struct{}, maxConns)
	go func() {
		for {
			conn, err := s.listener.AcceptUnix()
			if err != nil {
				time.Sleep(acceptPause) // there are too many open files
				continue
			}
			places <- struct{}{} // a daemon that has ended gives its own back
			go func() {
				defer func() { <-places }()
				if s.converse(conn) == errQuit {
					quit <- struct{}{}
				}
			}()
		}
	}()
	<-quit
	return nil
}

// A conn is the connection of a daemon.
type conn struct {
	*net.UnixConn
	raw  syscall.RawConn
	turn sync.Mutex // held by the one that sends
}

// converse serves one daemon until it ends the connection, or sends what no daemon sends.
func (s *server) converse(unixConn *net.UnixConn) error {
	defer func() { _ = unixConn.Close() }()
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return err
	}
	c := &conn{UnixConn: unixConn, raw: raw}
	if err := c.check(s.owner); err != nil {
		s.news.note(fmt.Sprintf("Refused a connection: %v", err))
		return err
	}
	defer s.news.leave(c)
	buffer := make([]byte, wire.MaxFrame)
	for {
		if err := s.serveOne(c, buffer); err != nil {
			return err
		}
	}
}

// check refuses a peer that is neither root nor the user who has started this process.
func (c *conn) check(owner uint32) error {
	var peer *unix.Ucred
	var err error
	failed := c.raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	if peer.Uid != 0 && peer.Uid != owner {
		return fmt.Errorf("user %d is neither root nor our own", peer.Uid)
	}
	return nil
}

func (s *server) serveOne(c *conn, buffer []byte) error {
	frame, files, err := c.receive(buffer)
	defer func() { seqpacket.CloseAll(files) }()
	if err != nil && err != seqpacket.ErrCut {
		return err
	}
	var r wire.Request
	if err := wire.Decode(frame, &r); err != nil {
		return err
	}
	if r.ID == 0 {
		return errors.New("a request has no ID")
	}
	var answer wire.Answer
	var given int
	if err == nil {
		err = r.Check()
	}
	if err == nil {
		answer, given, err = s.do(r, &files)
	}
	if err != nil {
		answer.Err, given = errText(err), -1
	}
	answer.ID = r.ID
	err = c.send(answer, given)
	switch {
	case err == nil && r.Do == wire.Hello && answer.Err == "":
		s.news.join(c)
	case r.Do == wire.Quit && answer.Err == "":
		return errQuit
	}
	return err
}

func (c *conn) receive(buffer []byte) (frame []byte, files []int, err error) {
	failed := c.raw.Read(func(fd uintptr) bool {
		frame, files, err = seqpacket.Receive(int(fd), buffer)
		return err != unix.EAGAIN
	})
	if failed == nil && err == nil && len(frame) == 0 {
		failed = net.ErrClosed
	}
	if failed != nil {
		err = failed
	}
	return frame, files, err
}

// send sends an answer, with a descriptor unless that is -1, which it closes.
func (c *conn) send(answer wire.Answer, given int) error {
	var files []int
	if given >= 0 {
		files, answer.Descriptors = []int{given}, 1
		defer func() { _ = unix.Close(given) }()
	}
	frame, err := wire.Encode(answer)
	if err != nil {
		return err
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	if err := c.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	failed := c.raw.Write(func(fd uintptr) bool {
		err = seqpacket.Send(int(fd), frame, files)
		return err != unix.EAGAIN
	})
	return errors.Join(failed, os.NewSyscallError("sendmsg", err))
}

// errText returns an error as a text of the protocol.
func errText(err error) string {
	text := strings.ToValidUTF8(err.Error(), "?")
	return text[:min(len(text), wire.MaxText)]
}

// news are texts for the log of the daemon. They wait until a daemon is connected.
type news struct {
	mu    sync.Mutex
	texts []string
	conns map[*conn]bool
}

// note adds a text, and sends it if there is a daemon.
func (n *news) note(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.texts) == maxNews {
		n.texts = n.texts[1:]
	}
	n.texts = append(n.texts, text)
	n.send()
}

// join makes a connection one that is told the news, leave ends that.
func (n *news) join(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[c] = true
	n.send()
}

func (n *news) leave(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// send sends what waits to one daemon.
func (n *news) send() {
	for c := range n.conns {
		for len(n.texts) > 0 && c.send(wire.Answer{Text: n.texts[0][:min(len(n.texts[0]), wire.MaxText)]}, -1) == nil {
			n.texts = n.texts[1:]
		}
	}
}
