package control_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/sockets/control"
)

func TestRequests(t *testing.T) {
	for what, c := range map[string]struct {
		sent    string
		refused string // the text of the error; empty if the request is accepted
	}{
		"keys in another order": {"a3 03 61 3a 02 64 656e6473 01 01", ""},
		"no name":               {"a2 0101 02 64 656e6473", ""},
		"no name but null":      {"a3 0101 02 64 656e6473 03 f6", ""},
		"a time for nothing":    {"a3 0101 02 64 656e6473 04 c1 00", ""},
		"long forms":            {"b8 02 1801 1b0000000000000001 02 78 04 656e6473", ""},
		"tagged as CBOR":        {"d9 d9f7 a2 0101 02 64 656e6473", ""},
		"unknown keys": {"a6 0101 02 64 656e6473 05 82 01 a1 61 78 fb 3ff0000000000000" +
			" 20 f5 61 31 02 1a ffffffff 43 414243", ""},

		"nothing in it":      {"a0", "its version is 0, and only 1 is known here"},
		"null":               {"f6", "its version is 0"},
		"a later version":    {"a2 0102 02 64 656e6473", "its version is 2, and only 1 is known here"},
		"a negative version": {"a2 0120 02 64 656e6473", "its version is -1"},
		"a large version":    {"a2 01 1bffffffffffffffff 02 64 656e6473", "cannot unmarshal"},
		"a version of text":  {"a2 01 61 31 02 64 656e6473", "cannot unmarshal"},
		"a true version":     {"a2 01 f5 02 64 656e6473", "cannot unmarshal"},
		"a float version":    {"a2 01 f9 3c00 02 64 656e6473", "cannot unmarshal"},
		"no request":         {"a1 0101", `nothing known here is called ""`},
		"another request":    {"a2 0101 02 65 7761746368", `nothing known here is called "watch"`},
		"a bytes request":    {"a2 0101 02 44 656e6473", "cannot unmarshal"},
		"keys of text":       {"a2 61 31 01 61 32 64 656e6473", "its version is 0"},
		"twice the same key": {"a3 0101 02 64 656e6473 01 01", "duplicate"},
		"no UTF-8":           {"a2 0101 02 64 ff6e6473", "invalid UTF-8"},
		"a bad name":         {"a3 0101 02 64 656e6473 03 61 2f", "invalid name"},
		"an empty name":      {"a3 0101 02 64 656e6473 03 60", "empty name"},
		"a time of text":     {"a3 0101 02 64 656e6473 04 61 78", "cannot unmarshal"},
		"a time that is bad": {"a3 0101 02 64 656e6473 04 c0 61 78", "cannot parse"},
		"a list of labels":   {"a3 0101 02 64 656e6473 03 81 61 78", "cannot unmarshal"},
		"a list":             {"82 01 64 656e6473", "cannot unmarshal"},
		"text":               {"64 656e6473", "cannot unmarshal"},
		"a number":           {"01", "cannot unmarshal"},
		"a simple value":     {"f8 ff", "cannot unmarshal"},
		"no simple value":    {"f8 01", "invalid simple value"},
		"deeply nested":      {strings.Repeat("81", 100) + "01", "exceeded max nested level"},
		"deep in a new key":  {"a3 0101 02 64 656e6473 04" + strings.Repeat("81", 8) + "01", "exceeded max nested level"},
		"tags upon tags":     {strings.Repeat("c6", 100) + "01", "exceeded max nested level"},
	} {
		t.Run(what, func(t *testing.T) {
			r := bytes.NewReader(unhex(t, c.sent))
			m, err := control.Read(r, control.MaxItem)
			require.NoError(t, err)
			require.Zero(t, r.Len(), "it is read to its end")
			if c.refused == "" {
				require.Equal(t, messages.Wire{Payload: messages.EndList{}}, m)
				return
			}
			require.IsType(t, messages.BadRequest{}, m.Payload)
			why := m.Payload.(messages.BadRequest).Why
			require.Contains(t, why, "cannot understand the request: ")
			require.Contains(t, why, c.refused)
		})
	}
}

