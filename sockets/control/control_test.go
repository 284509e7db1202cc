package control_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/control"
	"albatross/sockets/wire"
)

func name(t require.TestingT, s string) messages.Name {
	n, err := messages.ParseName(s)
	require.NoError(t, err)
	return n
}

// unhex returns bytes that are written in groups.
func unhex(t require.TestingT, s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	require.NoError(t, err)
	return b
}

// The bytes of requests. To change them is to change the protocol.
var goldenRequests = map[string]string{
	":":     "a3 0101 02 64 656e6473 03 61 3a",
	"a:b:":  "a3 0101 02 64 656e6473 03 64 613a623a",
	"a:b:x": "a3 0101 02 64 656e6473 03 65 613a623a78",
}

// The bytes of requests for all events.
var goldenStreams = map[string]messages.EventsSubscribe{
	"a3 0101 02 66 6576656e7473 03 61 3a": {},
	"a4 0101 02 66 6576656e7473 03 61 3a 04 c0 78 18 323032362d30312d30325430333a30343a30352e3637385a": {
		Since: messages.Some(time.UnixMilli(seen).UTC()),
	},
}

// goldenSettings is a request for settings, and goldenAnswer an answer to one.
const (
	goldenSettings = "a3 0101 02 68 73657474696e6773 03 61 3a"
	goldenAnswer   = `
		a2 01 62 3a61   09 f5
		a2 01 63 613a62 09 f4
		a3 01 62 3a63   09 f5 0a f5
		a0`
)

// TestStopAndStartAreTheseBytes: the requests, which are answered as any action is.
func TestStopAndStartAreTheseBytes(t *testing.T) {
	requireRequest(t, "a3 0101 02 64 73746f70 03 63 613a78", name(t, "a:x"), messages.StopRequest{})
	requireRequest(t, "a3 0101 02 65 7374617274 03 63 613a78", name(t, "a:x"), messages.StartRequest{})
}

// TestSettingsOfNetworks: what no native message has a word for comes back as it was.
func TestSettingsOfNetworks(t *testing.T) {
	name, err := messages.ParseName("a:web")
	require.NoError(t, err)
	answer := messages.SuccessSettings{List: []messages.NamedSettings{{
		Name: name, AddName: true,
		Networks: []messages.Network{{Name: "service", Static: true, IP: messages.Some(netip.MustParseAddr("10.1.0.9")), Rate: 7}},
		Publish:  []messages.Publication{{From: 8080, To: 80, UDP: true}},
	}}}
	b, err := control.Append(nil, messages.Wire{Payload: answer})
	require.NoError(t, err)
	back, err := control.ReadSettings(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, answer, back)
}

func TestRenameIsTheseBytes(t *testing.T) {
	requireRequest(t, "a4 0101 02 66 72656e616d65 03 63 613a78 09 63 623a79", name(t, "a:x"), messages.RenameRequest{To: name(t, "b:y")})
	for sent, says := range map[string]string{
		"a3 0101 02 66 72656e616d65 03 63 613a78":          "it lacks what its kind needs",
		"a4 0101 02 66 72656e616d65 03 63 613a78 09 61 2f": "invalid name",
	} {
		m, err := control.Read(bytes.NewReader(unhex(t, sent)), control.MaxItem)
		require.NoError(t, err)
		require.Contains(t, m.Payload.(messages.BadRequest).Why, says)
	}
}

