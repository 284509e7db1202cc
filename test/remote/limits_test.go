package remote

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/wire"
	"albatross/test/guests"
)

// peak returns the most memory that the endpoint has had, in bytes.
func (w *world) peak() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.endpoint.Process.Pid))
	require.NoError(w.t, err)
	kb := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)
	n, err := strconv.Atoi(string(kb[1]))
	require.NoError(w.t, err)
	return n << 10
}

// TestImagesAreNotHeldInMemory: twenty clients send 50 MB each at the same time, some as one chunk
// and some as many.
func TestImagesAreNotHeldInMemory(t *testing.T) {
	const clients, size, budget = 20, 50 << 20, 64 << 20
	w := newWorld(t)
	alice := w.below(w.root, "alice", alices)
	part := make([]byte, 1<<20)
	_, _ = rand.Read(part) // never fails
	var sending sync.WaitGroup
	for i := range clients {
		sending.Go(func() {
			g := w.connect(w.leaf(alice, fmt.Sprintf("x%d", i), creates(config(nil))))
			if i%2 == 0 {
				_, _ = g.Write([]byte{size >> 24, size >> 16 & 0xff, size >> 8 & 0xff, size & 0xff})
			}
			for range size / len(part) {
				chunk := part
				if i%2 == 1 {
					chunk = framed(part)
				}
				if _, err := g.Write(chunk); err != nil {
					t.Errorf("cannot send: %v", err)
				}
			}
			if err := wire.WriteEnd(g); err != nil {
				t.Errorf("cannot send the end: %v", err)
			}
			if _, ok := g.hear().Payload.(messages.Failure); !ok {
				t.Error("that was no image")
			}
			_ = g.Close()
		})
	}
	sending.Wait()
	t.Logf("the endpoint has had %.1f MB of memory", float64(w.peak())/(1<<20))
	require.Less(t, w.peak(), budget)
}

// needOverlay skips a test if crypto/tls accepts only small certificates.
func (w *world) needOverlay() {
	big := w.leaf(w.root, "x", creates(config(make([]byte, 300_000))))
	raw, err := net.Dial("tcp", w.address)
	require.NoError(w.t, err)
	defer func() { _ = raw.Close() }()
	c := tls.Client(raw, w.tls(big))
	require.NoError(w.t, c.SetDeadline(time.Now().Add(patience)))
	_, err = c.Read(make([]byte, 1)) // the answer, or an alert
	if err == nil {
		return
	}
	w.until("the log says so", func() bool {
		return strings.Contains(string(w.read("endpoint.log")), "built without room for certificates above 262144 bytes")
	})
	w.t.Skip("the endpoint was built without -overlay: run this by make test")
}

// TestImagesInCertificates: as native clients send them, up to the largest possible.
func TestImagesInCertificates(t *testing.T) {
	w := newWorld(t)
	w.needOverlay()
	alice := w.below(w.root, "alice", alices)
	image := guests.Image("hello", "spt")
	padded := append(bytes.Clone(image), make([]byte, 10<<20)...)
	require.Equal(t, text("created unikernel"), w.ask(w.leaf(alice, "ten", creates(config(padded)))).Payload)
	answer := w.ask(w.leaf(alice, "ten", messages.UnikernelGet{Form: 3}))
	require.True(t, bytes.Equal(padded, answer.Payload.(messages.SuccessImage).Image))
	padded = append(bytes.Clone(image), make([]byte, 16<<20-8<<10-len(image))...)
	require.Equal(t, text("created unikernel"), w.ask(w.leaf(alice, "most", creates(config(padded)))).Payload)
}

// TestWhatAHandshakeCosts checks the memory that strangers can take against the documented limits:
// 300 KB each, or 100 MB with a large certificate.
func TestWhatAHandshakeCosts(t *testing.T) {
	const small, largeOnes, large = 300 << 10, 4, 100 << 20
	w := newWorld(t)
	w.needOverlay()
	before := w.peak()
	strangers := w.halfHandshakes()
	t.Logf("before: %.1f MB, with %d strangers: %.1f MB", mb(before), strangers, mb(w.peak()))
	require.Less(t, w.peak(), before+strangers*small)

	// All at once, and more than can have a turn: each with the largest certificate.
	chain := w.leaf(w.root, "x", creates(config(make([]byte, 16<<20-8<<10))))
	var sending sync.WaitGroup
	for range 2 * largeOnes {
		sending.Go(func() {
			if m := w.connect(chain).hear(); m.Payload == nil {
				t.Error("no answer")
			}
		})
	}
	sending.Wait()
	t.Logf("with %d large certificates: %.1f MB", largeOnes, mb(w.peak()))
	require.Less(t, w.peak(), before+strangers*small+largeOnes*large)
}

