package supervise_test

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"albatross/actors/supervise"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds what must happen; no test here waits for time to pass.
const deadline = 10 * time.Second

// A scripted is an actor whose behaviour a test defines by functions.
type scripted struct {
	started  func(c *supervise.Context)
	handle   func(c *supervise.Context, message any)
	stopping func(c *supervise.Context, again bool)
}

func (s *scripted) Started(c *supervise.Context) {
	if s.started != nil {
		s.started(c)
	}
}

func (s *scripted) Handle(c *supervise.Context, message any) {
	if s.handle != nil {
		s.handle(c, message)
	}
}

func (s *scripted) Stopping(c *supervise.Context, again bool) {
	if s.stopping != nil {
		s.stopping(c, again)
	}
}

func newSystem(t *testing.T) *supervise.System {
	s := supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(func() { shutdown(t, s) })
	return s
}

func shutdown(t *testing.T, s *supervise.System) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	require.NoError(t, s.Shutdown(ctx))
}

func spawn(t *testing.T, s *supervise.System, a *scripted) *supervise.Ref {
	return spawnNew(t, s, func() supervise.Actor { return a })
}

func spawnNew(t *testing.T, s *supervise.System, producer func() supervise.Actor) *supervise.Ref {
	ref, err := s.Spawn("test", producer, supervise.Restart)
	require.NoError(t, err)
	return ref
}

// A probe is an actor that asks others and passes on the answers.
type probe struct {
	ref   *supervise.Ref
	heard chan any
}

type ask struct {
	to      *actor.PID
	message any
}

func newProbe(t *testing.T, s *supervise.System) probe {
	heard := make(chan any, 1000)
	ref := spawn(t, s, &scripted{handle: func(c *supervise.Context, message any) {
		if a, ok := message.(ask); ok {
			c.Request(a.to, a.message)
			return
		}
		heard <- message
	}})
	return probe{ref, heard}
}

func (p probe) ask(to *supervise.Ref, message any) { p.ref.Send(ask{to.PID(), message}) }

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(deadline):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

func TestAPanicCostsTheIncarnationOnly(t *testing.T) {
	s := newSystem(t)
	var incarnations atomic.Int64
	ends := make(chan bool, 10)
	target := spawnNew(t, s, func() supervise.Actor {
		n := incarnations.Add(1)
		return &scripted{
			handle: func(c *supervise.Context, message any) {
				if message == "panic" {
					panic("as asked")
				}
				c.Respond(n)
			},
			stopping: func(_ *supervise.Context, again bool) { ends <- again },
		}
	})
	p := newProbe(t, s)
	p.ask(target, "hello")
	p.ask(target, "panic")
	p.ask(target, "hello") // waits in the mailbox meanwhile
	require.Equal(t, int64(1), receive(t, p.heard))
	require.Equal(t, supervise.Crashed{Message: "panic"}, receive(t, p.heard))
	require.Equal(t, int64(2), receive(t, p.heard))
	require.True(t, receive(t, ends), "the first incarnation learns that another follows")
	require.Equal(t, 1, s.Bugs())
}

func TestAPanicWhileStartingIsTriedAgain(t *testing.T) {
	s := newSystem(t)
	var incarnations atomic.Int64
	up := make(chan int64, 1)
	spawnNew(t, s, func() supervise.Actor {
		n := incarnations.Add(1)
		return &scripted{started: func(*supervise.Context) {
			if n < 3 {
				panic("not yet")
			}
			up <- n
		}}
	})
	require.Equal(t, int64(3), receive(t, up))
}

func TestAPanicWhileStoppingStopsAllTheSame(t *testing.T) {
	s := newSystem(t)
	target := spawn(t, s, &scripted{stopping: func(*supervise.Context, bool) { panic("on the way out") }})
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	require.NoError(t, target.Stop(ctx))
	require.Equal(t, 1, s.Bugs())
}

func TestAnActorThatIsNotRestartedEnds(t *testing.T) {
	s := newSystem(t)
	target, err := s.Spawn("session", func() supervise.Actor {
		return &scripted{handle: func(*supervise.Context, any) { panic("as asked") }}
	}, supervise.Stop)
	require.NoError(t, err)
	p := newProbe(t, s)
	p.ask(target, "panic")
	require.Equal(t, supervise.Crashed{Message: "panic"}, receive(t, p.heard))
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	require.NoError(t, target.Wait(ctx))
	p.ask(target, "hello")
	require.Equal(t, supervise.Undeliverable{Message: "hello"}, receive(t, p.heard))
}

