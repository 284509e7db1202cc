package remote_test

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/remote"
	"albatross/sockets/wire"
)

// A recorder keeps what comes over the connection below TLS.
type recorder struct {
	net.Conn
	got bytes.Buffer
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.got.Write(b[:n])
	return n, err
}

// records returns the lengths of the contents of the records that have come since the handshake. A
// record of TLS 1.3 has 17 bytes more.
func (w *world) records(own tls.Certificate) (lengths []int, plain []byte) {
	raw, err := net.Dial("tcp", w.address)
	require.NoError(w.t, err)
	r := &recorder{Conn: raw}
	c := tls.Client(r, &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true})
	defer func() { _ = c.Close() }()
	require.NoError(w.t, c.SetDeadline(time.Now().Add(limit)))
	require.NoError(w.t, c.Handshake())
	before := r.got.Len()
	plain, err = io.ReadAll(c)
	require.NoError(w.t, err)
	for all := r.got.Bytes()[before:]; len(all) > 0; {
		n := int(all[3])<<8 | int(all[4])
		lengths = append(lengths, n-17)
		all = all[5+n:]
	}
	alert := len(lengths) - 1 // the last record says that the connection ends
	return lengths[:alert], plain
}

// messageLengths returns the lengths of the frames in b.
func messageLengths(t *testing.T, b []byte) (lengths []int) {
	for r := bytes.NewReader(b); r.Len() > 0; {
		body, err := wire.ReadFrame(r, wire.MaxFrame)
		require.NoError(t, err)
		lengths = append(lengths, 4+len(body))
	}
	return lengths
}

// TestEachMessageIsARecord if it fits into one. A longer message begins a record.
func TestEachMessageIsARecord(t *testing.T) {
	chunk := make([]byte, 1_000_000)
	for i := range chunk {
		chunk[i] = byte(i * i >> 7)
	}
	say := func(c *net.UnixConn, m messages.Wire, list ...messages.Payload) {
		var all []byte
		for _, p := range list {
			m.Payload = p
			frame, err := wire.AppendFrame(nil, m)
			require.NoError(t, err)
			all = append(all, frame...)
		}
		_, _ = c.Write(all) // all messages at once
	}
	line := messages.DataConsole{Time: time.Unix(1, 0), Line: "hello"}
	t.Run("lines of a console", func(t *testing.T) {
		w := newWorld(t, func(c *net.UnixConn, m messages.Wire) {
			say(c, m, messages.SuccessText{Text: "subscribed"}, line, line, messages.DataConsole{Line: strings.Repeat("x", 600)}, line)
		})
		records, plain := w.records(w.root.leaf(t, "x", messages.ConsoleSubscribe{Count: messages.Some(9)}).presented())
		require.Equal(t, messageLengths(t, plain), records)
		require.Len(t, records, 5)
	})
	long := w63(9)
	for _, name := range []string{"x", long} {
		t.Run("a dump", func(t *testing.T) {
			w := newWorld(t, func(c *net.UnixConn, m messages.Wire) {
				say(c, m, messages.SuccessDump{}, messages.DataBlock{Chunk: messages.Some(chunk)}, messages.DataBlock{Chunk: messages.Some([]byte("x"))}, messages.DataBlock{})
			})
			at := w.root
			labels := strings.Split(name, ":")
			for _, l := range labels[:len(labels)-1] {
				at = at.policy(t, l, small)
			}
			records, plain := w.records(at.leaf(t, labels[len(labels)-1], messages.BlockDump{}).presented())
			require.Equal(t, messageLengths(t, plain), records)
			var got []byte
			r := bytes.NewReader(plain)
			_, err := read(r)
			require.NoError(t, err)
			for {
				m, err := read(r)
				require.NoError(t, err)
				part := m.Payload.(messages.DataBlock).Chunk
				if !part.OK {
					break
				}
				require.LessOrEqual(t, len(part.Value), 16_000)
				got = append(got, part.Value...)
			}
			require.Equal(t, append(bytes.Clone(chunk), 'x'), got)
		})
	}
	t.Run("an image", func(t *testing.T) {
		w := newWorld(t, answering(messages.SuccessImage{Image: chunk}))
		records, plain := w.records(w.root.leaf(t, "x", messages.UnikernelGet{Form: 3}).presented())
		require.Equal(t, 62, len(records))
		for _, n := range records[:61] {
			require.Equal(t, 16_384, n)
		}
		m, err := read(bytes.NewReader(plain))
		require.NoError(t, err)
		require.Equal(t, messages.SuccessImage{Image: chunk}, m.Payload)
	})
}

// w63 returns a name of n labels, each as long as possible.
func w63(n int) string {
	labels := make([]string, n)
	for i := range labels {
		labels[i] = strings.Repeat(string(rune('a'+i)), 63)
	}
	return strings.Join(labels, ":")
}

// TestLargeAnswersAreJudged: a failure that is not held in memory still counts as one.
func TestLargeAnswersAreJudged(t *testing.T) {
	for _, tc := range []struct {
		answer messages.Payload
		want   string
	}{
		{messages.Failure{Text: messages.Public(strings.Repeat("no", 50_000))}, remote.Failed},
		{messages.SuccessText{Text: messages.Public(strings.Repeat("yes", 50_000))}, remote.Done},
		{messages.SuccessImage{Image: make([]byte, 100_000)}, remote.Done},
	} {
		path := filepath.Join(t.TempDir(), "audit")
		audit, err := openAudit(path)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, audit.Close()) })
		w := newWorld(t, answering(tc.answer), func(_ *world, c *remote.Config) { c.Audit = audit })
		m, err := w.ask(w.root.leaf(t, "x", info).presented())
		require.NoError(t, err)
		require.Equal(t, tc.answer, m.Payload)
		eventually(t, "it is noted down", func() bool { return len(records(t, path)) == 2 })
		require.Equal(t, tc.want, records(t, path)[1].Result)
	}
}

// TestOldVersions: the daemon gets names in the current version, where a path cannot be taken for a
// name. The client gets its own version.
func TestOldVersions(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessInfos{Form: 3}))
	alice := w.root.policy(t, "alice", small)
	for _, version := range []byte{3, 4} {
		extension, err := wire.AppendExtension(nil, messages.UnikernelInfo{Form: 4})
		require.NoError(t, err)
		extension[4] = version
		c := w.connect(makeNode(t, alice, ".", contains(extension)).presented())
		body, err := wire.ReadFrame(c, wire.MaxCommand)
		require.NoError(t, err)
		// The bytes that native 2.5.0 would send.
		want := "301e30160201" + hex.EncodeToString([]byte{version}) + "0408000000000000000030070c05616c696365a104a8023000"
		require.Equal(t, want, hex.EncodeToString(body))
		asked := (<-w.asked).Header
		require.Equal(t, messages.Header{Version: 5, Name: messages.Name{Path: "alice"}}, asked)
	}
}

// TestOldVersionsOfWhatIsLong: an answer that would have to be held in memory is refused.
func TestOldVersionsOfWhatIsLong(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessImage{Image: make([]byte, 5<<20)}))
	extension, err := wire.AppendExtension(nil, messages.UnikernelGet{Form: 3})
	require.NoError(t, err)
	extension[4] = 4
	require.Contains(t, w.refusal(makeNode(t, w.root, "x", contains(extension)).presented()), "too long for a client that speaks this old a version")
}
