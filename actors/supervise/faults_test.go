package supervise_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
)

// newFaultySystem returns a system that injects faults by these rules.
func newFaultySystem(t *testing.T, rules ...supervise.Rule) (*supervise.System, *supervise.Faults) {
	s, faults := newSystem(t), supervise.NewFaults(7, nil)
	faults.Set(rules...)
	s.InjectFaults(faults)
	return s, faults
}

// spawnEcho starts an actor that answers each string with the same string.
func spawnEcho(t *testing.T, s *supervise.System) (*supervise.Ref, chan any) {
	handled := make(chan any, 1000)
	ref, err := s.Spawn("echo/:x", func() supervise.Actor {
		return &scripted{handle: func(c *supervise.Context, message any) {
			if c.Sender() != nil {
				c.Respond(message)
			}
			handled <- message
		}}
	}, supervise.Restart)
	require.NoError(t, err)
	return ref, handled
}

func TestCrashBefore(t *testing.T) {
	s, faults := newFaultySystem(t, supervise.Rule{Fault: supervise.CrashBefore, Kind: "echo", Nth: 2})
	target, handled := spawnEcho(t, s)
	p := newProbe(t, s)
	for _, m := range []string{"one", "two", "three"} {
		p.ask(target, m)
	}
	require.Equal(t, "one", receive(t, p.heard))
	require.Equal(t, supervise.Crashed{Message: "two"}, receive(t, p.heard))
	require.Equal(t, "three", receive(t, p.heard))
	require.Equal(t, []any{"one", "three"}, []any{receive(t, handled), receive(t, handled)})
	require.Equal(t, 1, faults.Injected())
	require.Equal(t, supervise.Count{Actors: 1, Failures: 1}, s.Population()["echo"])
}

func TestCrashAfter(t *testing.T) {
	s, _ := newFaultySystem(t, supervise.Rule{Fault: supervise.CrashAfter, Kind: "echo", Nth: 1})
	target, handled := spawnEcho(t, s)
	p := newProbe(t, s)
	p.ask(target, "one")
	require.Equal(t, "one", receive(t, p.heard))
	require.Equal(t, supervise.Crashed{Message: "one"}, receive(t, p.heard))
	require.Equal(t, "one", receive(t, handled))
	require.Equal(t, 1, s.Bugs())
}

// TestACrashAtAResult discards the result. Only a message that is handled crashes.
func TestACrashAtAResult(t *testing.T) {
	for name, fault := range map[string]supervise.Fault{"before": supervise.CrashBefore, "after": supervise.CrashAfter} {
		t.Run(name, func(t *testing.T) {
			s, _ := newFaultySystem(t, supervise.Rule{Fault: fault, Messages: []any{held{}}, Nth: 1})
			result, first := held{make(chan struct{})}, true
			spawnNew(t, s, func() supervise.Actor {
				mine := first
				first = false
				return &scripted{started: func(c *supervise.Context) {
					if mine {
						c.Go(func(context.Context) any { return result })
					}
				}}
			})
			receive(t, result.freed)
		})
	}
}

func TestDuplicate(t *testing.T) {
	s, _ := newFaultySystem(t, supervise.Rule{Fault: supervise.Duplicate, Messages: []any{""}, Probability: 1})
	target, handled := spawnEcho(t, s)
	target.Send("twice")
	target.Send(1)
	require.Equal(t, []any{"twice", "twice", 1}, []any{receive(t, handled), receive(t, handled), receive(t, handled)})
}

func TestDrop(t *testing.T) {
	s, _ := newFaultySystem(t, supervise.Rule{Fault: supervise.Drop, Kind: "echo", Nth: 1})
	target, handled := spawnEcho(t, s)
	p := newProbe(t, s)
	p.ask(target, "lost")
	require.Equal(t, supervise.Undeliverable{Message: "lost"}, receive(t, p.heard))
	p.ask(target, "not lost")
	require.Equal(t, "not lost", receive(t, p.heard))
	require.Equal(t, "not lost", receive(t, handled))
}

