package history

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
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

func TestAReaderGetsWhatNativeRemembers(t *testing.T) {
	w := newWorld(t)
	for _, v := range vectors.LoadAs[ringVector](t, vectors.Ring) {
		t.Run(v.ID, func(t *testing.T) {
			var frames []byte
			for _, line := range v.Writes {
				frames = appendFrame(frames, []byte(notEmpty(line.line)+"\n"), line.time)
			}
			w.log.Close()
			require.NoError(t, os.WriteFile(w.file(), frames, 0o600))
			w.start()
			w.dir.lines = v.Size
			r := w.begin(v.Query.Last, v.Query.Since)
			defer r.Close()
			var got []ringLine
			lines, missed := readAll(r)
			require.Zero(t, missed)
			for _, l := range lines {
				got = append(got, ringLine{l.Time, l.Text})
			}
			if v.Query.Since != nil && !v.Writes.inOrder() { // native misses lines behind a clock that was set back
				require.GreaterOrEqual(t, len(got), len(v.Result))
				got = got[len(got)-len(v.Result):]
			}
			require.Len(t, got, len(v.Result))
			for i := range got {
				require.Equal(t, notEmpty(v.Result[i].line), got[i].line)
				require.True(t, v.Result[i].time.Equal(got[i].time))
			}
		})
	}
}

// notEmpty stands for an empty line: neither of us keeps one.
func notEmpty(line string) string { return cmp.Or(line, "(empty)") }

func (w *world) begin(last *int, since *time.Time) *Reader {
	if last != nil {
		return w.log.FollowLast(*last)
	}
	return w.log.FollowSince(*since)
}

// TestSinceAClockThatWasSetBack tells every line that came after the first that is not older.
func TestSinceAClockThatWasSetBack(t *testing.T) {
	at := func(minute int) time.Time { return time.Unix(int64(60*minute), 0) }
	w := newWorld(t)
	for _, minute := range []int{10, 11, 12, 3, 4} { // it was set back by ten minutes
		w.clock.Store(at(minute).UnixNano())
		w.print(fmt.Sprintln(minute))
	}
	for minute, want := range map[int]string{0: "10 11 12 3 4", 5: "10 11 12 3 4", 11: "11 12 3 4", 12: "12 3 4", 13: ""} {
		r := w.log.FollowSince(at(minute))
		lines, _ := readAll(r)
		require.Equal(t, want, strings.Join(texts(lines), " "), minute)
		r.Close()
	}
}

func TestAReaderBeginsAnywhere(t *testing.T) {
	w := newWorld(t)
	require.True(t, w.log.Empty())
	for n := range 3 * Lines {
		w.print(fmt.Sprintln(n))
	}
	require.False(t, w.log.Empty())
	for n, want := range map[int]int{messages.MinInt: Lines, -1: Lines, 0: 0, 1: 1, Lines - 1: Lines - 1, Lines: Lines, Lines + 1: Lines, messages.MaxInt: Lines} {
		r := w.log.FollowLast(n)
		lines, missed := readAll(r)
		require.Zero(t, missed)
		require.Len(t, lines, want, n)
		r.Close()
	}
	from := w.log.FollowFrom(w.log.Next() - 2*Lines) // the file has more than the last lines
	defer from.Close()
	lines, missed := readAll(from)
	require.Zero(t, missed)
	require.Equal(t, fmt.Sprint(Lines), lines[0].Text)
	require.Len(t, lines, 2*Lines)
	require.Zero(t, w.log.FollowFrom(messages.MaxInt).Next()-w.log.Next(), "nothing begins behind the end")
}

// numbered is what a unikernel prints, from one number to another.
func numbered(from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&b, "line %d\n", n)
	}
	return b.String()
}

// A follower reads lines, or learns that it has missed some.
type follower struct {
	t    *testing.T
	next int // the number of the line that must come next
}

func (f *follower) read(lines []messages.ConsoleLine, missed int) {
	f.next += missed
	for _, line := range lines {
		if want := fmt.Sprintf("line %d", f.next); line.Text != want {
			require.Equal(f.t, want, line.Text)
		}
		f.next++
	}
}

// printMany prints numbered lines, as many as a number of bytes have.
func (w *world) printMany(from, bytes int) (to int) {
	for bytes > 0 {
		text := numbered(from, from+4000)
		w.print(text)
		from += 4000
		bytes -= len(text)
	}
	return from
}

// TestAReaderThatIsBehind gets all lines, though the file has been replaced often. When it has read
// them, or has left, only the file is left.
func TestAReaderThatIsBehind(t *testing.T) {
	w := newWorld(t)
	w.follow()
	other := w.log.FollowLast(0)
	n := w.printMany(0, 5*maxSize)
	require.Equal(t, []string{":hello"}, w.files())
	require.LessOrEqual(t, w.size(), int64(maxSize))

	f := follower{t: t}
	lines, missed := readAll(w.reader)
	require.Zero(t, missed)
	f.read(lines, missed)
	require.Equal(t, n, f.next)
	require.NotEmpty(t, w.log.behind.files, "the other one has read nothing")
	n = w.printMany(n, maxSize)
	f.read(w.heard(), 0)
	require.Equal(t, n, f.next)

	other.Close()
	require.Empty(t, w.log.behind.files)
	require.Zero(t, w.dir.backlog.bytes)
	w.printMany(n, 2*maxSize)
	require.NotEmpty(t, w.log.behind.files)
	w.log.Close()
	require.Zero(t, w.dir.backlog.bytes)
	lines, missed = readAll(w.reader)
	require.Empty(t, lines)
	require.Zero(t, missed)
	w.reader.Close()
}

