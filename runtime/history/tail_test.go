package history

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// The written form of a tail yields the same tail again, and whatever comes next makes the same
// lines after both.
func TestFramesMakeTheSameTail(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var one, two tail
		if rapid.Bool().Draw(t, "full") {
			one.feed(bytes.Repeat([]byte("line\n"), Lines-3), epoch)
		}
		for i, text := range rapid.SliceOfN(output(), 0, 10).Draw(t, "before") {
			one.feed([]byte(text), epoch.Add(time.Duration(i/2)))
		}
		require.True(t, two.read(one.frames()))
		require.Equal(t, one.consoleLines(), two.consoleLines())

		for i, text := range rapid.SliceOfN(output(), 0, 3).Draw(t, "behind") {
			one.feed([]byte(text), epoch.Add(time.Duration(100+i)))
			two.feed([]byte(text), epoch.Add(time.Duration(100+i)))
		}
		require.Equal(t, one.consoleLines(), two.consoleLines())
	})
}

func TestATailRemembersTheLastLines(t *testing.T) {
	var all tail
	for i := range 3*Lines + 7 {
		all.feed([]byte{'a' + byte(i%26), '\n'}, epoch.Add(time.Duration(i)))
	}
	lines := all.consoleLines()
	require.Len(t, lines, Lines)
	require.Equal(t, epoch.Add(2*Lines+7), lines[0].Time)
	require.Equal(t, epoch.Add(3*Lines+6), lines[Lines-1].Time)
}

// A file has a third of the size at which it is replaced, whatever the lengths of its lines and the
// number of their times.
func TestFramesAreSmall(t *testing.T) {
	var all tail
	for i := range 2 * Lines {
		all.feed([]byte(strings.Repeat("x", 2*maxLine)+"\n"), epoch.Add(time.Duration(i)))
	}
	all.feed(bytes.Repeat([]byte("y"), maxLine-1), epoch)
	require.Less(t, len(all.frames()), maxSize*4/10)
}

// FuzzFrames reads any bytes as frames: the tail that they make can be written and read again.
func FuzzFrames(f *testing.F) {
	frame := appendFrame(nil, []byte("one\ntwo"), epoch)
	for _, seed := range [][]byte{nil, frame, frame[:len(frame)-1], append(frame, frame...), append(frame, "garbage, and more of it"...), make([]byte, 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var one, two tail
		whole := one.read(data)
		require.True(t, two.read(one.frames()))
		require.Equal(t, one.consoleLines(), two.consoleLines())
		if whole && len(one.lines) < Lines {
			require.LessOrEqual(t, len(one.lines), len(data))
		}
	})
}