// TestNoRequests: an item is not read further once its end is known to be too far, or not to be
// known.
func TestNoRequests(t *testing.T) {
	long := "58 20" + strings.Repeat("00", 32)
	for what, c := range map[string]struct {
		sent string
		read int // how many bytes show that
		says string
	}{
		"indefinite map":     {"bf 01 01 ff", 1, "indefinite"},
		"indefinite list":    {"9f ff", 1, "indefinite"},
		"indefinite text":    {"a1 02 7f 61 65 ff", 3, "indefinite"},
		"indefinite bytes":   {"5f 41 00 ff", 1, "indefinite"},
		"a break":            {"ff", 1, "not valid"},
		"reserved":           {"1c", 1, "not valid"},
		"an indefinite tag":  {"df 01", 1, "not valid"},
		"one byte too many":  {long, 2, "more than 33 bytes"},
		"too many keys":      {"b8 20", 2, "more than 33 bytes"},
		"too many elements":  {"98 20", 2, "more than 33 bytes"},
		"a promise of 4 GB":  {"5a ffffffff", 5, "more than 33 bytes"},
		"all there are":      {"bb ffffffffffffffff", 9, "more than 33 bytes"},
		"half of all":        {"bb 8000000000000000", 9, "more than 33 bytes"},
		"a list after lists": {"9a 00000010" + strings.Repeat("98 0a", 14), 25, "more than 33 bytes"},
	} {
		t.Run(what, func(t *testing.T) {
			sent := unhex(t, c.sent)
			r := bytes.NewReader(append(sent, make([]byte, 100)...))
			_, err := control.Read(r, 33)
			require.ErrorContains(t, err, c.says)
			require.Equal(t, c.read, len(sent)+100-r.Len(), "bytes read")
		})
	}
	_, err := control.Read(bytes.NewReader(unhex(t, long)), 34)
	require.NoError(t, err)
}

func TestLargestRequest(t *testing.T) {
	request := unhex(t, "a3 0101 02 64 656e6473 05 59 0ff3")
	request = append(request, make([]byte, 0xff3)...)
	require.Equal(t, control.MaxItem, len(request))
	m, err := control.Read(bytes.NewReader(request), control.MaxItem)
	require.NoError(t, err)
	require.Equal(t, messages.EndList{}, m.Payload)
	_, err = control.Read(bytes.NewReader(request), control.MaxItem-1)
	require.ErrorContains(t, err, "more than 4095 bytes")
}

func TestLongNamesOfRequestsAreToldInShort(t *testing.T) {
	request := append(unhex(t, "a2 0101 02 79 0ff0"), bytes.Repeat([]byte{'"'}, 0xff0)...)
	m, err := control.Read(bytes.NewReader(request), control.MaxItem)
	require.NoError(t, err)
	require.Less(t, len(m.Payload.(messages.BadRequest).Why), 200)
}

func TestAnswers(t *testing.T) {
	for what, c := range map[string]struct {
		sent string
		says string
	}{
		"neither end nor failure": {"a1 05 00", "empty name"},
		"a name that is none":     {"a2 01 61 2f 05 00", "invalid name"},
		"both code and signal":    {"a4 01 61 78 02 01 03 01 05 00", "both an exit code and a signal"},
		"signal 0":                {"a3 01 61 78 03 00 05 00", "there is no signal 0"},
		"a code of text":          {"a3 01 61 78 02 61 31 05 00", "cannot unmarshal"},
		"time without a tag":      {"a3 01 61 78 04 74 323032362d30312d30325430333a30343a30355a 05 00", "cannot unmarshal"},
		"time that is none":       {"a3 01 61 78 04 c0 61 78 05 00", "cannot parse"},
		"a failure of bytes":      {"a1 00 41 78", "cannot unmarshal"},
		"a list":                  {"80", "cannot unmarshal"},
		"too long":                {"a2 00 59 1000", "more than 4096 bytes"},
		"indefinite":              {"bf ff", "indefinite"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := control.ReadAnswer(bytes.NewReader(append(unhex(t, c.sent), 0xa0)))
			require.ErrorContains(t, err, c.says)
		})
	}
}

// TestUnknownKeysOfAnswers: a newer daemon may send more of them.
func TestUnknownKeysOfAnswers(t *testing.T) {
	p, err := control.ReadAnswer(bytes.NewReader(unhex(t, "a4 01 61 78 02 07 05 00 17 a1 61 61 f5  a0")))
	require.NoError(t, err)
	require.Equal(t, messages.SuccessEnds{List: []messages.NamedEnd{
		{Name: name(t, "x"), End: messages.End{Exit: messages.Exit{Known: true, Code: 7}}},
	}}, p)
}

func TestWhatIsToldIsWhatIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(namedEnd), 0, 20).Draw(t, "ends")
		if len(list) == 0 {
			list = nil
		}
		b, err := control.Append(nil, messages.Wire{Payload: messages.SuccessEnds{List: list}})
		require.NoError(t, err)
		back, err := control.ReadAnswer(bytes.NewReader(b))
		require.NoError(t, err)
		require.Equal(t, messages.SuccessEnds{List: list}, back)
	})
}

func namedEnd(t *rapid.T) messages.NamedEnd {
	e := messages.NamedEnd{Name: name(t, rapid.StringMatching(`([a-z0-9.][a-z0-9-]{0,5}:){0,3}[a-z0-9]{1,8}|:`).Draw(t, "name"))}
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		return e
	case 1:
		e.End.Exit = messages.Exit{Known: true, Code: rapid.IntRange(0, 255).Draw(t, "code")}
	case 2:
		e.End.Exit = messages.Exit{Known: true, Signal: rapid.IntRange(1, 64).Draw(t, "signal")}
	}
	e.End.AtMillis = rapid.Int64Range(1, 250_000_000_000_000).Draw(t, "at")
	e.End.Restarts = rapid.IntRange(0, 1<<40).Draw(t, "restarts")
	if rapid.Bool().Draw(t, "is stopped") {
		e.StoppedMillis = rapid.Int64Range(1, 250_000_000_000_000).Draw(t, "stopped at")
	}
	if rapid.Bool().Draw(t, "usage is known") {
		amount := rapid.Int64Range(0, math.MaxInt64)
		e.End.Usage = messages.Some(messages.Usage{
			UserMicros: amount.Draw(t, "user"), SystemMicros: amount.Draw(t, "system"), MaxMemory: amount.Draw(t, "memory"),
		})
	}
	return e
}

var reference, _ = cbor.DecOptions{IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 1000}.DecMode()

// FuzzRequest: no bytes do harm, and exactly those are read that the library takes for an item.
func FuzzRequest(f *testing.F) {
	for _, golden := range goldenRequests {
		f.Add(unhex(f, golden))
	}
	f.Add(unhex(f, "bf 01 01 ff"))
	f.Add(unhex(f, "a4 0101 02 66 72656e616d65 03 63 613a78 09 63 623a79"))
	f.Add(unhex(f, "a1 05 82 c0 60 fb 3ff0000000000000"))
	f.Add(unhex(f, "a3 0101 02 66 6576656e7473 04 c1 fb 3ff0000000000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const max = 200
		r := bytes.NewReader(b)
		m, err := control.Read(r, max)
		read := len(b) - r.Len()
		require.LessOrEqual(t, read, max)

		var raw cbor.RawMessage
		rest, bad := reference.UnmarshalFirst(b, &raw)
		if bad == nil && len(raw) <= max {
			require.NoError(t, err)
			require.Equal(t, len(b)-len(rest), read)
		}
		if err != nil {
			require.Zero(t, m)
			return
		}
		if _, bad := m.Payload.(messages.BadRequest); bad {
			return
		}
		if s, ok := m.Payload.(messages.EventsSubscribe); ok && (s.Since.Value.Year() < 0 || s.Since.Value.Year() > 9999) {
			return // a time that cannot be encoded again
		}
		require.NoError(t, bad)
		again, err := control.AppendRequest(nil, m.Header.Name, m.Payload.(messages.Command))
		require.NoError(t, err)
		back, err := control.Read(bytes.NewReader(again), control.MaxItem)
		require.NoError(t, err)
		require.Equal(t, m, back)
	})
}

// FuzzAnswer: no bytes do harm, and what was decoded can be encoded.
func FuzzAnswer(f *testing.F) {
	for _, a := range answers(f) {
		f.Add(unhex(f, a.golden))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := control.ReadAnswer(bytes.NewReader(b))
		if err != nil {
			require.Nil(t, p)
			return
		}
		if ends, ok := p.(messages.SuccessEnds); ok {
			for _, e := range ends.List {
				for _, millis := range []int64{e.End.AtMillis, e.StoppedMillis} {
					if year := millis / 31_556_952_000; year < -1900 || year > 7900 {
						return // a time that cannot be encoded again
					}
				}
			}
		}
		again, err := control.Append(nil, messages.Wire{Payload: p})
		require.NoError(t, err)
		back, err := control.ReadAnswer(bytes.NewReader(again))
		require.NoError(t, err)
		require.Equal(t, p, back)
	})
}
