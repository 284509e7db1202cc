package remote

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// Log lines about unverified clients are limited; otherwise these could fill the log.
const (
	logEvery     = time.Minute
	maxAddresses = 1024 // addresses with a count of their own
)

// failureLog logs failed connections: for each address once a minute at most, with the
// number since the last time. Beyond maxAddresses addresses, all others count as one.
type failureLog struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	about  map[netip.Addr]*addressFailures
	others addressFailures
}

type addressFailures struct {
	last     time.Time // logged
	unlogged int       // since then
}

func newFailureLog(log *slog.Logger, now func() time.Time) *failureLog {
	return &failureLog{log: log, now: now, about: map[netip.Addr]*addressFailures{}}
}

// add counts a failed connection, and logs it if it is time.
func (l *failureLog) add(address netip.Addr, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	about := l.find(address, now)
	if !about.last.IsZero() && now.Sub(about.last) < logEvery {
		about.unlogged++
		return
	}
	l.log.Warn("A connection was refused", "address", address, "cause", err, "others_since", about.unlogged)
	*about = addressFailures{last: now}
}

func (l *failureLog) find(address netip.Addr, now time.Time) *addressFailures {
	if about, ok := l.about[address]; ok {
		return about
	}
	if len(l.about) >= maxAddresses {
		l.forget(now)
	}
	if len(l.about) >= maxAddresses {
		return &l.others
	}
	about := &addressFailures{}
	l.about[address] = about
	return about
}

// forget makes room: it removes addresses that were quiet for a minute.
func (l *failureLog) forget(now time.Time) {
	for address, about := range l.about {
		if now.Sub(about.last) >= logEvery {
			delete(l.about, address)
		}
	}
}
