package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/guests"
)

// native are conversations with daemons of native albatross, byte for byte:
// those of 2.7.2 first, then those of 2.5.0 with the older messages.
//
//go:embed testdata/native.jsonl.gz
var native []byte

// A conversation is one connection: what was sent, what came back, and whether
// the daemon closed it then.
type conversation struct {
	Step     string
	Note     string
	Socket   string
	Sent     []piece
	Unframed []bool
	Received []piece
	Closed   bool
}

// A piece is a frame. The image in a long one has been cut out.
type piece struct {
	Hex octets

	Header octets // of the message
	Tags   octets // of the elements around the image, outermost first
	Before octets // in the innermost of them
	After  octets
}

type octets []byte

func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.DecodeString(string(text))
	return err
}

// with returns the frame with an image in it.
func (p piece) with(image []byte) []byte {
	if p.Header == nil {
		return p.Hex
	}
	b := bytes.Join([][]byte{p.Before, element(0x04, image), p.After}, nil)
	for i := len(p.Tags) - 1; i >= 0; i-- {
		b = element(p.Tags[i], b)
	}
	return element(0x30, append(bytes.Clone(p.Header), b...))
}

// element returns an element of DER.
func element(tag byte, contents []byte) []byte {
	length := []byte{byte(len(contents))}
	if len(contents) >= 0x80 {
		length = bytes.TrimLeft(binary.BigEndian.AppendUint32(nil, uint32(len(contents))), "\x00")
		length = append([]byte{0x80 | byte(len(length))}, length...)
	}
	return append(append([]byte{tag}, length...), contents...)
}

// conversations returns those whose step begins with prefix.
func conversations(t *testing.T, prefix string) (list []conversation) {
	z, err := gzip.NewReader(bytes.NewReader(native))
	require.NoError(t, err)
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c conversation
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		if strings.HasPrefix(c.Step, prefix) {
			list = append(list, c)
		}
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, list)
	return list
}

// TestNative sends to our daemon what was sent to native ones. Its answers are the same, byte for
// byte, except for times and the digests of images, and for the table of differences.
func TestNative(t *testing.T) {
	for _, prefix := range []string{"2.7.2", "2.5.0"} {
		t.Run(prefix, func(t *testing.T) {
			h := hostAsThen(t, prefix)
			said, left := 0, 0
			for _, c := range conversations(t, prefix) {
				if why := notYet(c.Step); why != "" {
					t.Logf("not said: %s, %s: %s", c.Step, c.Note, why)
					left++
					continue
				}
				h.prepare(c.Step)
				h.replay(c)
				said++
			}
			t.Logf("%d conversations, and %d left out", said, left)
		})
	}
}

// hostAsThen returns a host as the native one was when the conversations began.
func hostAsThen(t *testing.T, native string) *host {
	h := emptyHost(t)
	h.args = []string{"--interval", "10ms"}
	if native == "2.7.2" {
		for name, size := range blocksThen {
			h.putBlock(name, size)
		}
	}
	h.start()
	for path, p := range policiesThen[native] {
		require.Equal(t, messages.SuccessText{Text: "added policy"}, h.ask(path, messages.PolicyAdd{Policy: p}))
	}
	return h
}

// blocksThen are the files of the block devices that existed then, in MB.
var blocksThen = map[string]int{
	":": 1, ":UPPER": 1, ":up.case2": 1, ":up.case": 1, "p:one": 6, ":noleading": 1, ":fromfile2": 1, ":found": 1,
	":disk": 3, "b:c:disk": 1, "a:": 1, "a:b:deep": 2,
}

// policiesThen are the policies that existed then, besides that of the root.
var policiesThen = map[string]map[string]messages.Policy{
	"2.7.2": {
		"p:": {Unikernels: 5, CPUIDs: []int{0}, Memory: 100, Block: messages.Some(10)},
		"q:": {Unikernels: 5, CPUIDs: []int{0}, Memory: 100},
	},
	"2.5.0": {
		"a:": {Unikernels: 3, CPUIDs: []int{0, 1}, Memory: 128, Block: messages.Some(10), Bridges: []string{"br-test"}},
	},
}

