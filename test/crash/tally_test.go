package crash

import (
	"fmt"
	"sync"
)

// A figure is something that is counted.
type figure string

const (
	points    figure = "failpoints"
	atPoints  figure = "kills at failpoints"
	atRandom  figure = "kills at random moments"
	answered  figure = "commands acknowledged"
	cutOff    figure = "commands cut off"
	lost      figure = "acknowledged changes lost"
	halved    figure = "half changes"
	orphaned  figure = "orphans"
	invented  figure = "exit codes invented"
	disturbed figure = "unikernels disturbed"
	muted     figure = "lines of consoles lost"
	untold    figure = "events lost or invented"
)

// figures are all of them, as they are printed.
var figures = []figure{points, atPoints, atRandom, answered, cutOff, lost, halved, orphaned, invented, disturbed, muted, untold}

// A tally counts.
type tally struct {
	mu     sync.Mutex
	counts map[figure]int
}

// sum is that of all tests.
var sum = &tally{counts: map[figure]int{}}

func (t *tally) add(f figure, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[f] += n
}

func (t *tally) count(f figure) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[f]
}

// String is a table.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	table := "| | |\n|---|---|\n"
	for _, f := range figures {
		table += fmt.Sprintf("| %s | %d |\n", f, t.counts[f])
	}
	return table
}

// differs says which loss it is that a thing is in a state that is not allowed.
func differs(t thing, state string, allowed []string) loss {
	f := lost
	switch {
	case stays(t.name):
		f = disturbed
	case t.kind == end && state != absent:
		f = invented
	case len(allowed) > 1:
		f = halved
	}
	return loss{f, fmt.Sprintf("%s %s is %q and may be %q", t.kind, t.name, state, allowed)}
}
