package wire_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

func header() messages.Header {
	return messages.Header{Version: messages.CurrentVersion, Name: messages.Name{Path: "a:b", Label: "hello"}}
}

func encoded(t testing.TB, p messages.Payload) []byte {
	b, err := wire.Append(nil, messages.Wire{Header: header(), Payload: p})
	require.NoError(t, err)
	return b
}

// TestErrors: an error shows where the message is wrong.
func TestErrors(t *testing.T) {
	good := encoded(t, messages.PolicyAdd{Policy: messages.Policy{Memory: 300}})
	for _, c := range []struct{ old, new, want string }{
		{"\x02\x02\x01\x2c", "\x02\x02\x00\x2c",
			"cannot decode message: message: payload: command: policy command: policy: memory: it is not in the shortest form"},
		{"a:b:hello", "a:-:hello",
			"cannot decode message: message: header: name: invalid name"},
		{"\x02\x01\x05", "\x02\x01\x06",
			"cannot decode message: message: header: version: unknown version number 0x6"},
		{"\xa4", "\xa2",
			"cannot decode message: message: payload: command: log command: support was dropped"},
		{"\xa4", "\xa7",
			"cannot decode message: message: payload: command: alternative: nothing has tag 7"},
		{"\x0c\x09", "\x16\x09",
			"cannot decode message: message: header: name: it has the wrong tag"},
	} {
		require.Equal(t, 1, bytes.Count(good, []byte(c.old)), "%q", c.old)
		_, err := wire.Decode(bytes.Replace(good, []byte(c.old), []byte(c.new), 1))
		require.EqualError(t, err, c.want)
	}
	_, err := wire.Decode(append(good, 0))
	require.EqualError(t, err, "cannot decode message: bytes are left over")
}

// TestUnencodable: what the protocol cannot express is an error.
func TestUnencodable(t *testing.T) {
	one := messages.Arguments{CPUIDs: []int{0}, CPUs: 1}
	two := messages.Arguments{CPUIDs: []int{0, 1}, CPUs: 1}
	late := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		payload messages.Payload
		want    string
	}{
		{nil, "internal error: cannot encode a <nil>"},
		{messages.BlockAdd{Size: messages.MaxInt + 1}, "number 4611686018427387904: it does not fit in 63 bits"},
		{messages.BlockAdd{Size: messages.MinInt - 1}, "number -4611686018427387905: it does not fit in 63 bits"},
		{messages.UnikernelInfo{}, "internal error: there is no form 0 of this message"},
		{messages.UnikernelInfo{Form: 7}, "internal error: there is no form 7 of this message"},
		{messages.SuccessInfos{Form: 1}, "internal error: there is no form 0 of this message"},
		{messages.UnikernelCreate{Form: 4, Config: messages.Config{Arguments: two}}, "internal error: this form has exactly one CPU"},
		{messages.UnikernelCreate{Form: 4, Config: messages.Config{Type: 2, Arguments: one}}, "internal error: unknown type of unikernel"},
		{messages.UnikernelRestart{Form: 5}, "internal error: there is no form 5 of restart"},
		{messages.DataConsole{Time: late}, "time 10000-01-01 00:00:00 +0000 UTC: the year has more than four digits"},
	} {
		b, err := wire.Append([]byte("before"), messages.Wire{Header: header(), Payload: c.payload})
		require.EqualError(t, err, "cannot encode message: "+c.want)
		require.Equal(t, "before", string(b))
	}
}