// tb returns what ran already when the conversations with 2.7.2 began, without its block device.
func tb() messages.Config {
	c := guest("hello")
	c.Arguments.Memory = 32
	c.Arguments.Argv = messages.Option[[]string]{}
	return c
}

// prepare makes the changes that happened between the conversations.
func (h *host) prepare(step string) {
	switch step {
	case "2.7.2/B-raw/0146":
		h.create("tb", tb())
	case "2.7.2/B-raw/0184":
		h.ask("tb", messages.UnikernelDestroy{})
	case "2.7.2/B-raw/0192":
		h.until("c3 has ended", func() bool { return len(h.infos("c3")) == 0 })
	case "2.7.2/B-raw/0250":
		h.until("it is seen that the client has left", func() bool { return !h.blocks("rb")[0].Active })
	}
}

// replay sends what was sent, and compares the answers.
func (h *host) replay(c conversation) {
	h.t.Helper()
	conn := h.dial(strings.TrimSuffix(c.Socket, ".sock"))
	defer conn.Close()
	image := imageOf(c.Step)
	h.utter(conn, c, image)
	what := c.Step + ", " + c.Note
	if d, ok := differences[c.Step]; ok {
		closed := c.Closed != d.otherwise
		require.Equal(h.t, d.says, listen(conn, len(d.says), closed, summary), what)
		requireState(h.t, conn, closed, what)
		return
	}
	var want []string
	for _, p := range c.Received {
		want = append(want, normal(p.with(pack(p, image))))
	}
	require.Equal(h.t, want, listen(conn, len(want), c.Closed, normal), what)
	requireState(h.t, conn, c.Closed, what)
}

func (h *host) utter(conn net.Conn, c conversation, image []byte) {
	for i, p := range c.Sent {
		b := withProcess(p.with(pack(p, image)))
		if i >= len(c.Unframed) || !c.Unframed[i] {
			b = framed(b)
		}
		if _, err := conn.Write(b); err != nil {
			require.ErrorIs(h.t, err, syscall.EPIPE, c.Step) // it has been answered and closed
		}
	}
}

// withProcess replaces the process in a frame, if there is one, by one that runs.
func withProcess(frame []byte) []byte {
	m, err := wire.Decode(frame)
	add, ok := m.Payload.(messages.StatsAdd)
	if err != nil || !ok {
		return frame
	}
	add.PID = os.Getpid()
	m.Payload = add
	if frame, err = wire.Append(nil, m); err != nil {
		panic(err)
	}
	return frame
}

// listen reads n frames, or all until the daemon closes the connection.
func listen(c net.Conn, n int, toEnd bool, show func([]byte) string) (list []string) {
	for toEnd || len(list) < n {
		frame, err := wire.ReadFrame(c, wire.MaxFrame)
		if err == io.EOF || errors.Is(err, syscall.ECONNRESET) {
			return list
		}
		if err != nil {
			return append(list, err.Error())
		}
		list = append(list, show(frame))
	}
	return list
}

// requireState checks that an open connection is open. One that was read to its end is not.
func requireState(t *testing.T, c net.Conn, closed bool, what string) {
	t.Helper()
	if !closed {
		require.True(t, isOpen(t, c), "%s: the daemon closes the connection", what)
	}
}

// pack compresses an image if the piece says so.
func pack(p piece, image []byte) []byte {
	if !bytes.Contains(p.Before, []byte{0x01, 0x01, 0xff}) {
		return image
	}
	return packed(image)
}

// imageOf returns what replaces the part that was cut out: an image, or the contents of a block
// device.
func imageOf(step string) []byte {
	image := guests.Image("hello", "spt")
	switch step {
	case "2.7.2/B-raw/0235", "2.7.2/B-raw/0238":
		return bytes.Repeat([]byte("x"), megabyte+1)
	case "2.7.2/B-raw/0242":
		return append(bytes.Repeat([]byte("z"), 5000), make([]byte, megabyte-5000)...)
	case "2.5.0/L-raw250/0101", "2.5.0/L-raw250/0139":
		return make([]byte, megabyte)
	case "2.7.2/B-raw/0184": // it has ended at once
		return guests.Image("exit", "spt")
	case "2.7.2/B-raw/0211":
		return guests.Image("disk", "spt")
	case "2.7.2/B-raw/0215": // it is truncated
		return image[:len(image)/2]
	}
	return image
}
