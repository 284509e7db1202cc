package gateway

import (
	"sync"
	"time"
)

// Places are shared by the clients of a socket. While some are left, every client gets
// one. Otherwise a client takes the place of another one: loser says whose.
type places struct {
	mu    sync.Mutex
	most  int
	taken map[*Conn]struct{}
}

// newPlaces has room for so many clients.
func newPlaces(most int) *places { return &places{most: most, taken: map[*Conn]struct{}{}} }

// take gives c a place. It returns the client that loses its place, if any, which may be
// c itself.
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

// give frees the place of c, which may have lost it before.
func (p *places) give(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, c)
}

func (p *places) loser(c *Conn) *Conn {
	conns := []*Conn{c} // c comes first
	claims := []rank{c.rank()}
	for other := range p.taken {
		conns = append(conns, other)
		claims = append(claims, other.rank())
	}
	return conns[loser(claims)]
}

// A rank is what decides whether a client keeps its place.
type rank struct {
	user  uint32
	known bool          // it has sent a whole command
	heard time.Duration // when it last sent something, by monotonic.Now
}

// loser returns which client must go: the first, which is new, or one of the others.
// Those without a command go before those with one, then those of the user with most
// places, then the longest silent. A new client never takes the place of a known client
// of a user who has no more places than its own.
func loser(claims []rank) int {
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

// before reports whether c must go rather than other.
func (c rank) before(other rank, places map[uint32]int) bool {
	switch {
	case c.known != other.known:
		return !c.known
	case c.user != other.user && places[c.user] != places[other.user]:
		return places[c.user] > places[other.user]
	}
	return c.heard < other.heard
}