// TestHistoryIsTheseBytes: the requests, and the answer.
func TestHistoryIsTheseBytes(t *testing.T) {
	requireRequest(t, "a3 0101 02 67 686973746f7279 03 63 613a78", name(t, "a:x"), messages.HistoryList{})
	requireRequest(t, "a4 0101 02 68 726f6c6c6261636b 03 63 613a78 0a 02", name(t, "a:x"), messages.RollbackRequest{Number: 2})
	answer := messages.SuccessHistory{List: []messages.FormerVersion{
		{Digest: messages.Digest{1, 2}, Memory: 32, Until: time.UnixMilli(seen).UTC(), Cause: "why"},
		{Digest: messages.Digest{3}, Memory: 16, Until: time.UnixMilli(seen - 1).UTC(), By: messages.Some(messages.Asker{UID: 7, For: "x/y"}), Exit: messages.Some(messages.Exit{Known: true, Code: 3})},
		{Digest: messages.Digest{4}, Memory: 16, Until: time.UnixMilli(seen - 2).UTC(), By: messages.Some(messages.Asker{}), Exit: messages.Some(messages.Exit{})},
		{Digest: messages.Digest{5}, Memory: 16, Until: time.UnixMilli(seen - 3).UTC(), Exit: messages.Some(messages.Exit{Known: true, Signal: 9, OutOfMemory: true})},
	}, Now: messages.Some(messages.FormerVersion{Digest: messages.Digest{6}, Memory: 8, By: messages.Some(messages.Asker{UID: 9})})}
	b, err := control.Append(nil, messages.Wire{Payload: answer})
	require.NoError(t, err)
	require.Equal(t, unhex(t, "a4 01 5820 0102"+strings.Repeat("00", 30)+" 02 1820 03 c0 78 18 323032362d30312d30325430333a30343a30352e3637385a 04 63 776879"), b[:72])
	back, err := control.ReadHistory(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, answer, back)
	_, err = control.ReadHistory(bytes.NewReader(unhex(t, "a3 01 41 00 02 1820 03 c0 78 18 323032362d30312d30325430333a30343a30352e3637385a")))
	require.ErrorContains(t, err, "a digest of 1 bytes is none")
}

// TestOnWhoseBehalf: a request may say that it is for somebody else.
func TestOnWhoseBehalf(t *testing.T) {
	request, err := control.AppendRequestFor(nil, name(t, "a:x"), messages.StopRequest{}, "x/y")
	require.NoError(t, err)
	require.Equal(t, unhex(t, "a4 0101 02 64 73746f70 03 63 613a78 0e 63 782f79"), request)
	m, err := control.Read(bytes.NewReader(request), control.MaxItem)
	require.NoError(t, err)
	require.Equal(t, messages.Wire{Header: messages.Header{Name: name(t, "a:x")}, Payload: messages.StopRequest{}, For: "x/y"}, m)
	request, err = control.AppendRequestFor(nil, name(t, "a:x"), messages.StopRequest{}, strings.Repeat("x", messages.MaxFor+1))
	require.NoError(t, err)
	m, err = control.Read(bytes.NewReader(request), control.MaxItem)
	require.NoError(t, err)
	require.Equal(t, messages.BadRequest{Why: "cannot understand the request: whom it is for has 201 bytes, and at most 200 are possible"}, m.Payload)
}

// TestOriginsComeBack as they were, in all that has them; what is none is refused.
func TestOriginsComeBack(t *testing.T) {
	origin := messages.Some(messages.Origin("oci://localhost:5000/web:1@sha256:" + strings.Repeat("0", 64)))
	settings := messages.SuccessSettings{List: []messages.NamedSettings{{Name: name(t, ":a"), Origin: origin}}}
	statuses := messages.SuccessStatuses{List: []messages.UnikernelStatus{{
		Name: name(t, ":a"), State: messages.StateRunning, Arguments: messages.Arguments{Origin: origin},
	}}}
	history := messages.SuccessHistory{List: []messages.FormerVersion{{Until: time.UnixMilli(seen).UTC(), Origin: origin}}}
	for _, c := range []struct {
		answer messages.Payload
		read   func(io.Reader) (messages.Payload, error)
	}{{settings, control.ReadSettings}, {statuses, control.ReadStatuses}, {history, control.ReadHistory}} {
		b, err := control.Append(nil, messages.Wire{Payload: c.answer})
		require.NoError(t, err)
		back, err := c.read(bytes.NewReader(b))
		require.NoError(t, err)
		require.Equal(t, c.answer, back)
		odd := bytes.Replace(b, []byte("oci://local"), []byte("oci\x1b//local"), 1)
		_, err = c.read(bytes.NewReader(odd))
		require.ErrorContains(t, err, "cannot note where the image is from")
	}
}