// TestReorder: messages of other senders overtake the delayed one. Those of its sender do not.
func TestReorder(t *testing.T) {
	m := manualClock{make(chan func(), 1)}
	s, faults := supervise.New(m.clock(), slog.New(slog.NewTextHandler(io.Discard, nil))), supervise.NewFaults(0, nil)
	defer shutdown(t, s)
	faults.Set(supervise.Rule{Fault: supervise.Reorder, Messages: []any{"late"}, Nth: 1})
	s.InjectFaults(faults)
	target, handled := spawnEcho(t, s)
	slow, quick := newProbe(t, s), newProbe(t, s)
	slow.ask(target, "late")
	slow.ask(target, "behind it")
	flush := receive(t, m.due)
	quick.ask(target, "first")
	require.Equal(t, "first", receive(t, handled))
	flush()
	require.Equal(t, []any{"late", "behind it"}, []any{receive(t, handled), receive(t, handled)})
}

// TestReorderEndsWithTheSender: its messages arrive before those that are sent after its end.
func TestReorderEndsWithTheSender(t *testing.T) {
	m := manualClock{make(chan func(), 1)}
	s, faults := supervise.New(m.clock(), slog.New(slog.NewTextHandler(io.Discard, nil))), supervise.NewFaults(0, nil)
	defer shutdown(t, s)
	faults.Set(supervise.Rule{Fault: supervise.Reorder, Messages: []any{"late"}, Nth: 1})
	s.InjectFaults(faults)
	target, handled := spawnEcho(t, s)
	slow := newProbe(t, s)
	slow.ask(target, "late")
	flush := receive(t, m.due)
	require.NoError(t, slow.ref.Stop(t.Context()))
	target.Send("after its end")
	require.Equal(t, []any{"late", "after its end"}, []any{receive(t, handled), receive(t, handled)})
	flush()
}

// TestDelay: the message takes that long, and all messages come in order.
func TestDelay(t *testing.T) {
	s, _ := newFaultySystem(t, supervise.Rule{Fault: supervise.Delay, Kind: "echo", For: 20 * time.Millisecond, Nth: 1})
	target, handled := spawnEcho(t, s)
	began := time.Now()
	target.Send("slow")
	target.Send("behind")
	require.Equal(t, []any{"slow", "behind"}, []any{receive(t, handled), receive(t, handled)})
	require.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond)
}

// TestTheSeedDecides which messages meet a fault.
func TestTheSeedDecides(t *testing.T) {
	handledWith := func(seed uint64, others ...supervise.Rule) (list []any) {
		s, faults := newSystem(t), supervise.NewFaults(seed, nil)
		faults.Set(append([]supervise.Rule{{Fault: supervise.Duplicate, Kind: "echo", Probability: 0.3}}, others...)...)
		s.InjectFaults(faults)
		target, handled := spawnEcho(t, s)
		for i := range 50 {
			target.Send(i)
		}
		target.Send("last")
		for m := any(nil); m != "last"; list = append(list, m) {
			m = receive(t, handled)
		}
		return list[:len(list)-1]
	}
	same := handledWith(1)
	require.Greater(t, len(same), 50)
	require.Equal(t, same, handledWith(1))
	require.Equal(t, same, handledWith(1, supervise.Rule{Fault: supervise.Delay, Probability: 0.5}), "whatever else goes wrong")
	require.NotEqual(t, same, handledWith(2))
}

// BenchmarkFaults compares requests where no fault is set ("off") with those of actors that are
// made as if there were no faults at all ("without"), and with those that any fault may meet
// ("on"). They take turns, so that other work of the machine slows all of them down.
func BenchmarkFaults(b *testing.B) {
	rounds := map[string]func(){
		"without": newRequest(b, newBenchSystem(b).SpawnFaultless),
		"off":     newRequest(b, newBenchSystem(b).Spawn),
		"on":      newRequest(b, newBenchSystem(b, supervise.NewFaults(0, nil)).Spawn),
	}
	times := map[string]time.Duration{}
	for b.Loop() {
		for name, round := range rounds {
			began := time.Now()
			for range 100 {
				round()
			}
			times[name] += time.Since(began)
		}
	}
	for name, round := range rounds {
		b.ReportMetric(testing.AllocsPerRun(10_000, round), "allocs-"+name)
		b.ReportMetric(float64(times[name])/float64(times["without"]), name+"/without")
	}
}

func newBenchSystem(b *testing.B, faults ...*supervise.Faults) *supervise.System {
	s := supervise.New(supervise.WallClock(), slog.New(slog.DiscardHandler))
	for _, f := range faults {
		s.InjectFaults(f)
	}
	b.Cleanup(func() { require.NoError(b, s.Shutdown(context.Background())) })
	return s
}