// TestDialects: a message is refused that contains both what only versions up to 2.5 have and what
// only those since 2.6 have, even where each would be accepted alone.
func TestDialects(t *testing.T) {
	old := messages.Header{Version: messages.Version4, Name: messages.Name{Label: "a"}}
	bhyve := func(form int) messages.Command {
		c := messages.UnikernelCreate{Form: form}
		c.Config.Type, c.Config.CPUIDs = messages.BHyve, []int{0}
		return c
	}
	for _, c := range []struct {
		header  messages.Header
		payload messages.Payload
		ok      bool
	}{
		{old, messages.UnikernelInfo{Form: 4}, true},
		{old, messages.UnikernelInfo{Form: 5}, false},
		{header(), messages.UnikernelInfo{Form: 5}, true},
		{old, messages.ConsoleAdd{}, true},
		{old, messages.ConsoleAdd{Max: messages.Some(1)}, false},
		{old, messages.SuccessConsoles{}, false},
		{old, bhyve(3), false},
		{header(), bhyve(3), true},
		{header(), bhyve(2), false},
	} {
		b, err := wire.Append(nil, messages.Wire{Header: c.header, Payload: c.payload})
		require.NoError(t, err)
		_, err = wire.Decode(b)
		require.Equal(t, c.ok, err == nil, "%v %#v: %v", c.header.Version, c.payload, err)
	}
}

// TestSetOrder: sets are encoded in one order, whatever order they have.
func TestSetOrder(t *testing.T) {
	create := func(cpuids []int, blocks ...string) []byte {
		c := messages.UnikernelCreate{Form: 5}
		c.Config.CPUIDs = cpuids
		for _, b := range blocks {
			c.Config.Blocks = append(c.Config.Blocks, messages.BlockDevice{Name: b})
		}
		return encoded(t, c)
	}
	want := create([]int{1, 2, 200}, "b", "c", "aa")
	require.Equal(t, want, create([]int{200, 2, 1, 2}, "aa", "c", "b"))
	require.Contains(t, string(want), "\x31\x0a\x02\x01\x01\x02\x01\x02\x02\x02\x00\xc8", "shorter numbers come first")
}

// TestAliases: images are slices of the frame, and nothing else is.
func TestAliases(t *testing.T) {
	c := messages.UnikernelCreate{Form: 3}
	c.Config.Image = []byte("image")
	c.Config.CPUIDs = []int{0}
	c.Config.Argv = messages.Some([]string{"argument"})
	frame := encoded(t, c)
	m, err := wire.Decode(frame)
	require.NoError(t, err)
	for i := range frame {
		frame[i] = '!'
	}
	got := m.Payload.(messages.UnikernelCreate).Config
	require.Equal(t, "!!!!!", string(got.Image))
	require.Equal(t, 5, cap(got.Image), "appending to an image would overwrite the frame")
	require.Equal(t, []string{"argument"}, got.Argv.Value)
	require.Equal(t, "a:b:hello", m.Header.Name.String())
}

// TestMemory: decoding any frame allocates a small multiple of its length. The elements are the
// shortest possible of the widest types.
func TestMemory(t *testing.T) {
	const size = 1 << 20
	blocks := func(l []messages.BlockInfo) []byte {
		return encoded(t, messages.SuccessInfos{Form: 3, List: []messages.NamedInfo{{
			Info: messages.Info{CPUIDs: []int{0}, Blocks: l},
		}}})
	}
	for name, frame := range map[string][]byte{
		"block devices": blocks(make([]messages.BlockInfo, size/4)),
		"arguments": encoded(t, messages.UnikernelRestart{Form: messages.RestartArgs0, Args: messages.Some(
			messages.Arguments{CPUIDs: []int{0}, Argv: messages.Some(make([]string, size/2))})}),
		"infos":           encoded(t, wire.FitInfo(2, make([]messages.NamedInfo, size/30))),
		"configurations":  encoded(t, wire.FitInfo(1, make([]messages.NamedInfo, size/30))),
		"policies":        encoded(t, messages.SuccessPolicies{List: make([]messages.NamedPolicy, size/20)}),
		"names":           encoded(t, messages.SuccessConsoles{List: make([]messages.Name, size/3)}),
		"empty sequences": emptySequences(t, size),
	} {
		t.Run(name, func(t *testing.T) {
			spent := allocated(func() { _, _ = wire.Decode(frame) })
			require.Less(t, float64(spent)/float64(len(frame)), 20.0)
		})
	}
}