// TestHealthComesBack as it was, in all that has it; what could never be checked is refused.
func TestHealthComesBack(t *testing.T) {
	check, err := messages.ParseHealthCheck("http://192.0.2.1:81/a?b")
	require.NoError(t, err)
	settings := messages.SuccessSettings{List: []messages.NamedSettings{{Name: name(t, ":a"), Health: messages.Some(check)}}}
	b, err := control.Append(nil, messages.Wire{Payload: settings})
	require.NoError(t, err)
	back, err := control.ReadSettings(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, settings, back)

	statuses := messages.SuccessStatuses{List: []messages.UnikernelStatus{{
		Name: name(t, ":a"), State: messages.StateRunning, Health: messages.Health{State: messages.Unhealthy, Cause: "why"},
		Arguments: messages.Arguments{Health: messages.Some(check)},
	}}}
	b, err = control.Append(nil, messages.Wire{Payload: statuses})
	require.NoError(t, err)
	back, err = control.ReadStatuses(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, statuses, back)

	deploy := messages.UnikernelDeploy{Create: messages.UnikernelCreate{Config: messages.Config{Arguments: messages.Arguments{Health: messages.Some(check)}}}}
	b, err = control.AppendRequest(nil, name(t, ":a"), deploy)
	require.NoError(t, err)
	m, err := control.Read(bytes.NewReader(b), control.MaxItem)
	require.NoError(t, err)
	require.Equal(t, deploy, m.Payload)

	deploy.Create.Config.Health.Value.Port = 0
	b, err = control.AppendRequest(nil, name(t, ":a"), deploy)
	require.NoError(t, err)
	m, err = control.Read(bytes.NewReader(b), control.MaxItem)
	require.NoError(t, err)
	require.Equal(t, messages.BadRequest{Why: "cannot understand the request: cannot check the health of a unikernel: a port from 1 to 65535 is needed"}, m.Payload)
}

// TestReservingIsTheseBytes: the request, and either answer.
func TestReservingIsTheseBytes(t *testing.T) {
	disk, err := messages.ParseName("a:disk")
	require.NoError(t, err)
	requireRequest(t, "a3 0101 02 6d 726573657276652d626c6f636b 03 66 613a6469736b", disk, messages.BlockReserve{})
	for golden, p := range map[string]messages.Payload{
		"a0":                messages.SuccessText{Text: "reserved block device"},
		"a1 00 64 66756c6c": messages.Failure{Text: "full"},
	} {
		answer, err := control.Append(nil, messages.Wire{Payload: p})
		require.NoError(t, err)
		require.Equal(t, unhex(t, golden), answer)
		read, err := control.ReadDone(bytes.NewReader(answer))
		require.NoError(t, err)
		if p, refused := p.(messages.Failure); refused {
			require.Equal(t, p, read)
		} else {
			require.Equal(t, messages.SuccessEmpty{}, read)
		}
	}
	_, err = control.ReadDone(bytes.NewReader(unhex(t, "a1 01 61 61")))
	require.ErrorContains(t, err, "it has something in it")
}

// TestSettingsAreTheseBytes: both the request and the answer.
func TestSettingsAreTheseBytes(t *testing.T) {
	requireRequest(t, goldenSettings, messages.Name{}, messages.SettingList{})
	answer := messages.SuccessSettings{List: []messages.NamedSettings{
		{Name: name(t, ":a"), AddName: true},
		{Name: name(t, "a:b")},
		{Name: name(t, ":c"), AddName: true, NameRefused: true},
	}}
	b, err := control.Append(nil, messages.Wire{Payload: answer})
	require.NoError(t, err)
	require.Equal(t, unhex(t, goldenAnswer), b)
	back, err := control.ReadSettings(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, answer, back)
	for n := 1; n < len(b); n++ {
		_, err := control.ReadSettings(bytes.NewReader(b[:n]))
		require.Equal(t, io.ErrUnexpectedEOF, err, "%d bytes", n)
	}
	back, err = control.ReadSettings(bytes.NewReader(unhex(t, "a1 00 62 6e6f")))
	require.NoError(t, err)
	require.Equal(t, messages.Failure{Text: "no"}, back)
}

func TestRequestsAreTheseBytes(t *testing.T) {
	for text, golden := range goldenRequests {
		requireRequest(t, golden, name(t, text), messages.EndList{})
	}
	for golden, command := range goldenStreams {
		requireRequest(t, golden, messages.Name{}, command)
	}
}