// halfHandshakes connects as many strangers as possible at once. All of them stop within their
// certificate, as late as they can without a turn; then they leave.
func (w *world) halfHandshakes() (n int) {
	chain := w.leaf(w.root, "x", creates(config(make([]byte, 100<<10))))
	var stuck sync.WaitGroup
	end := make(chan struct{})
	for from := range 4 {
		for range 31 {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+from))}}
			raw, err := dialer.Dial("tcp", w.address)
			require.NoError(w.t, err)
			c := &stops{Conn: raw, left: 64<<10 - 100, stopped: make(chan struct{}), end: end}
			stuck.Go(func() { _ = tls.Client(c, w.tls(chain)).Handshake() })
			<-c.stopped
			n++
			w.t.Cleanup(func() { _ = raw.Close() })
		}
	}
	// A client that is served now comes after all of them.
	w.ask(w.leaf(w.root, ".", info))
	close(end)
	stuck.Wait()
	return n
}

// A stops is a connection that sends only a number of bytes, and then nothing.
type stops struct {
	net.Conn
	left    int
	stopped chan struct{}
	end     chan struct{}
}

func (s *stops) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b[:min(len(b), s.left)])
	if s.left -= n; n < len(b) {
		close(s.stopped)
		<-s.end
		_ = s.Conn.Close()
		return n, net.ErrClosed
	}
	return n, err
}

func mb(bytes int) float64 { return float64(bytes) / (1 << 20) }

// TestFreeze: clients that stop in the middle of anything do not affect others.
func TestFreeze(t *testing.T) {
	w := newWorld(t)
	alice := w.below(w.root, "alice", alices)
	image := guests.Image("hello", "spt")
	require.Equal(t, text("created unikernel"), w.send(w.leaf(alice, "one", creates(config(nil))), image).Payload)
	require.Equal(t, text("added block device"), w.ask(w.leaf(alice, "disk", messages.BlockAdd{Size: 10})).Payload)
	require.Equal(t, text("added block device"), w.ask(w.leaf(alice, "other", messages.BlockAdd{Size: 1})).Payload)
	frozen := func(chain certificate.Chain, say ...byte) *guest {
		g := w.connect(chain)
		_, err := g.Write(say)
		require.NoError(t, err)
		return g
	}
	frozen(w.leaf(alice, "x", creates(config(nil))))                  // before the image
	frozen(w.leaf(alice, "x", creates(config(nil))), 0, 0)            // in the length
	frozen(w.leaf(alice, "x", creates(config(nil))), 0, 0, 1, 0, 1)   // in a chunk
	frozen(w.leaf(alice, "x", creates(config(nil))), 0, 0, 0, 1, 1)   // between chunks
	frozen(w.leaf(alice, "disk", messages.BlockSet{}), 0, 0, 1, 0, 1) // contents
	frozen(w.leaf(alice, "nope", messages.BlockSet{}), 0, 0, 1, 0, 1) // and refused
	frozen(w.leaf(alice, "x", messages.BlockAdd{Size: 99}))           // before the refusal
	frozen(w.leaf(alice, "other", messages.BlockDump{}))              // before a dump
	frozen(w.leaf(alice, "one", messages.ConsoleSubscribe{Count: messages.Some(1000)}))
	for range 3 {
		require.Len(t, w.ask(w.leaf(alice, ".", info)).Payload.(messages.SuccessInfos).List, 1)
		require.Equal(t, text("created unikernel"), w.send(w.leaf(alice, "two", creates(config(nil))), image).Payload)
		require.Equal(t, text("destroyed unikernel"), w.ask(w.leaf(alice, "two", messages.UnikernelDestroy{})).Payload)
	}
}

// TestHangupOfNothing: without an audit log, a SIGHUP does not end the endpoint.
func TestHangupOfNothing(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.endpoint.Process.Signal(unix.SIGHUP))
	w.until("it says so", func() bool {
		text, err := os.ReadFile(w.path("endpoint.log"))
		require.NoError(t, err)
		return bytes.Contains(text, []byte("SIGHUP is ignored"))
	})
	w.ask(w.leaf(w.root, ".", info))
}

// TestHangup: a SIGHUP makes the endpoint open the audit log again.
func TestHangup(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, "--audit", dir+"/audit")
	ask := func() { w.ask(w.leaf(w.root, ".", info)) }
	lines := func(name string) int {
		text, err := os.ReadFile(dir + "/" + name)
		if errors.Is(err, os.ErrNotExist) {
			return 0
		}
		require.NoError(t, err)
		return bytes.Count(text, []byte("\n"))
	}
	ask()
	w.until("both lines", func() bool { return lines("audit") == 2 })
	require.NoError(t, os.Rename(dir+"/audit", dir+"/old"))
	ask()
	w.until("two lines more", func() bool { return lines("old") == 4 })
	require.NoError(t, w.endpoint.Process.Signal(unix.SIGHUP))
	w.until("a new file", func() bool { _, err := os.Stat(dir + "/audit"); return err == nil })
	ask()
	w.until("both lines are in it", func() bool { return lines("audit") == 2 })
	require.Equal(t, 4, lines("old"))
}
