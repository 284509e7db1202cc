package fair

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTurns: a tenant with one piece of work does not wait for all the work of another one.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(1)
		var mu sync.Mutex
		var order []string
		var working sync.WaitGroup
		piece := func(tenant string) {
			working.Go(func() {
				err := w.Do(t.Context(), tenant, func() {
					time.Sleep(time.Second) // of virtual time
					mu.Lock()
					defer mu.Unlock()
					order = append(order, tenant)
				})
				if err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // it works, or waits
		}
		for range 4 {
			piece("greedy")
		}
		piece("bob")
		piece("carl")
		piece("bob")
		working.Wait()
		require.Equal(t, []string{"greedy", "greedy", "bob", "carl", "greedy", "bob", "greedy"}, order)
	})
}

// TestWhoGivesUp leaves nothing behind, at whichever moment.
func TestWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 3
		w := New(places)
		gaveUp := errors.New("gave up")
		var working sync.WaitGroup
		for range 2000 {
			tenant := string(rune('a' + rand.IntN(5)))
			after, takes := time.Duration(rand.IntN(50))*time.Millisecond, time.Duration(rand.IntN(10))*time.Millisecond
			working.Go(func() {
				ctx, cancel := context.WithCancelCause(t.Context())
				timer := time.AfterFunc(after, func() { cancel(gaveUp) })
				defer timer.Stop()
				done := false
				err := w.Do(ctx, tenant, func() { time.Sleep(takes); done = true })
				if done != (err == nil) || err != nil && !errors.Is(err, gaveUp) {
					t.Errorf("done: %t, error: %v", done, err)
				}
				cancel(nil)
			})
		}
		working.Wait()
		require.Equal(t, places, w.free)
		require.Empty(t, w.waiting)
		require.Empty(t, w.turns)
	})
}

// TestPlaces: there is never more work under way than there are places.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 4
		w := New(places)
		var mu sync.Mutex
		now, most := 0, 0
		var working sync.WaitGroup
		for range 100 {
			working.Go(func() {
				_ = w.Do(t.Context(), "a", func() {
					mu.Lock()
					now++
					most = max(most, now)
					mu.Unlock()
					time.Sleep(time.Millisecond)
					mu.Lock()
					now--
					mu.Unlock()
				})
			})
		}
		working.Wait()
		require.Equal(t, places, most)
	})
}