func requireRequest(t *testing.T, golden string, name messages.Name, command messages.Command) {
	t.Helper()
	b, err := control.AppendRequest([]byte("before"), name, command)
	require.NoError(t, err)
	require.Equal(t, append([]byte("before"), unhex(t, golden)...), b)

	m, err := control.Read(bytes.NewReader(unhex(t, golden)), control.MaxItem)
	require.NoError(t, err)
	require.Equal(t, messages.Wire{Header: messages.Header{Name: name}, Payload: command}, m)
}

var (
	seen   = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC).UnixMilli()
	second = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli()
)

// answers returns the bytes of answers. To change them is to change the protocol.
func answers(t require.TestingT) map[string]struct {
	answer messages.Payload
	golden string
} {
	ended := func(text string, exit messages.Exit, at int64, restarts int) messages.NamedEnd {
		return messages.NamedEnd{Name: name(t, text), End: messages.End{Exit: exit, AtMillis: at, Restarts: restarts}}
	}
	return map[string]struct {
		answer messages.Payload
		golden string
	}{
		"nothing": {messages.SuccessEnds{}, "a0"},
		"all kinds": {messages.SuccessEnds{List: []messages.NamedEnd{
			ended("a:b", messages.Exit{Known: true, Code: 60}, seen, 0),
			ended(":b", messages.Exit{Known: true, Signal: 9}, second, 300),
			ended(":a", messages.Exit{}, 0, 1),
			ended(":", messages.Exit{Known: true}, seen, 0),
		}}, `
			a4 01 63 613a62 02 18 3c 04 c0 78 18 323032362d30312d30325430333a30343a30352e3637385a 05 00
			a4 01 62 3a62   03 09    04 c0 74    323032362d30312d30325430333a30343a30355a         05 19 012c
			a2 01 62 3a61                                                                         05 01
			a4 01 61 3a     02 00    04 c0 78 18 323032362d30312d30325430333a30343a30352e3637385a 05 00
			a0`},
		"what waits, and what is known of it": {messages.SuccessEnds{List: []messages.NamedEnd{
			{Name: name(t, ":a"), End: messages.End{FoundMillis: second, Restarts: 1}},
			{Name: name(t, ":b"), End: messages.End{Exit: messages.Exit{Known: true, Signal: 9, OutOfMemory: true}, AtMillis: second, Restarts: 1},
				Wait: messages.Some(messages.NewWait(time.UnixMilli(second), "no"))},
			{Name: name(t, ":c"), Wait: messages.Some(messages.NewWait(time.UnixMilli(second), ""))},
		}}, `
			a3 01 62 3a61 05 01 06 c0 74 323032362d30312d30325430333a30343a30355a
			a7 01 62 3a62 03 09 04 c0 74 323032362d30312d30325430333a30343a30355a 05 01
			   07 c0 74 323032362d30312d30325430333a30343a30355a 08 62 6e6f 09 f5
			a3 01 62 3a63 05 00 07 c0 74 323032362d30312d30325430333a30343a30355a
			a0`},
		"what was used": {messages.SuccessEnds{List: []messages.NamedEnd{
			{Name: name(t, ":a"), End: messages.End{Usage: messages.Some(messages.Usage{UserMicros: 300, SystemMicros: 1, MaxMemory: 2})}},
			{Name: name(t, ":b"), End: messages.End{Usage: messages.Some(messages.Usage{})}},
		}}, `
			a3 01 62 3a61 05 00 0a a3 01 19 012c 02 01 03 02
			a3 01 62 3a62 05 00 0a a2 01 00      02 00
			a0`},
		"what is stopped": {messages.SuccessEnds{List: []messages.NamedEnd{
			{Name: name(t, ":a"), StoppedMillis: second},
			{Name: name(t, ":b"), End: messages.End{Exit: messages.Exit{Known: true, Signal: 15}, AtMillis: second}, StoppedMillis: seen},
		}}, `
			a3 01 62 3a61 05 00 0b c0 74 323032362d30312d30325430333a30343a30355a
			a5 01 62 3a62 03 0f 04 c0 74 323032362d30312d30325430333a30343a30355a 05 00
			   0b c0 78 18 323032362d30312d30325430333a30343a30352e3637385a
			a0`},
		"a failure": {messages.Failure{Text: "no"}, "a1 00 62 6e6f"},
	}
}

