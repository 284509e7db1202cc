package control_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/sockets/control"
)

// happened returns an event.
func happened(t require.TestingT, number uint64, kind messages.EventKind, of string, millis int64, cause messages.Public, exit ...messages.Exit) messages.DataEvent {
	e := messages.NewEvent(kind, name(t, of), time.UnixMilli(millis), cause)
	for _, x := range exit {
		e.Exit = messages.Some(x)
	}
	return messages.DataEvent{NumberedEvent: messages.NumberedEvent{Number: number, Event: e}}
}

// items returns the bytes of the items of streams. To change them is to change the protocol.
func items(t require.TestingT) map[string]messages.Payload {
	const (
		atSeen   = "04 c0 78 18 323032362d30312d30325430333a30343a30352e3637385a "
		atSecond = "04 c0 74    323032362d30312d30325430333a30343a30355a "
	)
	used := happened(t, 6, messages.EventExited, "b", second, "no", messages.Exit{})
	used.Event.Usage = messages.Some(messages.Usage{UserMicros: 300, MaxMemory: 2})
	return map[string]messages.Payload{
		"a6 01 62 3a62 " + atSecond + "05 06 06 66 657869746564 07 62 6e6f 0a a3 01 19 012c 02 00 03 02": used,
		"a6 01 63 613a62 02 18 3c " + atSeen + "05 01 06 66 657869746564 07 62 6e6f":                     happened(t, 1, messages.EventExited, "a:b", seen, "no", messages.Exit{Known: true, Code: 60}),
		"a6 01 62 3a62 03 09 " + atSecond + "05 19 012c 06 66 657869746564 07 62 6e6f":                   happened(t, 300, messages.EventExited, "b", second, "no", messages.Exit{Known: true, Signal: 9}),
		"a7 01 62 3a62 03 09 " + atSecond + "05 05 06 66 657869746564 07 62 6e6f 09 f5":                  happened(t, 5, messages.EventExited, "b", second, "no", messages.Exit{Known: true, Signal: 9, OutOfMemory: true}),
		"a5 01 62 3a62 " + atSeen + "05 02 06 66 657869746564 07 62 6e6f":                                happened(t, 2, messages.EventExited, "b", seen, "no", messages.Exit{}),
		"a4 01 61 3a " + atSeen + "05 03 06 6e 6461656d6f6e2d73746172746564":                             happened(t, 3, messages.EventDaemonStarted, ":", seen, ""),
		"a5 01 62 613a " + atSeen + "05 04 06 6c 706f6c6963792d6164646564 07 62 6e6f":                    happened(t, 4, messages.EventPolicyAdded, "a:", seen, "no"),
		"a1 08 05":                           messages.DataMissed{Count: 5},
		"a0":                                 messages.DataPresent{},
		"a1 00 63 c3bc 21":                   messages.Failure{Text: "ü!"},
		"a1 08 1b" + strings.Repeat("ff", 8): messages.DataMissed{Count: 1<<64 - 1},
	}
}

func TestStreamsAreTheseBytes(t *testing.T) {
	for golden, item := range items(t) {
		b, err := control.Append([]byte("before"), messages.Wire{Payload: item})
		require.NoError(t, err)
		require.Equal(t, append([]byte("before"), unhex(t, golden)...), b, "%v", item)

		back, err := control.NewStream(bytes.NewReader(unhex(t, golden))).Next()
		require.NoError(t, err)
		require.Equal(t, item, back)
	}
	b, err := control.Append([]byte("before"), messages.Wire{Payload: messages.SuccessEvents{}})
	require.NoError(t, err)
	require.Equal(t, "before", string(b), "the events are the answer")
}

// TestKinds: the words of the protocol do not change.
func TestKinds(t *testing.T) {
	for kind, word := range map[messages.EventKind]string{
		messages.EventDaemonStarted: "daemon-started", messages.EventCreated: "created", messages.EventStarted: "started",
		messages.EventAdopted: "adopted", messages.EventExited: "exited", messages.EventRestarting: "restarting",
		messages.EventStopped: "stopped", messages.EventDestroyed: "destroyed", messages.EventPolicyAdded: "policy-added",
		messages.EventPolicyChanged: "policy-changed", messages.EventPolicyRemoved: "policy-removed",
		messages.EventBlockCreated: "block-created", messages.EventBlockSet: "block-set", messages.EventBlockRemoved: "block-removed",
	} {
		require.Equal(t, word, string(kind))
	}
}

func TestStreamsArriveInAnyPieces(t *testing.T) {
	var all []byte
	var want []messages.Payload
	for golden, item := range items(t) {
		all = append(all, unhex(t, golden)...)
		want = append(want, item)
	}
	for what, arrives := range map[string]func(io.Reader) io.Reader{
		"at once":   func(r io.Reader) io.Reader { return r },
		"in pieces": iotest.OneByteReader,
		"with EOF":  iotest.DataErrReader,
	} {
		t.Run(what, func(t *testing.T) {
			s := control.NewStream(arrives(bytes.NewReader(all)))
			for _, item := range want {
				p, err := s.Next()
				require.NoError(t, err)
				require.Equal(t, item, p)
			}
			_, err := s.Next()
			require.Equal(t, io.EOF, err)
		})
	}
}

