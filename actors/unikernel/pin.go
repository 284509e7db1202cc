package unikernel

import (
	"sync"

	"albatross/messages"
)

// A pin keeps an image from being removed until it is released.
type pin struct {
	machine Machine
	digest  messages.Digest
	once    sync.Once
}

// release may be called again, and on a nil pin.
func (p *pin) release() {
	if p != nil {
		p.once.Do(func() { p.machine.Unpin(p.digest) })
	}
}
