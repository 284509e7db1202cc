package console

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/history"
	"albatross/test/vectors"
)

// A ringVector is what native albatross remembers.
type ringVector struct {
	ID     string
	Size   int
	Writes writes
	Query  struct {
		Last  *int
		Since *time.Time
	}
	Result []ringLine
}

type ringLine struct {
	time time.Time
	line string
}

func (r *ringLine) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&r.time, (*vectors.Text)(&r.line)})
}

// writes are told one by one, or by a rule.
type writes []ringLine

func (w writes) inOrder() bool {
	return slices.IsSortedFunc(w, func(a, b ringLine) int { return a.time.Compare(b.time) })
}

func (w *writes) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, (*[]ringLine)(w)) == nil {
		return nil
	}
	var rule struct {
		Count  int
		Start  time.Time
		StepMS int `json:"step_ms"`
		Line   string
	}
	err := json.Unmarshal(b, &rule)
	for i := range rule.Count {
		line := strings.Replace(rule.Line, "%d (from 0)", fmt.Sprint(i), 1)
		*w = append(*w, ringLine{rule.Start.Add(time.Duration(i*rule.StepMS) * time.Millisecond), line})
	}
	return err
}

func TestRingRemembersWhatNativeDoes(t *testing.T) {
	for _, v := range vectors.LoadAs[ringVector](t, vectors.Ring) {
		t.Run(v.ID, func(t *testing.T) {
			r := newRing(v.Size, 7)
			for _, w := range v.Writes {
				r.add(messages.ConsoleLine{Time: w.time, Text: w.line})
			}
			start := 0
			if v.Query.Last != nil {
				start = r.last(*v.Query.Last)
			} else {
				start = r.since(*v.Query.Since)
			}
			lines, missed := r.from(start, v.Size)
			require.Zero(t, missed)
			var got []ringLine
			for _, l := range lines {
				got = append(got, ringLine{l.Time, l.Text})
			}
			if v.Query.Since != nil && !v.Writes.inOrder() { // native misses lines behind a clock that was set back
				require.GreaterOrEqual(t, len(got), len(v.Result))
				got = got[len(got)-len(v.Result):]
			}
			require.Len(t, got, len(v.Result))
			for i := range got {
				require.Equal(t, v.Result[i].line, got[i].line)
				require.True(t, v.Result[i].time.Equal(got[i].time))
			}
		})
	}
}

func TestRingTellsWhatAReaderHasMissed(t *testing.T) {
	r := newRing(4, 7)
	next := r.last(10)
	for i := range 10 {
		r.add(messages.ConsoleLine{Text: fmt.Sprint(i)})
	}
	lines, missed := r.from(next, 3)
	require.Equal(t, 6, missed)
	require.Equal(t, []messages.ConsoleLine{{Text: "6"}, {Text: "7"}, {Text: "8"}}, lines)
}

func TestRingSkips(t *testing.T) {
	lines := func(from, to int) (list []messages.ConsoleLine) {
		for i := from; i < to; i++ {
			list = append(list, messages.ConsoleLine{Text: fmt.Sprint(i)})
		}
		return list
	}
	r := newRing(4, 0)
	r.take(history.Taken{Lines: lines(0, 3)})
	r.take(history.Taken{Skipped: 7, Lines: lines(10, 14)})
	r.take(history.Taken{Lines: lines(14, 15)})
	got, missed := r.from(2, 100)
	require.Equal(t, 9, missed)
	require.Equal(t, lines(11, 15), got)
}

func TestRingTakesAnyNumber(t *testing.T) {
	r := newRing(4, 7)
	for range 9 {
		r.add(messages.ConsoleLine{})
	}
	for _, n := range []int{messages.MinInt, -1, 0, 3, 4, 5, messages.MaxInt} {
		lines, _ := r.from(r.last(n), 1<<30)
		require.LessOrEqual(t, len(lines), 4)
	}
}

// TestSinceAClockThatWasSetBack tells every line that came after the first that is
// not older.
func TestSinceAClockThatWasSetBack(t *testing.T) {
	at := func(minute int) time.Time { return time.Unix(int64(60*minute), 0) }
	r := newRing(5, 1)
	for _, minute := range []int{0, 1, 10, 11, 12, 3, 4} { // it was set back by ten minutes
		r.add(messages.ConsoleLine{Time: at(minute), Text: fmt.Sprint(minute)})
	}
	for minute, want := range map[int]string{0: "10 11 12 3 4", 5: "10 11 12 3 4", 11: "11 12 3 4", 12: "12 3 4", 13: ""} {
		lines, _ := r.from(r.since(at(minute)), 10)
		var told []string
		for _, l := range lines {
			told = append(told, l.Text)
		}
		require.Equal(t, want, strings.Join(told, " "), minute)
	}
}
