package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/runtime/store"
)

// at returns an event at a time in milliseconds.
func at(millis int64) messages.PutEvent {
	return messages.PutEvent{Event: messages.NewEvent(messages.EventCreated, messages.Name{Label: "x"}, time.UnixMilli(millis), "a test")}
}

// putEvents stores events at these times, in one transaction.
func putEvents(t require.TestingT, db *store.DB, millis ...int64) {
	var changes []messages.Change
	for _, m := range millis {
		changes = append(changes, at(m))
	}
	require.NoError(t, db.Apply(changes))
}

// upTo returns the numbers from 1 to n.
func upTo(n int) []int64 {
	list := make([]int64, n)
	for i := range list {
		list[i] = int64(i + 1)
	}
	return list
}

func last(t *testing.T, db *store.DB) uint64 {
	t.Helper()
	last, err := db.LastEvent()
	require.NoError(t, err)
	return last
}

func events(t *testing.T, db *store.DB, from uint64, limit int) (list []messages.NumberedEvent, next uint64) {
	t.Helper()
	list, next, err := db.Events(from, limit)
	require.NoError(t, err)
	return list, next
}

func TestEventsAreThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	require.Zero(t, last(t, db))
	list, next := events(t, db, 1, 10)
	require.Empty(t, list)
	require.Equal(t, uint64(1), next)

	exited := messages.NewEvent(messages.EventExited, name(t, "a:b:x"), time.UnixMilli(7), "it ended by itself")
	exited.Exit = messages.Some(messages.Exit{Known: true, Signal: 9})
	policy := messages.NewEvent(messages.EventPolicyAdded, name(t, "a:b:"), time.UnixMilli(-8), "")
	require.NoError(t, db.Apply([]messages.Change{
		messages.PutPolicy{Path: "a:b"}, messages.PutEvent{Event: exited}, messages.PutEvent{Event: policy},
	}))
	require.NoError(t, db.Close())
	db = open(t, dir)
	require.Equal(t, uint64(2), last(t, db))
	list, next = events(t, db, 1, 10)
	require.Equal(t, []messages.NumberedEvent{{Number: 1, Event: exited}, {Number: 2, Event: policy}}, list)
	require.Equal(t, uint64(3), next)
	require.Equal(t, "1970-01-01T00:00:00.007Z", list[0].Event.Time().Format(time.RFC3339Nano))
	putEvents(t, db, 1)
	require.Equal(t, uint64(3), last(t, db), "numbers go on")
}

// TestEventsAndChangesAreOne: there is no change without its event, and no event
// without its change.
func TestEventsAndChangesAreOne(t *testing.T) {
	db := open(t, t.TempDir())
	orphan := messages.PutRuntime{Name: name(t, "hello"), Runtime: runs(5)}
	require.Error(t, db.Apply([]messages.Change{at(1), orphan}))
	require.Zero(t, last(t, db))
	putEvents(t, db, 2)
	list, _ := events(t, db, 1, 10)
	require.Len(t, list, 1)
	require.Equal(t, uint64(1), list[0].Number, "a number that was taken back is used again")
}

// TestEventsOfAFailedCommitComeOnce: it is in the file all the same, and whoever asked for it may ask
// again, or find that it is there.
func TestEventsOfAFailedCommitComeOnce(t *testing.T) {
	db := open(t, t.TempDir())
	require.NoError(t, db.Apply(happened("again", messages.EventStarted)))
	require.NoError(t, db.FailAfter(happened("again", messages.EventExited, messages.EventDestroyed)))
	require.NoError(t, db.FailAfter(happened("found", messages.EventStarted)))
	require.NoError(t, db.Apply(happened("other", messages.EventCreated)))
	require.NoError(t, db.Apply(happened("again", messages.EventExited, messages.EventDestroyed)))
	require.NoError(t, db.Apply(happened("found", messages.EventExited, messages.EventStarted)))
	require.NoError(t, db.Apply(happened("again", messages.EventCreated)))
	require.Equal(t, []string{
		"again started", "again exited", "again destroyed", "found started", "other created",
		"found exited", "found started", "again created",
	}, eventTexts(t, db))
}

