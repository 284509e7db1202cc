package supervise

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// A Population is what is known of the actors of one kind. The kind of an actor
// is its name up to the first slash, so there are few.
type Population struct {
	Actors   int // that have not ended
	Queued   int // messages in their mailboxes
	Failures int // ever, of those that have ended as well
}

// Census counts all actors, by kind. It holds nobody up.
func (s *System) Census() map[string]Population { return s.census.count() }

// A census is who has been spawned and has not ended.
type census struct {
	mu       sync.Mutex
	members  map[string]member // by id
	failures map[string]int    // by kind
}

type member struct {
	kind string
	box  *mailbox
}

func newCensus() *census { return &census{members: map[string]member{}, failures: map[string]int{}} }

func (l *census) enter(id, name string, box *mailbox) {
	kind, _, _ := strings.Cut(name, "/")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members[id] = member{kind, box}
}

func (l *census) leave(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.members, id)
}

// fail notes a failure of an actor that has not left.
func (l *census) fail(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m, ok := l.members[id]; ok {
		l.failures[m.kind]++
	}
}

func (l *census) count() map[string]Population {
	l.mu.Lock()
	members := slices.Collect(maps.Values(l.members))
	counts := map[string]Population{}
	for kind, n := range l.failures {
		counts[kind] = Population{Failures: n}
	}
	l.mu.Unlock()
	for _, m := range members {
		p := counts[m.kind]
		p.Actors++
		p.Queued += m.box.UserMessageCount()
		counts[m.kind] = p
	}
	return counts
}