func TestARequestThatIsQueuedWhenTheActorEndsIsAnswered(t *testing.T) {
	s := newSystem(t)
	busy, goOn := make(chan struct{}), make(chan struct{})
	target := spawn(t, s, &scripted{handle: func(c *supervise.Context, message any) {
		close(busy)
		<-goOn
		c.Stop(c.Self())
	}})
	target.Send("stop")
	receive(t, busy)
	p := newProbe(t, s)
	p.ask(target, "hello")
	p.ref.Send(ask{p.ref.PID(), "asked"}) // the answer comes after that to the request above
	require.Equal(t, "asked", receive(t, p.heard))
	close(goOn)
	require.Equal(t, supervise.Undeliverable{Message: "hello"}, receive(t, p.heard))
}

func TestAChildIsRestartedAndItsEndIsTold(t *testing.T) {
	s := newSystem(t)
	heard := make(chan any, 10)
	var child *actor.PID
	parent := spawn(t, s, &scripted{
		started: func(c *supervise.Context) {
			child = c.Child("child", func() supervise.Actor {
				return &scripted{handle: func(c *supervise.Context, message any) {
					if message == "panic" {
						panic("as asked")
					}
					c.Stop(c.Self())
				}}
			})
		},
		handle: func(c *supervise.Context, message any) {
			if text, ok := message.(string); ok {
				c.Request(child, text)
				return
			}
			heard <- message
		},
	})
	parent.Send("panic")
	require.Equal(t, supervise.Crashed{Message: "panic"}, receive(t, heard))
	parent.Send("stop") // the next incarnation handles this
	require.Equal(t, supervise.Terminated{ID: child.Id}, receive(t, heard))
}

// held is a result that must be freed.
type held struct{ freed chan struct{} }

func (h held) Discard() { close(h.freed) }

func TestAResultOfAGoroutineReachesItsIncarnation(t *testing.T) {
	s := newSystem(t)
	heard := make(chan any, 1)
	spawn(t, s, &scripted{
		started: func(c *supervise.Context) { c.Go(func(context.Context) any { return 7 }) },
		handle:  func(_ *supervise.Context, message any) { heard <- message },
	})
	require.Equal(t, 7, receive(t, heard))
}

func TestAResultThatNobodySeesIsDiscarded(t *testing.T) {
	for name, tc := range map[string]struct{ again bool }{
		"the actor has ended":         {false},
		"another one has replaced it": {true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t)
			result := held{make(chan struct{})}
			first := true
			target := spawnNew(t, s, func() supervise.Actor {
				mine := first
				first = false
				return &scripted{
					started: func(c *supervise.Context) {
						if mine {
							c.Go(func(ctx context.Context) any { <-ctx.Done(); return result })
						}
					},
					handle: func(c *supervise.Context, message any) {
						if message == "panic" {
							panic("as asked")
						}
						t.Errorf("%v was handled", message)
					},
				}
			})
			if tc.again {
				target.Send("panic")
			} else {
				ctx, cancel := context.WithTimeout(context.Background(), deadline)
				defer cancel()
				require.NoError(t, target.Stop(ctx))
			}
			receive(t, result.freed)
		})
	}
}

func TestAResultThatIsQueuedWhenTheIncarnationEndsIsDiscarded(t *testing.T) {
	s := newSystem(t)
	result := held{make(chan struct{})}
	busy, goOn := make(chan struct{}), make(chan struct{})
	returned := make(chan struct{})
	target := spawn(t, s, &scripted{
		handle: func(c *supervise.Context, message any) {
			c.Go(func(context.Context) any { defer close(returned); return result })
			close(busy)
			<-goOn // the result, then the stop, wait in the mailbox until this returns
			c.Stop(c.Self())
		},
	})
	target.Send("go")
	receive(t, busy)
	receive(t, returned)
	close(goOn)
	receive(t, result.freed)
}

func TestAResultIsDiscardedWhereItsHandlerFails(t *testing.T) {
	s := newSystem(t)
	result := held{make(chan struct{})}
	first := true
	spawnNew(t, s, func() supervise.Actor {
		mine := first
		first = false
		return &scripted{
			started: func(c *supervise.Context) {
				if mine {
					c.Go(func(context.Context) any { return result })
				}
			},
			handle: func(*supervise.Context, any) { panic("as asked") },
		}
	})
	receive(t, result.freed)
}

