package actors_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/actors"
	"albatross/messages"
)

// TestStartupOrder: a daemon that finds nothing running starts the unikernels of the lowest startup
// number first, and the next when all of those run.
func TestStartupOrder(t *testing.T) {
	o := &observer{}
	w := newWorld(t, func(w *world) { w.fault = o.note })
	startups := map[string]messages.Option[int]{
		":a": messages.Some(-3), ":b": messages.Some(10), ":c": messages.Some(10), ":d": {}, ":e": messages.Some(50), ":f": messages.Some(51),
	}
	for name, startup := range startups {
		config := guest("hello", "--quiet")
		config.Startup = startup
		config.Fail = messages.FailBehaviour{Restart: true}
		w.succeeds("created unikernel", name, create(config))
	}
	w.succeeds("created unikernel", ":stays", create(guest("hello", "--quiet")))
	stays := w.pid(":stays")
	var pids []int
	for name := range startups {
		pids = append(pids, w.pid(name))
	}
	w.shutdown()
	for _, pid := range pids {
		w.killAndReap(pid)
	}
	o.reset()
	w.start()
	w.until("all run again", func() bool { return len(w.infos(":")) == len(startups)+1 })
	require.Equal(t, stays, w.pid(":stays"))
	require.Equal(t, []string{
		"start :a", "run :a", "start :b", "start :c", "run :b", "run :c",
		"start :d", "start :e", "run :d", "run :e", "start :f", "run :f",
	}, o.ordered())
}

// TestAWaveDoesNotWaitForOneThatCannotStart.
func TestAWaveDoesNotWaitForOneThatCannotStart(t *testing.T) {
	w := newWorld(t)
	broken := guest("exit", "0", "60000")
	broken.Startup = messages.Some(1)
	broken.Fail = messages.FailBehaviour{Restart: true}
	w.succeeds("created unikernel", ":broken", create(broken))
	fine := guest("hello", "--quiet")
	fine.Fail = messages.FailBehaviour{Restart: true}
	w.succeeds("created unikernel", ":fine", create(fine))
	record, _ := w.record(":broken")
	pids := []int{w.pid(":broken"), w.pid(":fine")}
	w.shutdown()
	for _, pid := range pids {
		w.killAndReap(pid)
	}
	require.NoError(t, unix.Unlink(w.dir+"/images/"+record.Spec.Digest.String()))
	w.start()
	w.until("the other one runs", func() bool { return len(w.infos(":fine")) == 1 })
	require.Empty(t, w.infos(":broken"))
	w.succeeds("destroyed: removed from restarting", ":broken", messages.UnikernelDestroy{})
}

// TestDestroyBeforeItsTurn: a unikernel that waits for its wave can be destroyed.
func TestDestroyBeforeItsTurn(t *testing.T) {
	o := &observer{}
	w := newWorld(t, func(w *world) { w.fault = o.note })
	config := guest("hello", "--quiet")
	config.Fail = messages.FailBehaviour{Restart: true}
	w.succeeds("created unikernel", ":first", create(config))
	config.Startup = messages.Some(90)
	w.succeeds("created unikernel", ":last", create(config))
	pids := []int{w.pid(":first"), w.pid(":last")}
	w.shutdown()
	for _, pid := range pids {
		w.killAndReap(pid)
	}
	w.start()
	require.Contains(t, []messages.Payload{success("destroyed: removed from restarting"), success("destroyed unikernel")},
		w.ask(":last", messages.UnikernelDestroy{}))
	w.until("the other one runs", func() bool { return len(w.infos(":first")) == 1 })
	require.Empty(t, w.infos(":last"))
}

// An observer notes when unikernels are started, and when the host has learned that they run.
type observer struct {
	mu     sync.Mutex
	events []string
}

func (o *observer) note(actor string, message any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch m := message.(type) {
	case messages.UnikernelStart:
		name := actor[strings.LastIndex(actor, "/")+1 : strings.LastIndex(actor, "#")]
		o.events = append(o.events, "start "+name)
	case messages.UnikernelRunning:
		if m.Name.String() != ":stays" {
			o.events = append(o.events, fmt.Sprint("run ", m.Name))
		}
	}
}

// mostAtOnce returns how many were being started at the same time.
func (o *observer) mostAtOnce() (most int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := 0
	for _, e := range o.events {
		if strings.HasPrefix(e, "start ") {
			now++
		} else {
			now--
		}
		most = max(most, now)
	}
	return most
}

func (o *observer) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = nil
}

// ordered returns the events. It sorts those in a row that may come in any order.
func (o *observer) ordered() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	events := slices.Clone(o.events)
	for from := 0; from < len(events); {
		to := from
		for to < len(events) && strings.Fields(events[to])[0] == strings.Fields(events[from])[0] {
			to++
		}
		slices.Sort(events[from:to])
		from = to
	}
	return events
}

// TestStartsAreBounded: however many have the same startup number, few are started at once.
func TestStartsAreBounded(t *testing.T) {
	o := &observer{}
	w := newWorld(t, func(w *world) { w.fault, w.config.RootPolicy.Memory = o.note, 1024 })
	var pids []int
	for i := range 2*actors.MaxStarting + 3 {
		config := guest("hello", "--quiet")
		config.Fail = messages.FailBehaviour{Restart: true}
		name := fmt.Sprint(":u", i)
		w.succeeds("created unikernel", name, create(config))
		pids = append(pids, w.pid(name))
	}
	w.shutdown()
	for _, pid := range pids {
		w.killAndReap(pid)
	}
	o.reset()
	w.start()
	w.until("all run again", func() bool { return len(w.infos(":")) == len(pids) })
	require.LessOrEqual(t, o.mostAtOnce(), actors.MaxStarting)
}
