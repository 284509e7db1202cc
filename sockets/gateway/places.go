package gateway

import (
	"sync"
	"time"
)

// Places are what the clients of a socket share. While there are some left,
// everybody gets one. When there are none, a client takes the place of another
// one: loser says whose.
type places struct {
	mu    sync.Mutex
	most  int
	taken map[*Conn]struct{}
}

// newPlaces has room for so many clients.
func newPlaces(most int) *places { return &places{most: most, taken: map[*Conn]struct{}{}} }

// take gives c a place. It returns the client that loses its place for that, if
// any, which may be c itself.
func (p *places) take(c *Conn) (loses *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.taken) >= p.most {
		if loses = p.loser(c); loses == c {
			return c
		}
		delete(p.taken, loses)
	}
	p.taken[c] = struct{}{}
	return loses
}

// give takes the place of c back. It may have lost it before.
func (p *places) give(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, c)
}

func (p *places) loser(c *Conn) *Conn {
	conns := []*Conn{c} // c comes first
	claims := []claim{c.claim()}
	for other := range p.taken {
		conns = append(conns, other)
		claims = append(claims, other.claim())
	}
	return conns[loser(claims)]
}

// A claim is what a client has to say for its place.
type claim struct {
	user  uint32
	known bool      // it has sent a whole command
	heard time.Time // when something came from it last
}

// loser returns which of the clients has to go: the first, who has just come, or
// one of the others. Who has said nothing goes before who has sent a command, and
// among them who has the most places, and then who has been silent for longest.
// Who has just come never takes the place of a known client of a user that has no
// more places than its own.
func loser(claims []claim) int {
	places := map[uint32]int{}
	for _, c := range claims {
		places[c.user]++
	}
	worst := 0
	for i, c := range claims[1:] {
		if c.known && places[c.user] <= places[claims[0].user] {
			continue
		}
		if worst == 0 || c.before(claims[worst], places) {
			worst = 1 + i
		}
	}
	return worst
}

// before reports whether c has to go rather than other.
func (c claim) before(other claim, places map[uint32]int) bool {
	switch {
	case c.known != other.known:
		return !c.known
	case c.user != other.user && places[c.user] != places[other.user]:
		return places[c.user] > places[other.user]
	}
	return c.heard.Before(other.heard)
}