// TestEventsOfSeveralFailedCommitsComeOnce: some are asked for again by a commit that fails, too, and is
// in the file or not, and then once more.
func TestEventsOfSeveralFailedCommitsComeOnce(t *testing.T) {
	for _, lands := range []bool{true, false} {
		t.Run(fmt.Sprintf("the second lands %t", lands), func(t *testing.T) {
			db := open(t, t.TempDir())
			fail := func(changes []messages.Change) {
				if lands {
					require.NoError(t, db.FailAfter(changes))
					return
				}
				orphan := messages.PutRuntime{Name: name(t, "orphan"), Runtime: runs(5)}
				require.Error(t, db.Apply(append(changes, orphan)))
			}
			require.NoError(t, db.FailAfter(happened("gone", messages.EventAdopted, messages.EventExited, messages.EventDestroyed)))
			require.NoError(t, db.FailAfter(happened("runs", messages.EventAdopted)))
			require.NoError(t, db.FailAfter(happened("other", messages.EventStarted, messages.EventExited)))
			again := slices.Concat(
				happened("gone", messages.EventAdopted), happened("runs", messages.EventAdopted, messages.EventExited),
				happened("other", messages.EventStarted, messages.EventAdopted))
			fail(again)
			fail(again)
			require.NoError(t, db.Apply(again))
			require.Equal(t, []string{
				"gone adopted", "gone exited", "gone destroyed", "runs adopted", "other started", "other exited",
				"runs exited", "other adopted",
			}, eventTexts(t, db))
		})
	}
}

func happened(name messages.Label, kinds ...messages.EventKind) (changes []messages.Change) {
	for _, kind := range kinds {
		changes = append(changes, messages.Happened(time.Now(), kind, messages.Name{Label: name}, ""))
	}
	return changes
}

// eventTexts returns all events, each with the label of its name and its kind.
func eventTexts(t *testing.T, db *store.DB) (texts []string) {
	list, _ := events(t, db, 1, 100)
	for _, e := range list {
		texts = append(texts, fmt.Sprint(e.Event.Name.Label, " ", e.Event.Kind))
	}
	return texts
}

func TestTheNewestEventsAreKept(t *testing.T) {
	db := open(t, t.TempDir())
	const more = 25
	putEvents(t, db, upTo(store.MaxEvents-1)...)
	putEvents(t, db, store.MaxEvents)
	list, _ := events(t, db, 1, 1)
	require.Equal(t, uint64(1), list[0].Number, "as many as are kept")
	for i := range int64(more) {
		putEvents(t, db, store.MaxEvents+1+i)
	}
	require.Equal(t, uint64(store.MaxEvents+more), last(t, db))
	kept := 0
	for next := uint64(1); ; {
		list, after := events(t, db, next, 1000)
		if len(list) == 0 {
			break
		}
		for i, e := range list {
			require.Equal(t, uint64(more+1+kept+i), e.Number)
			require.Equal(t, int64(e.Number), e.Event.AtMillis)
		}
		kept += len(list)
		next = after
	}
	require.Equal(t, store.MaxEvents, kept)
}

// TestManyEventsAtOnce: the limit holds even for the events of one transaction.
func TestManyEventsAtOnce(t *testing.T) {
	db := open(t, t.TempDir())
	putEvents(t, db, upTo(store.MaxEvents+7)...)
	list, next := events(t, db, 1, store.MaxEvents+7)
	require.Equal(t, uint64(8), list[0].Number)
	require.Equal(t, list[len(list)-1].Number+1, next)
}

func TestFindEvents(t *testing.T) {
	for what, c := range map[string]struct {
		times []int64
		since int64
		first uint64
	}{
		"none":                           {nil, 5, 1},
		"all":                            {[]int64{10, 20, 30}, 5, 1},
		"at that very time":              {[]int64{10, 20, 30}, 20, 2},
		"between":                        {[]int64{10, 20, 30}, 21, 3},
		"only what is to come":           {[]int64{10, 20, 30}, 31, 4},
		"before 1970":                    {[]int64{-10, 20}, -11, 1},
		"the clock was set back":         {[]int64{10, 90, 20, 30}, 25, 2},
		"the clock was set back further": {[]int64{80, 90, 20, 30}, 25, 1},
		"the clock was set forward":      {[]int64{10, 20, 90, 91}, 25, 3},
	} {
		t.Run(what, func(t *testing.T) {
			db := open(t, t.TempDir())
			putEvents(t, db, c.times...)
			first, last, err := db.FindEvents(c.since)
			require.NoError(t, err)
			require.Equal(t, c.first, first)
			require.Equal(t, uint64(len(c.times)), last)
		})
	}
}

