package main

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// A lineRecorder notes what is printed.
type lineRecorder struct {
	texts  []string
	failed error
}

func (p *lineRecorder) print(l messages.DataConsole) error {
	p.texts = append(p.texts, l.Line)
	return p.failed
}

// linesAt returns the lines from number n to m, which were printed in these seconds.
func linesAt(n, m int) (lines []messages.DataConsole) {
	for ; n <= m; n++ {
		lines = append(lines, messages.DataConsole{Time: time.Unix(int64(n), 0), Line: strconv.Itoa(n)})
	}
	return lines
}

func addAll(t *testing.T, b *beginning, lines []messages.DataConsole) {
	for _, l := range lines {
		require.NoError(t, b.add(l))
	}
}

func TestTheEndOfTheLastRunIsBeforeTheRun(t *testing.T) {
	p := &lineRecorder{}
	b := &beginning{start: time.Unix(100, 0), few: 3, print: p.print}
	addAll(t, b, linesAt(1, 99))
	require.Empty(t, p.texts)
	addAll(t, b, linesAt(100, 104))
	require.Equal(t, []string{"97", "98", "99", "100", "101", "102", "103", "104"}, p.texts)
	addAll(t, b, linesAt(5, 5)) // the clock was set back
	require.NoError(t, b.end())
	require.Equal(t, "5", p.texts[8])
	require.Len(t, p.texts, 9)
}

func TestARunThatPrintsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &lineRecorder{}
		b := &beginning{start: time.Unix(100, 0), few: 2, print: p.print}
		addAll(t, b, linesAt(1, 3))
		time.Sleep(historyPause - 1)
		synctest.Wait()
		require.Empty(t, p.texts)
		addAll(t, b, linesAt(4, 5)) // these lines come slowly
		time.Sleep(historyPause)
		synctest.Wait()
		require.Equal(t, []string{"4", "5"}, p.texts)
		addAll(t, b, linesAt(6, 6))
		require.NoError(t, b.end())
		require.Equal(t, []string{"4", "5", "6"}, p.texts)
	})
}

func TestTheEndOfAStreamReleasesLines(t *testing.T) {
	p := &lineRecorder{failed: errors.New("full")}
	b := &beginning{start: time.Unix(100, 0), few: 2, print: p.print}
	require.NoError(t, b.end())
	b = &beginning{start: time.Unix(100, 0), few: 2, print: p.print}
	addAll(t, b, linesAt(1, 3))
	require.ErrorIs(t, b.end(), p.failed)
	require.Equal(t, []string{"2", "3"}, p.texts)
}

func TestWithoutAStartAllIsPrinted(t *testing.T) {
	p := &lineRecorder{}
	b := &beginning{few: 1, print: p.print}
	addAll(t, b, linesAt(1, 5))
	require.Len(t, p.texts, 5)
}
