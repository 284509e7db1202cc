package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/sockets/client"
)

// TestNoLineIsLostOrRepeated: wherever a connection breaks off, also between lines of the same time.
func TestNoLineIsLostOrRepeated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var console []messages.DataConsole
		at := now
		for i := range rapid.IntRange(1, 20).Draw(t, "lines") {
			at = at.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "later")))
			console = append(console, messages.DataConsole{Time: at, Line: string(rune('a' + i))})
		}
		var behind place
		var seen []messages.DataConsole
		for len(seen) < len(console) {
			from := 0
			if s := behind.subscription(messages.ConsoleSubscribe{}); s.Since.OK {
				from = slices.IndexFunc(console, func(l messages.DataConsole) bool { return !l.Time.Before(s.Since.Value) })
			}
			broken := from + behind.skip + rapid.IntRange(1, 8).Draw(t, "new lines until it breaks off")
			for _, line := range console[from:min(len(console), broken)] {
				if behind.pass(line) {
					seen = append(seen, line)
				}
			}
		}
		require.Equal(t, console, seen)
	})
}

// TestKeepFollowing: only a connection that was closed is made again, and not for those who want
// native's output.
func TestKeepFollowing(t *testing.T) {
	gone, broken := error(client.ErrClosed), errors.New("broken")
	for name, c := range map[string]struct {
		format format
		errs   []error
		want   error
		calls  int
	}{
		"over":           {textFormat, []error{nil}, nil, 1},
		"broken":         {textFormat, []error{broken}, broken, 1},
		"native":         {nativeFormat, []error{gone}, gone, 1},
		"back":           {textFormat, []error{gone, nil}, nil, 2},
		"not yet back":   {textFormat, []error{gone, &client.ConnectError{}, client.ErrNoAnswer, nil}, nil, 4},
		"gone again":     {textFormat, []error{gone, gone, gone, broken}, broken, 4},
		"back, and over": {jsonFormat, []error{gone, broken}, broken, 2},
	} {
		t.Run(name, func(t *testing.T) {
			d := daemon{out: &printer{format: c.format, stderr: t.Output()}}
			calls := 0
			err := d.keepFollowing(t.Context(), func(context.Context) error {
				calls++
				return c.errs[calls-1]
			})
			require.Equal(t, c.want, err)
			require.Equal(t, c.calls, calls)
		})
	}
}
