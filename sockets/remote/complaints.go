package remote

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// Log lines about unverified clients are limited; otherwise these could fill the log.
const (
	complainEvery = time.Minute
	maxComplaints = 1024 // addresses with a count of their own
)

// complaints logs failed connections: for each address once a minute at most, with the
// number since the last time. Beyond maxComplaints addresses, all others count as one.
type complaints struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	about  map[netip.Addr]*complaint
	others complaint
}

type complaint struct {
	last   time.Time // logged
	silent int       // since then
}

func newComplaints(log *slog.Logger, now func() time.Time) *complaints {
	return &complaints{log: log, now: now, about: map[netip.Addr]*complaint{}}
}

// add counts a failed connection, and logs it if it is time.
func (c *complaints) add(address netip.Addr, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	about := c.find(address, now)
	if !about.last.IsZero() && now.Sub(about.last) < complainEvery {
		about.silent++
		return
	}
	c.log.Warn("A connection was refused", "address", address, "cause", err, "others_since", about.silent)
	*about = complaint{last: now}
}

func (c *complaints) find(address netip.Addr, now time.Time) *complaint {
	if about, ok := c.about[address]; ok {
		return about
	}
	if len(c.about) >= maxComplaints {
		c.forget(now)
	}
	if len(c.about) >= maxComplaints {
		return &c.others
	}
	about := &complaint{}
	c.about[address] = about
	return about
}

// forget makes room: it removes addresses that were quiet for a minute.
func (c *complaints) forget(now time.Time) {
	for address, about := range c.about {
		if now.Sub(about.last) >= complainEvery {
			delete(c.about, address)
		}
	}
}
