package supervise_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
)

// TestAnIncarnationWaitsForTheGoroutinesOfTheFormer, and for those of the children of the former.
func TestAnIncarnationWaitsForTheGoroutinesOfTheFormer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		order := make(chan string, 10)
		work := func(what string, d time.Duration) func(c *supervise.Context) {
			return func(c *supervise.Context) {
				c.Go(func(context.Context) any {
					time.Sleep(d) // even if the incarnation has ended
					order <- what
					return nil
				})
			}
		}
		first := true
		target := spawnNew(t, s, func() supervise.Actor {
			a := &scripted{handle: func(_ *supervise.Context, message any) {
				if message == "panic" {
					panic("as asked")
				}
				order <- message.(string)
			}}
			a.started = func(c *supervise.Context) { c.AfterFormer("second") }
			if first {
				first = false
				a.started = func(c *supervise.Context) {
					c.AfterFormer("first")
					work("its own", time.Minute)(c)
					c.Child("child", func() supervise.Actor {
						return &scripted{started: work("that of its child", 2*time.Minute)}
					})
				}
			}
			return a
		})
		synctest.Wait()
		target.Send("panic")
		time.Sleep(3 * time.Minute)
		for _, next := range []string{"first", "its own", "that of its child", "second"} {
			require.Equal(t, next, receive(t, order))
		}
	})
}

// TestAStopOutweighsARestart that comes while the children of an actor are being stopped.
func TestAStopOutweighsARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		var incarnations int
		target := spawnNew(t, s, func() supervise.Actor {
			incarnations++
			return &scripted{
				started: func(c *supervise.Context) {
					c.Child("slow", func() supervise.Actor {
						return &scripted{stopping: func(*supervise.Context, bool) { time.Sleep(time.Second) }}
					})
				},
				handle: func(*supervise.Context, any) { panic("as asked") },
			}
		})
		target.Send("panic")
		synctest.Wait() // the restart is under way
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		require.NoError(t, target.Stop(ctx))
		require.Equal(t, 2, incarnations, "the stop has not come after the restart")
		shutdown(t, s)
	})
}