// TestAReaderThatIsTooFarBehind learns exactly how many lines it has missed. What is kept for it has
// a bound.
func TestAReaderThatIsTooFarBehind(t *testing.T) {
	w := newWorld(t)
	w.dir.backlog.maxBehind = 3 * maxSize
	w.follow()
	before := descriptors(t)
	n := w.printMany(0, 6*maxSize)
	require.LessOrEqual(t, w.dir.backlog.bytes, w.dir.backlog.maxBehind)
	require.LessOrEqual(t, descriptors(t), before+3)
	f := follower{t: t}
	lines, missed := readAll(w.reader)
	require.NotZero(t, missed)
	require.Greater(t, len(lines), 2*maxSize/len("line 123456\n"), "the latest lines were kept")
	f.read(lines, missed)
	require.Equal(t, n, f.next)
}

func descriptors(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

// TestTheBacklogOfAllIsBounded: the console with most loses lines.
func TestTheBacklogOfAllIsBounded(t *testing.T) {
	w := newWorld(t)
	w.dir.backlog.maxAll = 4 * maxSize
	w.follow()
	w.printMany(0, 6*maxSize)
	large := w.log
	w.log = w.dir.Log(messages.Name{Label: "small"}, func(err error) { t.Error(err) })
	small := w.log.FollowLast(0)
	n := w.printMany(0, 2*maxSize)
	require.LessOrEqual(t, w.dir.backlog.bytes, w.dir.backlog.maxAll)
	lines, missed := readAll(small)
	require.Zero(t, missed)
	require.Len(t, lines, n)
	_, missed = readAll(w.reader)
	require.NotZero(t, missed)
	large.Close()
}

// TestTheBacklogLeavesRoomOnTheDisk: it takes no more than a part of what is free.
func TestTheBacklogLeavesRoomOnTheDisk(t *testing.T) {
	w := newWorldIn(t, smallDisk(t, "16m"))
	w.follow()
	w.printMany(0, 6*maxSize)
	require.NotZero(t, w.dir.backlog.bytes)
	require.LessOrEqual(t, w.dir.backlog.bytes, free(w.log.file)/2)
	require.Empty(t, w.faults)
}

// TestAFullDiskHasNoRoomForABacklog: what was kept for readers is given up, and what the unikernel
// prints next has room again.
func TestAFullDiskHasNoRoomForABacklog(t *testing.T) {
	mount := smallDisk(t, "16m")
	w := newWorldIn(t, mount)
	w.follow()
	n := w.printMany(0, 2*maxSize)
	require.NotZero(t, w.dir.backlog.bytes)
	fill(t, mount, 0)
	n = w.printMany(n, 8192)
	require.Zero(t, w.dir.backlog.bytes)
	require.True(t, w.log.Sync(), "there is room")
	lines, missed := readAll(w.reader)
	require.Equal(t, n, missed+len(lines))
	require.Equal(t, fmt.Sprintf("line %d", n-1), lines[len(lines)-1].Text)
}

// TestReadersBesideAFlood read while lines are taken, and while files are replaced and dropped: each
// gets every line, or learns that it has missed some.
func TestReadersBesideAFlood(t *testing.T) {
	w := newWorld(t)
	w.dir.backlog.maxBehind = 2 * maxSize
	const lines = 400_000
	var running sync.WaitGroup
	for range 3 {
		r := w.log.FollowLast(0)
		running.Go(func() {
			defer r.Close()
			for f := (follower{t: t}); f.next < lines; {
				f.read(r.Read(w.log.Next()))
			}
		})
	}
	running.Go(func() {
		for range 100 {
			w.log.FollowSince(time.Time{}).Close()
		}
	})
	for n := 0; n < lines; n += 4000 {
		w.print(numbered(n, n+4000))
	}
	running.Wait()
	require.Zero(t, w.dir.backlog.bytes)
}

// TestAReaderOfADamagedFile skips what somebody else has changed, and the log names it.
func TestAReaderOfADamagedFile(t *testing.T) {
	w := newWorld(t)
	w.print("one\n")
	w.follow()
	w.print("two\n")
	require.NoError(t, os.WriteFile(w.file(), make([]byte, w.size()), 0o600))
	lines, missed := readAll(w.reader)
	require.Empty(t, lines)
	require.Equal(t, 1, missed)
	require.Equal(t, []string{"cannot read history of console :hello: the file was changed by somebody else"}, w.faults)
	require.NoError(t, os.Truncate(w.file(), 0))
	w.print("three\n")
	_, missed = readAll(w.reader)
	require.Equal(t, 1, missed)
}
