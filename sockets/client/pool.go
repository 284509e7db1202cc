package client

import (
	"slices"
	"sync"

	"albatross/messages"
)

// A Pool holds the sessions with an endpoint. A conversation that follows something occupies its
// session, and others need one beside it. Its methods may be called by several goroutines.
type Pool struct {
	mu  sync.Mutex
	all []*Session // guarded by mu
}

// Open begins a conversation in a session that has none, and returns nil if there is no such.
func (p *Pool) Open(at messages.Endpoint) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = slices.DeleteFunc(p.all, func(s *Session) bool { return s.broken.Load() })
	for _, session := range p.all {
		if conn := session.Open(at); conn != nil {
			return conn
		}
	}
	return nil
}

// Add begins the first conversation in a session, which the pool owns from then on.
func (p *Pool) Add(session *Session, at messages.Endpoint) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, session)
	return session.Open(at)
}

// CloseIdle ends the sessions that have no conversation: the endpoint may not know them any more.
func (p *Pool) CloseIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, session := range p.all {
		if session.busy.CompareAndSwap(false, true) {
			session.Close()
		}
	}
}

// Close ends all sessions, and the conversations in them. Others may be added afterwards.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, session := range p.all {
		session.Close()
	}
	p.all = nil
}