func TestAnswersAreTheseBytes(t *testing.T) {
	for what, c := range answers(t) {
		t.Run(what, func(t *testing.T) {
			b, err := control.Append([]byte("before"), messages.Wire{Payload: c.answer})
			require.NoError(t, err)
			require.Equal(t, append([]byte("before"), unhex(t, c.golden)...), b)

			back, err := control.ReadAnswer(bytes.NewReader(unhex(t, c.golden)))
			require.NoError(t, err)
			require.Equal(t, c.answer, back)
		})
	}
}

// TestFailuresAreText: the text of a failure may be any bytes, but text in CBOR is UTF-8.
func TestFailuresAreText(t *testing.T) {
	b, err := control.Append(nil, messages.Wire{Payload: messages.Failure{Text: "a\xff\xfeb"}})
	require.NoError(t, err)
	back, err := control.ReadAnswer(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, messages.Failure{Text: "a\uFFFDb"}, back)
}

// TestRequestsAreReadToTheirEnd: nothing after a request is read, however it arrives.
func TestRequestsAreReadToTheirEnd(t *testing.T) {
	one := unhex(t, goldenRequests[":"])
	for what, arrives := range map[string]func(io.Reader) io.Reader{
		"at once":   func(r io.Reader) io.Reader { return r },
		"in pieces": iotest.OneByteReader,
		"with EOF":  iotest.DataErrReader,
	} {
		t.Run(what, func(t *testing.T) {
			r := arrives(bytes.NewReader(bytes.Repeat(one, 3)))
			for range 3 {
				m, err := control.Read(r, len(one))
				require.NoError(t, err)
				require.Equal(t, messages.EndList{}, m.Payload)
			}
			_, err := control.Read(r, len(one))
			require.Equal(t, io.EOF, err)
		})
	}
}

func TestRequestsThatAreCutOff(t *testing.T) {
	one := unhex(t, goldenRequests["a:b:x"])
	_, err := control.Read(bytes.NewReader(nil), control.MaxItem)
	require.Equal(t, io.EOF, err)
	for n := 1; n < len(one); n++ {
		_, err := control.Read(bytes.NewReader(one[:n]), control.MaxItem)
		require.Equal(t, io.ErrUnexpectedEOF, err, "%d bytes", n)
	}
}

func TestAnswersThatAreCutOff(t *testing.T) {
	all := unhex(t, answers(t)["all kinds"].golden)
	_, err := control.ReadAnswer(bytes.NewReader(nil))
	require.Equal(t, io.EOF, err)
	for n := 1; n < len(all); n++ {
		_, err := control.ReadAnswer(bytes.NewReader(all[:n]))
		require.Equal(t, io.ErrUnexpectedEOF, err, "%d bytes", n)
	}
}

// TestNotNative: a native albatross has no encoding for any of this.
func TestNotNative(t *testing.T) {
	for _, p := range []messages.Payload{
		messages.EndList{}, messages.SuccessEnds{}, messages.SettingList{}, messages.SuccessSettings{}, messages.BadRequest{}, messages.BlockReserve{},
		messages.StatusList{}, messages.SuccessStatuses{},
		messages.StopRequest{}, messages.StartRequest{}, messages.RenameRequest{},
		messages.EventsSubscribe{}, messages.SuccessEvents{}, messages.DataEvent{}, messages.DataMissed{}, messages.DataPresent{},
	} {
		_, err := wire.Append(nil, messages.Wire{Header: messages.Header{Version: messages.CurrentVersion}, Payload: p})
		require.ErrorContains(t, err, "internal error: cannot encode a messages.", "%T", p)
	}
}

func TestOnlyThis(t *testing.T) {
	_, err := control.Append(nil, messages.Wire{Payload: messages.SuccessEmpty{}})
	require.EqualError(t, err, "internal error: a messages.SuccessEmpty cannot be said on the control socket")
	_, err = control.Append(nil, messages.Wire{Payload: messages.DataBlock{}})
	require.EqualError(t, err, "internal error: a messages.DataBlock cannot be said on the control socket")
	_, err = control.AppendRequest(nil, messages.Name{}, messages.PolicyInfo{})
	require.EqualError(t, err, "internal error: a messages.PolicyInfo cannot be asked for on the control socket")
}
