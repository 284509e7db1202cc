// Package fair owns the order in which tenants get processors for long work: to
// decompress, to hash, to compress. There are few places, and tenants take turns. However
// much work a tenant has, the work of another waits only for what is under way, and for
// one piece of each waiting tenant.
package fair

import (
	"context"
	"sync"
)

// Workers are the places. The zero value has none.
type Workers struct {
	mu      sync.Mutex
	free    int
	waiting map[string][]chan struct{} // by tenant, oldest first
	turns   []string                   // the waiting tenants, the next one first
}

// New returns Workers with so many places.
func New(places int) *Workers {
	return &Workers{free: places, waiting: map[string][]chan struct{}{}}
}

// Do runs a piece of work of a tenant once it has a place. It returns the error of the
// context, without doing the work, if that ends before.
func (w *Workers) Do(ctx context.Context, tenant string, work func()) error {
	if err := w.enter(ctx, tenant); err != nil {
		return err
	}
	defer w.leave()
	work()
	return nil
}

// Pause gives up the place of a piece of work while it waits for somebody. The work calls
// it inside Do. It returns when the work has a place again.
func (w *Workers) Pause(tenant string, wait func()) {
	w.leave()
	defer func() {
		if turn := w.queue(tenant); turn != nil {
			<-turn // work in a place always ends
		}
	}()
	wait()
}

func (w *Workers) enter(ctx context.Context, tenant string) error {
	turn := w.queue(tenant)
	if turn == nil {
		return nil
	}
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		w.withdraw(tenant, turn)
		return context.Cause(ctx)
	}
}

// queue takes a place, or returns a channel that is closed when there is one.
func (w *Workers) queue(tenant string) (turn chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.free > 0 {
		w.free--
		return nil
	}
	turn = make(chan struct{})
	if len(w.waiting[tenant]) == 0 {
		w.turns = append(w.turns, tenant)
	}
	w.waiting[tenant] = append(w.waiting[tenant], turn)
	return turn
}

// leave gives a place to the next tenant in turn.
func (w *Workers) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass()
}

func (w *Workers) pass() {
	if len(w.turns) == 0 {
		w.free++
		return
	}
	tenant := w.turns[0]
	w.turns = w.turns[1:]
	first := w.waiting[tenant][0]
	if rest := w.waiting[tenant][1:]; len(rest) > 0 {
		w.waiting[tenant] = rest
		w.turns = append(w.turns, tenant)
	} else {
		delete(w.waiting, tenant)
	}
	close(first)
}

// withdraw removes a waiter that gives up. If it has got its place meanwhile, the place
// is passed on.
func (w *Workers) withdraw(tenant string, turn chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-turn:
		w.pass()
		return
	default:
	}
	rest := remove(w.waiting[tenant], turn)
	if len(rest) > 0 {
		w.waiting[tenant] = rest
		return
	}
	delete(w.waiting, tenant)
	w.turns = remove(w.turns, tenant)
}

// remove returns a list without one of its elements.
func remove[T comparable](list []T, element T) (rest []T) {
	for _, e := range list {
		if e != element {
			rest = append(rest, e)
		}
	}
	return rest
}
