package wire

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/seqpacket"
)

func FuzzRequest(f *testing.F) {
	for _, r := range []Request{
		{ID: 1, Do: Hello, Protocol: Protocol, Build: "x", Read: true},
		{ID: 2, Do: Start, Name: ":a", Files: []File{Order, Gate, Status, Output, Console}},
		{ID: 3, Do: Take, Process: messages.Process{PID: 1, StartTime: 2, BootID: "boot"}},
	} {
		frame, err := Encode(r)
		require.NoError(f, err)
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var r, again Request
		if Decode(frame, &r) != nil || r.Check() != nil {
			return
		}
		require.LessOrEqual(t, len(r.Files), seqpacket.MaxFiles)
		frame, err := Encode(r)
		require.NoError(t, err)
		require.NoError(t, Decode(frame, &again))
		if len(r.Files) == 0 {
			r.Files = nil
		}
		require.Equal(t, r, again)
	})
}

func FuzzAnswer(f *testing.F) {
	frame, err := Encode(Answer{ID: 1, Err: "x", Kept: []Kept{{Name: ":a", End: &End{AtMillis: 1}}}, Files: []File{Pidfd}})
	require.NoError(f, err)
	f.Add(frame)
	f.Fuzz(func(t *testing.T, frame []byte) {
		var a Answer
		_ = Decode(frame, &a) // it does not crash
	})
}

// TestTheKeysOfGreetings: other versions are met by these, for ever.
func TestTheKeysOfGreetings(t *testing.T) {
	frame, err := Encode(Request{ID: 1, Do: Upgrade, Protocol: 2, Build: "b", Program: "/p"})
	require.NoError(t, err)
	require.Equal(t, "\xa5\x01\x01\x02\x67upgrade\x03\x02\x04\x61b\x07\x62/p", string(frame))
	frame, err = Encode(Answer{ID: 1, Err: "e", Protocol: 2, Build: "b"})
	require.NoError(t, err)
	require.Equal(t, "\xa4\x01\x01\x02\x61e\x03\x02\x04\x61b", string(frame))
	var r Request
	require.NoError(t, Decode([]byte("\xa4\x01\x01\x02\x65hello\x03\x09\x18\x63\xa1\x01\x02"), &r), "what is new is left out")
	require.Equal(t, Request{ID: 1, Do: Hello, Protocol: 9}, r)
}

func TestWhatIsNotKnownIsNoUsage(t *testing.T) {
	require.False(t, End{Exit: messages.Exit{Known: true}, AtMillis: 1}.Usage().OK)
	require.Equal(t, messages.Some(messages.Usage{UserMicros: 1, SystemMicros: 2, MaxMemory: 3}),
		End{UserMicros: 1, SystemMicros: 2, MaxMemory: 3}.Usage())
}

func TestDecodeRefuses(t *testing.T) {
	for name, frame := range map[string]string{
		"nothing":     "",
		"a number":    "\x01",
		"a key twice": "\xa2\x01\x01\x01\x02",
		"no end":      "\xbf\x01\x01\xff",
		"a tag":       "\xa1\x01\xc1\x01",
		"too deep":    "\xa1\x18\x63\x81\x81\x81\x81\x81\x81\x81\x81\x01",
		"more":        "\xa1\x01\x01\x01",
	} {
		var r Request
		require.Error(t, Decode([]byte(frame), &r), name)
	}
}

func TestCheck(t *testing.T) {
	require.Error(t, Request{}.Check())
	require.Error(t, Request{ID: 1, Name: string(make([]byte, MaxText+1))}.Check())
	require.Error(t, Request{ID: 1, Files: make([]File, seqpacket.MaxFiles+1)}.Check())
	require.NoError(t, Request{ID: 1}.Check())
}