func TestAPanicInAGoroutineIsOneOfTheActor(t *testing.T) {
	s := newSystem(t)
	ends := make(chan bool, 1)
	first := true
	spawnNew(t, s, func() supervise.Actor {
		mine := first
		first = false
		return &scripted{
			started: func(c *supervise.Context) {
				if mine {
					c.Go(func(context.Context) any { panic("far away") })
				}
			},
			stopping: func(_ *supervise.Context, again bool) {
				if mine {
					ends <- again
				}
			},
		}
	})
	require.True(t, receive(t, ends))
}

// manualClock lets a test say when a timer is due.
type manualClock struct{ due chan func() }

func (m manualClock) clock() supervise.Clock {
	return supervise.Clock{
		Now: time.Now,
		AfterFunc: func(_ time.Duration, f func()) func() bool {
			m.due <- f
			return func() bool { return true }
		},
	}
}

func TestATimerThatIsLateIsHarmless(t *testing.T) {
	m := manualClock{make(chan func(), 10)}
	s := supervise.New(m.clock(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	defer shutdown(t, s)
	heard := make(chan any, 10)
	var cancel func()
	target := spawn(t, s, &scripted{handle: func(c *supervise.Context, message any) {
		switch message {
		case "set":
			cancel = c.After(time.Hour, "due")
		case "cancel":
			cancel()
			heard <- message
		default:
			heard <- message
		}
	}})

	target.Send("set")
	receive(t, m.due)()
	require.Equal(t, "due", receive(t, heard))

	target.Send("set")
	late := receive(t, m.due)
	target.Send("cancel")
	require.Equal(t, "cancel", receive(t, heard))
	late()
	target.Send("sync")
	require.Equal(t, "sync", receive(t, heard), "a timer that was cancelled sends nothing")

	target.Send("set")
	late = receive(t, m.due)
	ctx, done := context.WithTimeout(context.Background(), deadline)
	defer done()
	require.NoError(t, target.Stop(ctx))
	late() // no actor receives it
}

func TestAnUnknownMessageIsABug(t *testing.T) {
	s := newSystem(t)
	target := spawn(t, s, &scripted{handle: func(c *supervise.Context, message any) {
		if message == "sync" {
			c.Respond(message)
			return
		}
		c.Unknown(message)
	}})
	p := newProbe(t, s)
	p.ask(target, 1)
	p.ask(target, 2)
	p.ask(target, "sync")
	require.Equal(t, "sync", receive(t, p.heard))
	require.Equal(t, 1, s.Bugs(), "each type is logged once")
}

func TestAFullMailboxDropsAndTells(t *testing.T) {
	s := newSystem(t)
	block := make(chan struct{})
	target := spawn(t, s, &scripted{started: func(*supervise.Context) { <-block }})
	for range 1<<16 + 5 {
		target.Send("flood")
	}
	require.Equal(t, 5, s.Bugs())
	p := newProbe(t, s)
	p.ask(target, "hello")
	require.Equal(t, supervise.Undeliverable{Message: "hello"}, receive(t, p.heard), "a request is answered all the same")
	close(block)
}

func BenchmarkRequest(b *testing.B) {
	s := supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	defer s.Shutdown(context.Background())
	request := newRequest(b, s.Spawn)
	for b.Loop() {
		request()
	}
}

// A spawner is System.Spawn.
type spawner func(name string, producer func() supervise.Actor, onFailure supervise.OnFailure) (*supervise.Ref, error)

// newRequest makes an actor that asks another one. It returns a function that asks and waits for
// the answer.
func newRequest(b *testing.B, spawn spawner) func() {
	done := make(chan struct{}, 1)
	target, err := spawn("target", func() supervise.Actor {
		return &scripted{handle: func(c *supervise.Context, m any) { c.Respond(m) }}
	}, supervise.Restart)
	require.NoError(b, err)
	asker, err := spawn("asker", func() supervise.Actor {
		return &scripted{handle: func(c *supervise.Context, m any) {
			if a, ok := m.(ask); ok {
				c.Request(a.to, a.message)
				return
			}
			done <- struct{}{}
		}}
	}, supervise.Restart)
	require.NoError(b, err)
	return func() {
		asker.Send(ask{target.PID(), "hello"})
		<-done
	}
}