// TestDamagedEventsAreMissed: an event that cannot be decoded harms no other.
func TestDamagedEventsAreMissed(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	putEvents(t, db, upTo(5)...)
	require.NoError(t, db.Close())
	alter(t, dir, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("events"))
		require.NoError(t, b.Put([]byte{0, 0, 0, 0, 0, 0, 0, 2}, []byte{0xff}))
		require.NoError(t, b.Put([]byte{0, 0, 0, 0, 0, 0, 0, 2, 1}, []byte{0xa0}))
		return b.Put([]byte{0, 0, 0, 0, 0, 0, 0, 5}, []byte("no CBOR"))
	})
	db = open(t, dir)
	list, next := events(t, db, 1, 10)
	require.Equal(t, []uint64{1, 3, 4}, numbers(list))
	require.Equal(t, uint64(5), next)
	list, next = events(t, db, 2, 2)
	require.Equal(t, []uint64{3, 4}, numbers(list))
	require.Equal(t, uint64(5), next)
	require.Len(t, db.Aside, 3)
	first, _, err := db.FindEvents(2)
	require.NoError(t, err)
	require.Equal(t, uint64(3), first)
	load(t, db)
	putEvents(t, db, upTo(store.MaxEvents)...)
	require.Equal(t, uint64(store.MaxEvents+4), last(t, db), "the number of the last one is given again")
}

func numbers(list []messages.NumberedEvent) (numbers []uint64) {
	for _, e := range list {
		numbers = append(numbers, e.Number)
	}
	return numbers
}

// TestLargeEventsComeInSmallParts: a batch takes little memory, whatever is in it.
func TestLargeEventsComeInSmallParts(t *testing.T) {
	db := open(t, t.TempDir())
	large := at(1)
	large.Event.Name = messages.Name{Path: messages.Path(strings.Repeat("a:", 10_000) + "a")}
	for range 20 {
		require.NoError(t, db.Apply([]messages.Change{large}))
	}
	list, next := events(t, db, 1, 256)
	require.Len(t, list, 4)
	require.Equal(t, uint64(5), next)
	require.Equal(t, large.Event, list[3].Event)
}

// TestEventsAreAQueue: whatever is stored and read, in whatever portions, each reader gets every
// event once and in order, except those that are no longer kept.
func TestEventsAreAQueue(t *testing.T) {
	db := open(t, t.TempDir())
	stored := int(last(t, db))
	rapid.Check(t, func(t *rapid.T) {
		next := uint64(stored + 1)
		for range rapid.IntRange(1, 5).Draw(t, "rounds") {
			n := rapid.SampledFrom([]int{0, 1, 3, 300, store.MaxEvents + 1}).Draw(t, "stored")
			putEvents(t, db, upTo(n)...)
			stored += n
			list, after, err := db.Events(next, rapid.IntRange(1, 500).Draw(t, "limit"))
			require.NoError(t, err)
			oldest := max(next, uint64(max(0, stored-store.MaxEvents))+1)
			for i, e := range list {
				require.Equal(t, oldest+uint64(i), e.Number)
			}
			require.Equal(t, oldest <= uint64(stored), len(list) > 0)
			if len(list) > 0 {
				require.Equal(t, list[len(list)-1].Number+1, after)
			} else {
				require.Equal(t, next, after)
			}
			next = after
		}
	})
}

func TestClosedDatabaseHasNoEvents(t *testing.T) {
	db := open(t, t.TempDir())
	require.NoError(t, db.Close())
	_, err := db.LastEvent()
	require.ErrorContains(t, err, "not open")
	_, _, err = db.FindEvents(0)
	require.ErrorContains(t, err, "not open")
	_, _, err = db.Events(1, 1)
	require.ErrorContains(t, err, "not open")
}

// BenchmarkEvents measures a commit with an event in it, when as many are kept as possible. The
// metric x-without shows how many times as long it takes as one without.
func BenchmarkEvents(b *testing.B) {
	db, err := store.Open(b.TempDir())
	require.NoError(b, err)
	defer db.Close()
	putEvents(b, db, upTo(store.MaxEvents)...)
	commit := func(n int, more ...messages.Change) time.Duration {
		begin := time.Now()
		put := messages.PutSpec{Name: messages.Name{Label: messages.Label(fmt.Sprint("x", n%100))}, Spec: spec(n)}
		require.NoError(b, db.Apply(append(more, put)))
		return time.Since(begin)
	}
	var without, with time.Duration
	for n := 0; b.Loop(); n++ {
		without += commit(n)
		with += commit(n, at(1))
	}
	b.ReportMetric(float64(with)/float64(without), "x-without")
	b.ReportMetric(float64(with.Microseconds())/float64(b.N), "us-with")
}
