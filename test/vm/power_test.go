package vm

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cuts is how often the power is cut.
const cuts = 20

// TestPowerCuts: what a client has been told is so after the next boot, whenever the
// power is cut. The command under way then is carried out as a whole, or not at all.
func TestPowerCuts(t *testing.T) {
	m := newMachine(t)
	m.install()
	m.client("root", "add-policy", "cut", "1000", "--mem=4000", "--cpu=0", "--block=1000")
	writers := []*writer{{kind: policies}, {kind: blocks}, {kind: unikernels}}
	for _, w := range writers {
		w.known = map[string]fate{}
	}
	acknowledged := 0
	for cut := range cuts {
		wanted := 5 + rand.IntN(20)
		acknowledged += m.cutUnder(writers, wanted)
		m.boot()
		m.eventually(`albatross-client info >/dev/null`)
		for _, w := range writers {
			w.check(m)
		}
		m.logf("cut %d: %d commands acknowledged so far, none missing", cut+1, acknowledged)
	}
	m.logf("power cuts: %d, commands acknowledged: %d, missing: 0", cuts, acknowledged)
	require.Greater(t, acknowledged, 5*cuts)
}

// cutUnder has commands carried out until so many have been acknowledged, and a moment
// longer, and cuts the power then.
func (m *machine) cutUnder(writers []*writer, wanted int) (acknowledged int) {
	told := make(chan struct{}, 1000)
	var writing sync.WaitGroup
	for _, w := range writers {
		writing.Go(func() { w.write(m, told) })
	}
	for range wanted {
		select {
		case <-told:
		case <-time.After(limit):
			require.FailNow(m.t, "nothing is acknowledged any more")
		}
	}
	moment := time.NewTimer(time.Duration(rand.IntN(300)) * time.Millisecond)
	<-moment.C
	m.cutPower()
	writing.Wait()
	close(told)
	for range told {
		wanted++
	}
	return wanted
}

// A fate is what is known of a thing.
type fate string

const (
	there   fate = "there"
	gone    fate = "gone"
	unknown fate = "unknown" // a command about it was under way
)

// A kind is what a writer makes and removes, and lists.
type kind struct {
	name           string
	create, remove func(name string) []string
	list           []string
}

var (
	policies = kind{"policy",
		func(n string) []string { return []string{"add-policy", "cut:" + n, "1", "--mem=32", "--cpu=0"} },
		func(n string) []string { return []string{"remove-policy", "-p", "cut:" + n} },
		[]string{"policy"},
	}
	blocks = kind{"block device",
		func(n string) []string { return []string{"create-block", "cut:" + n, "1"} },
		func(n string) []string { return []string{"destroy-block", "cut:" + n} },
		[]string{"block"},
	}
	unikernels = kind{"unikernel",
		func(n string) []string {
			return []string{"create", "cut:" + n, "/payload/guests/hello.spt", "--mem=16", "--arg=--quiet"}
		},
		func(n string) []string { return []string{"destroy", "cut:" + n} },
		[]string{"info"},
	}
)

// A writer gives one command after the other.
type writer struct {
	kind  kind
	made  int
	known map[string]fate
}

// write gives commands until the machine has gone.
func (w *writer) write(m *machine, told chan<- struct{}) {
	for {
		name, args, then := w.next()
		before := w.known[name]
		w.known[name] = unknown
		a, ok := m.try(append([]string{"albatross-client"}, args...)...)
		switch {
		case !ok:
			return
		case a.Exit != 0:
			w.known[name] = before
			m.t.Errorf("%v: %s", args, a.Out)
			return
		}
		w.known[name] = then
		told <- struct{}{}
	}
}

// next makes something, and removes the oldest where there is enough.
func (w *writer) next() (name string, args []string, then fate) {
	var present []string
	for _, name := range slices.Sorted(maps.Keys(w.known)) {
		if w.known[name] == there {
			present = append(present, name)
		}
	}
	if len(present) > 3 {
		return present[0], w.kind.remove(present[0]), gone
	}
	w.made++
	name = fmt.Sprintf("x%04d", w.made)
	return name, w.kind.create(name), there
}

// check compares what is known with what is there, and takes over what was not known.
func (w *writer) check(m *machine) {
	m.t.Helper()
	listed := m.run(append([]string{"albatross-client"}, w.kind.list...)...)
	for name, f := range w.known {
		is := strings.Contains(listed, name)
		switch f {
		case there:
			require.True(m.t, is, "%s %s is missing in %s", w.kind.name, name, listed)
		case gone:
			require.False(m.t, is, "%s %s is there again: %s", w.kind.name, name, listed)
		}
		if is {
			w.known[name] = there
		} else {
			delete(w.known, name)
		}
	}
}
