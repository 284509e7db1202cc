package chaos

import (
	"fmt"
	"sync"
)

// A figure is something that is counted.
type figure string

const (
	points      figure = "failpoints"
	atPoints    figure = "kills at failpoints"
	atRandom    figure = "kills at random moments"
	keeperKills figure = "of the keeper beside them"
	keeperStops figure = "stops of the keeper"
	upgrades    figure = "changes of version"
	answered    figure = "commands acknowledged"
	cutOff      figure = "commands cut off"
	// Under siege.
	refusedRoughly figure = "commands refused"
	looks          figure = "looks at a policy"
	lost           figure = "acknowledged changes lost"
	halved         figure = "half changes"
	orphaned       figure = "orphans"
	invented       figure = "exit codes invented"
	disturbed      figure = "unikernels disturbed"
	muted          figure = "lines of consoles lost"
	untold         figure = "events lost or invented"
)

// figures are all of them, as they are printed.
var figures = []figure{points, atPoints, atRandom, keeperKills, keeperStops, upgrades, answered, cutOff, refusedRoughly, looks, lost, halved, orphaned, invented, disturbed, muted, untold}

// A tally counts, in each mode.
type tally struct {
	mu     sync.Mutex
	counts map[mode]map[figure]int
}

// sum is that of all tests.
var sum = &tally{counts: map[mode]map[figure]int{alone: {}, kept: {}}}

func (t *tally) add(m mode, f figure, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[m][f] += n
}

func (t *tally) count(m mode, f figure) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[m][f]
}

// String is a table.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	table := fmt.Sprintf("| | %s | %s |\n|---|---|---|\n", alone, kept)
	for _, f := range figures {
		table += fmt.Sprintf("| %s | %d | %d |\n", f, t.counts[alone][f], t.counts[kept][f])
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
