package store

import (
	"sync"

	"albatross/messages"
)

// pins counts the users of images. drop does not wait for the disk, since actors call it;
// add and hold need Images.mu.
type pins struct {
	mu    sync.Mutex
	count map[messages.Digest]int
}

func (p *pins) add(d messages.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count[d]++
}

func (p *pins) drop(d messages.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count[d] > 1 {
		p.count[d]--
	} else {
		delete(p.count, d)
	}
}

func (p *pins) hold(d messages.Digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[d] > 0
}
