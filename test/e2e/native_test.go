package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

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

// with is the frame with an image in it.
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

// element is one of DER.
func element(tag byte, contents []byte) []byte {
	length := []byte{byte(len(contents))}
	if len(contents) >= 0x80 {
		length = bytes.TrimLeft(binary.BigEndian.AppendUint32(nil, uint32(len(contents))), "\x00")
		length = append([]byte{0x80 | byte(len(length))}, length...)
	}
	return append(append([]byte{tag}, length...), contents...)
}

// conversations are those whose step begins with prefix.
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

// TestNative says to our daemon what was said to native ones. What it answers is
// the same, byte for byte, but for times and the digests of images; or what the
// table of differences says.
func TestNative(t *testing.T) {
	for _, prefix := range []string{"2.7.2", "2.5.0"} {
		t.Run(prefix, func(t *testing.T) {
			h := newHost(t)
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

// tb is what ran already when the conversations with 2.7.2 began, but for its
// block device.
func tb() messages.Config {
	c := guest("hello")
	c.Arguments.Memory = 32
	c.Arguments.Argv = messages.Option[[]string]{}
	return c
}

// prepare brings about what happened between the conversations.
func (h *host) prepare(step string) {
	switch step {
	case "2.7.2/B-raw/0146":
		h.create("tb", tb())
	case "2.7.2/B-raw/0184":
		h.ask("tb", messages.UnikernelDestroy{})
	case "2.7.2/B-raw/0192":
		h.until("c3 has ended", func() bool { return len(h.infos("c3")) == 0 })
	}
}

// replay says what was said, and compares the answers.
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
		b := p.with(pack(p, image))
		if i >= len(c.Unframed) || !c.Unframed[i] {
			b = framed(b)
		}
		if _, err := conn.Write(b); err != nil {
			require.ErrorIs(h.t, err, syscall.EPIPE, c.Step) // it has been answered and closed
		}
	}
}

// listen hears n frames, or all until the daemon closes the connection.
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

// requireState makes sure that an open connection is open. One that was heard to
// its end is not.
func requireState(t *testing.T, c net.Conn, closed bool, what string) {
	t.Helper()
	if !closed {
		require.True(t, isOpen(t, c), "%s: the daemon closes the connection", what)
	}
}

// pack compresses an image where the piece says so.
func pack(p piece, image []byte) []byte {
	if !bytes.Contains(p.Before, []byte{0x01, 0x01, 0xff}) {
		return image
	}
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(image) // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}

// moment stands for all times, and digest for all digests.
var (
	moment = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	digest = bytes.Repeat([]byte{0xd1}, 32)
)

// noMillis is in a time with nanoseconds, which are not told, but no milliseconds.
// Read and written again it looks otherwise.
var noMillis = []byte(".000Z")

// normal is a frame in hex, without what cannot be the same.
func normal(frame []byte) string {
	m, err := wire.Decode(frame)
	if err != nil {
		return hex.EncodeToString(frame)
	}
	if again, err := wire.Append(nil, m); err != nil || !bytes.Equal(again, frame) && !bytes.Contains(frame, noMillis) {
		return fmt.Sprintf("%x, which is not encoded as usual", frame)
	}
	switch p := m.Payload.(type) {
	case messages.SuccessInfos:
		for i := range p.List {
			info := &p.List[i].Info
			info.Digest = digest
			info.Blocks = nil
			if !info.Started.IsZero() {
				info.Started = moment
			}
		}
	case messages.DataConsole:
		p.Time, p.Line = moment, ""
		m.Payload = p
	case messages.SuccessImage:
		p.Image = unpack(p)
		m.Payload = p
	}
	b, err := wire.Append(nil, m)
	if err != nil {
		return err.Error()
	}
	return hex.EncodeToString(b)
}

// unpack is the image itself: who compresses it, does so in many ways.
func unpack(p messages.SuccessImage) []byte {
	if !p.Compressed {
		return p.Image
	}
	z, err := zlib.NewReader(bytes.NewReader(p.Image))
	if err != nil {
		return []byte(err.Error())
	}
	image, err := io.ReadAll(z)
	if err != nil {
		return []byte(err.Error())
	}
	return image
}

// summary is what a frame says, for the table of differences.
func summary(frame []byte) string {
	m, err := wire.Decode(frame)
	if err != nil {
		return err.Error()
	}
	switch p := m.Payload.(type) {
	case messages.Failure:
		return p.Text
	case messages.SuccessText:
		return p.Text
	case messages.SuccessInfos:
		return fmt.Sprintf("info-%d:%s", p.Form, each(p.List, infoSummary))
	case messages.SuccessConfigs:
		return "configs:" + each(p.List, configSummary)
	case messages.DataConsole:
		return fmt.Sprintf("line, old form: %t", p.Old)
	}
	return fmt.Sprintf("%T", m.Payload)
}

func infoSummary(i messages.NamedInfo) string {
	return fmt.Sprintf("%s (%d MB, %d CPUs, boot %q)", i.Name, i.Info.Memory, i.Info.CPUs, i.Info.LinuxBoot.Value)
}

func configSummary(c messages.NamedConfig) string {
	return fmt.Sprintf("%s (hello: %t)", c.Name, bytes.Equal(c.Config.Image, guests.Image("hello", "spt")))
}

func each[T any](list []T, show func(T) string) (all string) {
	for _, x := range list {
		all += " " + show(x)
	}
	return all
}

// imageOf is the image in the place of those that were cut out.
func imageOf(step string) []byte {
	image := guests.Image("hello", "spt")
	switch step {
	case "2.7.2/B-raw/0184": // it ended at once
		return guests.Image("exit", "spt")
	case "2.7.2/B-raw/0211":
		return guests.Image("disk", "spt")
	case "2.7.2/B-raw/0215": // truncated
		return image[:len(image)/2]
	}
	return image
}
