package supervise

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// A Count counts the actors of one kind. The kind of an actor is its name up to the first
// slash, so there are few.
type Count struct {
	Actors   int // not ended
	Queued   int // messages in their mailboxes
	Failures int // ever, also of those that have ended
}

// Population counts all actors, by kind, without delaying any.
func (s *System) Population() map[string]Count { return s.population.count() }

// A population is the set of actors that have been spawned and have not ended.
type population struct {
	mu       sync.Mutex
	members  map[string]member // by id
	failures map[string]int    // by kind
}

type member struct {
	kind string
	box  *mailbox
}

func newPopulation() *population {
	return &population{members: map[string]member{}, failures: map[string]int{}}
}

func (p *population) enter(id, name string, box *mailbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members[id] = member{kindOf(name), box}
}

func (p *population) leave(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.members, id)
}

func kindOf(name string) string {
	kind, _, _ := strings.Cut(name, "/")
	return kind
}

// kind returns the kind of an actor that has not ended.
func (p *population) kind(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.members[id].kind
}

// fail counts a failure of an actor that has not ended.
func (p *population) fail(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m, ok := p.members[id]; ok {
		p.failures[m.kind]++
	}
}

func (p *population) count() map[string]Count {
	p.mu.Lock()
	members := slices.Collect(maps.Values(p.members))
	counts := map[string]Count{}
	for kind, n := range p.failures {
		counts[kind] = Count{Failures: n}
	}
	p.mu.Unlock()
	for _, m := range members {
		c := counts[m.kind]
		c.Actors++
		c.Queued += m.box.UserMessageCount()
		counts[m.kind] = c
	}
	return counts
}
