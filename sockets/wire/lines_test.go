package wire_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/sockets/wire"
)

// TestLinesAreMessages: lines that are encoded together are the messages of each.
func TestLinesAreMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := message().Draw(t, "message")
		p := messages.DataLines{Old: rapid.Bool().Draw(t, "old")}
		want := []byte("before")
		for range rapid.IntRange(0, 5).Draw(t, "lines") {
			l := messages.ConsoleLine{
				Time: time.UnixMilli(rapid.Int64Range(0, 3).Draw(t, "milliseconds") * 500).UTC(),
				Text: rapid.StringN(0, 700, -1).Draw(t, "text"),
			}
			p.Lines = append(p.Lines, l)
			m.Payload = messages.DataConsole{Old: p.Old, Time: l.Time, Line: l.Text}
			var err error
			want, err = wire.AppendFrame(want, m)
			require.NoError(t, err)
		}
		got, err := wire.AppendLines([]byte("before"), m.Header, p)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func TestLinesOfNoTime(t *testing.T) {
	p := messages.DataLines{Lines: []messages.ConsoleLine{{Time: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}}}
	_, err := wire.AppendLines(nil, header(), p)
	require.ErrorContains(t, err, "the year has more than four digits")
	_, err = wire.AppendLines(nil, messages.Header{}, p)
	require.ErrorContains(t, err, "unknown version")
}