// emptySequences returns a list of infos that are all too short: a text whose tags are changed.
func emptySequences(t *testing.T, size int) []byte {
	b := encoded(t, messages.SuccessText{Text: messages.Public(strings.Repeat("\x30\x00", size/2))})
	at := bytes.Index(b, []byte("\x0c\x83"))
	b[at] = 0x30
	outer := bytes.LastIndexByte(b[:at], 0xa1)
	b[outer] = 0xad
	return b
}

func ExampleDecode() {
	frame, _ := wire.Append(nil, messages.Wire{
		Header:  messages.Header{Version: messages.CurrentVersion, Name: messages.Name{Label: "hello"}},
		Payload: messages.UnikernelDestroy{},
	})
	m, err := wire.Decode(frame)
	if err != nil {
		fmt.Println(err)
		return
	}
	switch c := m.Payload.(type) {
	case messages.UnikernelDestroy:
		fmt.Println("destroy", m.Header.Name)
	default:
		fmt.Printf("unknown command %T\n", c)
	}
	// Output: destroy :hello
}

// TestNotQuiteDER: native accepts two things that DER forbids.
func TestNotQuiteDER(t *testing.T) {
	text := strings.Repeat("x", 0x7f)
	good := encoded(t, messages.Failure{Text: messages.Public(text)})
	// The lengths of the text and of all that contains it have one byte more.
	long := bytes.Replace(good, []byte("\x0c\x7f"), []byte("\x0c\x81\x7f"), 1)
	long = bytes.Replace(long, []byte("\xa2\x81\x81"), []byte("\xa2\x81\x82"), 1)
	long[2]++
	m, err := wire.Decode(long)
	require.NoError(t, err)
	require.Equal(t, messages.Failure{Text: messages.Public(text)}, m.Payload)

	set := encoded(t, messages.BlockSet{Compressed: true})
	set[len(set)-1] = 1
	m, err = wire.Decode(set)
	require.NoError(t, err)
	require.Equal(t, messages.BlockSet{Compressed: true}, m.Payload)
}

// TestFractions: times are cut off to milliseconds, and a fraction stays a fraction, even if it
// becomes zero.
func TestFractions(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	for after, want := range map[time.Duration]string{
		0:                       "20260102020405Z",
		time.Nanosecond:         "20260102020405.000Z",
		50 * time.Millisecond:   "20260102020405.050Z",
		1999 * time.Microsecond: "20260102020405.001Z",
		time.Second - 1:         "20260102020405.999Z",
	} {
		b := encoded(t, messages.DataConsole{Time: at.Add(after)})
		require.Contains(t, string(b), string(rune(len(want)))+want)
	}
	b := encoded(t, messages.DataConsole{Old: true, Time: at.Add(time.Second - 1)})
	require.Contains(t, string(b), "\x17\x0d260102020405Z")
}

// TestOldNames: in versions 3 and 4 the labels of a name become one, joined by
// dots, as native decodes its own names.
func TestOldNames(t *testing.T) {
	for _, c := range []struct {
		sent messages.Name
		want string // "" where no decoding is possible
	}{
		{messages.Name{Label: "hello"}, ":hello"},
		{messages.Name{Path: "a:b", Label: "hello"}, ":a.b.hello"},
		{messages.Name{Path: "a:b"}, ":a.b"},
		{messages.Name{}, ""},
	} {
		b, err := wire.Append(nil, messages.Wire{
			Header: messages.Header{Version: messages.Version4, Name: c.sent}, Payload: messages.PolicyInfo{},
		})
		require.NoError(t, err)
		m, err := wire.Decode(b)
		if c.want == "" {
			require.ErrorContains(t, err, "name: empty name")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, m.Header.Name.String())
	}
}