func TestStreamsThatAreCutOff(t *testing.T) {
	for golden := range items(t) {
		all := unhex(t, golden)
		for n := 1; n < len(all); n++ {
			_, err := control.NewStream(bytes.NewReader(all[:n])).Next()
			require.Equal(t, io.ErrUnexpectedEOF, err, "%d bytes of %s", n, golden)
		}
	}
}

func TestHostileStreams(t *testing.T) {
	const (
		kind = "06 61 78"
		when = "04 c0 74 323032362d30312d30325430333a30343a30355a"
	)
	for what, c := range map[string]struct {
		sent string
		says string
	}{
		"nothing that is known":   {"a1 18 63 00", "it is of no kind"},
		"no kind":                 {"a3 01 61 78 05 01 " + when, "it is of no kind"},
		"no time":                 {"a3 01 61 78 05 01 " + kind, "it has no time"},
		"no name":                 {"a3 05 01 " + kind + when, "empty name"},
		"a name that is none":     {"a4 01 61 2f 05 01 " + kind + when, "invalid name"},
		"both code and signal":    {"a6 01 61 78 02 01 03 01 05 01 " + kind + when, "both an exit code and a signal"},
		"signal 0":                {"a5 01 61 78 03 00 05 01 " + kind + when, "there is no signal 0"},
		"a negative number":       {"a4 01 61 78 05 20 " + kind + when, "cannot unmarshal"},
		"missing a negative":      {"a1 08 20", "cannot unmarshal"},
		"a kind of bytes":         {"a4 01 61 78 05 01 06 41 78" + when, "cannot unmarshal"},
		"a cause that is no text": {"a5 01 61 78 05 01 " + kind + "07 61 ff" + when, "invalid UTF-8"},
		"twice the same key":      {"a2 08 01 08 01", "duplicate"},
		"time without a tag":      {"a4 01 61 78 05 01 " + kind + "04 74 323032362d30312d30325430333a30343a30355a", "cannot unmarshal"},
		"less than nothing":       {"a5 01 61 78 05 01 " + kind + when + "0a a2 01 20 02 00", "less than nothing"},
		"a list":                  {"80", "cannot unmarshal"},
		"too long":                {"a2 00 5a 00010000", "more than 65536 bytes"},
		"too many keys":           {"ba 00010000", "more than 65536 bytes"},
		"indefinite":              {"bf ff", "indefinite"},
		"too deep":                {"a1 18 63 " + strings.Repeat("81", 10) + "00", "exceeded max nested level"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := control.NewStream(bytes.NewReader(append(unhex(t, c.sent), 0xa0))).Next()
			require.ErrorContains(t, err, c.says)
		})
	}
}

// TestUnknownInStreams: a newer daemon may send more keys, and other kinds.
func TestUnknownInStreams(t *testing.T) {
	p, err := control.NewStream(bytes.NewReader(unhex(t,
		"a6 01 61 78 04 c0 74 323032362d30312d30325430333a30343a30355a 05 01 06 63 6e6577 18 63 a1 61 61 f5 20 00"))).Next()
	require.NoError(t, err)
	require.Equal(t, happened(t, 1, "new", "x", second, ""), p)
}

// TestLargestEvent: an event with the longest path that can be stored has an encoding.
func TestLargestEvent(t *testing.T) {
	large := happened(t, 1<<64-1, messages.EventPolicyChanged, strings.Repeat("a:", 16383), seen, messages.Public(strings.Repeat("x", 1000)))
	b, err := control.Append(nil, messages.Wire{Payload: large})
	require.NoError(t, err)
	back, err := control.NewStream(bytes.NewReader(b)).Next()
	require.NoError(t, err)
	require.Equal(t, large, back)
}

func TestEventsThatAreToldAreRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := rapid.Custom(someEvent).Draw(t, "event")
		b, err := control.Append(nil, messages.Wire{Payload: e})
		require.NoError(t, err)
		back, err := control.NewStream(bytes.NewReader(b)).Next()
		require.NoError(t, err)
		require.Equal(t, e, back)
	})
}

func someEvent(t *rapid.T) messages.DataEvent {
	end := rapid.Custom(namedEnd).Draw(t, "end")
	e := happened(t, rapid.Uint64().Draw(t, "number"), messages.EventKind(rapid.StringMatching(`[a-z-]{1,20}`).Draw(t, "kind")),
		end.Name.String(), end.End.AtMillis, messages.Public(rapid.String().Draw(t, "cause")))
	if end.End.Exit.Known {
		e.Event.Exit = messages.Some(end.End.Exit)
	}
	e.Event.Usage = end.End.Usage
	return e
}

// FuzzStream: no bytes do harm, and what was decoded can be encoded.
func FuzzStream(f *testing.F) {
	for golden := range items(f) {
		f.Add(unhex(f, golden))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := control.NewStream(bytes.NewReader(b)).Next()
		if err != nil {
			return
		}
		if e, ok := p.(messages.DataEvent); ok {
			if year := e.Event.Time().Year(); year < 1 || year > 9999 {
				return // a time that cannot be encoded again
			}
		}
		again, err := control.Append(nil, messages.Wire{Payload: p})
		require.NoError(t, err)
		back, err := control.NewStream(bytes.NewReader(again)).Next()
		require.NoError(t, err)
		require.Equal(t, p, back)
	})
}
