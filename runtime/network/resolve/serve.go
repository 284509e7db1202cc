package resolve

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxFailed is how many reads may fail one after the other: the kernel reports it once when
	// a bridge goes down.
	maxFailed = 100
	// acceptPause is the pause after a connection could not be accepted, for there are too
	// many open files.
	acceptPause = 100 * time.Millisecond
	// writeTimeout bounds the writing of an answer by TCP.
	writeTimeout = 10 * time.Second
)

// ServeUDP answers what arrives at a socket until it is closed. An error says that it cannot be
// used any more.
func (s *Server) ServeUDP(conn net.PacketConn) error {
	buffer := make([]byte, dns.MaxMsgSize)
	for failed := 0; ; {
		n, from, err := conn.ReadFrom(buffer)
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
			return nil
		case err != nil:
			if failed++; failed == maxFailed {
				return fmt.Errorf("cannot serve DNS any more: %w", err)
			}
			continue
		}
		failed = 0
		m := new(dns.Msg)
		if m.Unpack(buffer[:n]) != nil || m.Response {
			continue
		}
		size := room(m)
		s.respond(m, "udp", source(from), func(reply *dns.Msg) {
			reply.Truncate(size)
			if frame, err := reply.Pack(); err == nil {
				_, _ = conn.WriteTo(frame, from) // who asks repeats what is lost
			}
		})
	}
}

// ServeTCP answers on the connections of a listener until that is closed.
func (s *Server) ServeTCP(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed), s.ctx.Err() != nil:
			return
		default:
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		from := source(conn.RemoteAddr())
		if !s.conns.take(from) {
			_ = conn.Close()
			continue
		}
		s.running.Go(func() {
			defer s.conns.give(from)
			s.converse(conn)
		})
	}
}

// converse answers on one connection.
func (s *Server) converse(conn net.Conn) {
	ended := make(chan struct{})
	var closing, answering sync.WaitGroup
	closing.Go(func() { // Close ends the connection as well
		select {
		case <-s.ctx.Done():
		case <-ended:
		}
		_ = conn.Close()
	})
	var turn sync.Mutex
	c := &dns.Conn{Conn: conn}
	for {
		if conn.SetReadDeadline(time.Now().Add(idle)) != nil {
			break
		}
		m, err := c.ReadMsg()
		if err != nil || m.Response {
			break
		}
		answering.Add(1)
		s.respond(m, "tcp", source(conn.RemoteAddr()), func(reply *dns.Msg) {
			defer answering.Done()
			turn.Lock()
			defer turn.Unlock()
			if conn.SetWriteDeadline(time.Now().Add(writeTimeout)) == nil {
				_ = c.WriteMsg(reply) // the connection has ended, and reading finds that
			}
		})
	}
	answering.Wait()
	close(ended)
	closing.Wait()
}
