package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"albatross/messages"
	"albatross/sockets/control"
	"albatross/sockets/wire"
	"albatross/test/guests"
	"albatross/test/hostile"
	"albatross/test/vectors"
)

// hostileMemory is how much more memory than before the daemon may have used in the end: some 25 KB
// for each of a thousand connections that stay open, a few MB of what is being received, and as
// much again for the garbage collector.
const hostileMemory = 64 << 20

// canaries are unikernels that no attack should affect.
var canaries = []string{"canary", "a:b:canary"}

// TestHostile: whatever comes on a socket, the daemon and the unikernels run on.
func TestHostile(t *testing.T) {
	h := newHost(t)
	h.limitAccidents()
	h.besieged(hostileMemory, func() {
		h.sendHalves()
		for _, socket := range sockets {
			h.sendAll(socket, slices.Values(garbage()))
			h.sendAll(socket, harmless(allMessages(t)))
		}
	})
}

// TestHostileMessages: messages that native programs send, or refuse to read, do no more harm when
// they are changed.
func TestHostileMessages(t *testing.T) {
	h := newHost(t)
	h.limitAccidents()
	frames := allMessages(t)
	sent := 0
	h.besieged(hostileMemory, func() {
		for _, socket := range sockets {
			h.sendAll(socket, mutations(frames, reframed, hostile.Choose(1_000, 85_000), &sent))
		}
	})
	hostile.Figure(t, "mutated messages", sent)
}

// TestHostileRequests does the same to the control socket, whose protocol is ours.
func TestHostileRequests(t *testing.T) {
	h := newHost(t)
	var requests [][]byte
	for _, command := range []messages.Command{
		messages.EndList{}, messages.StatusList{}, messages.SettingList{}, messages.BlockReserve{}, messages.StopRequest{}, messages.StartRequest{},
		messages.HistoryList{}, messages.RollbackRequest{Number: 1},
		messages.RenameRequest{To: messages.Name{Path: "a", Label: "new"}}, messages.EventsSubscribe{},
		messages.EventsSubscribe{Since: messages.Some(time.Now())},
	} {
		for _, name := range []string{":", "a:b:", "a:b:other"} {
			b, err := control.AppendRequest(nil, parse(t, name), command)
			require.NoError(t, err)
			requests = append(requests, b)
		}
	}
	sent := 0
	h.besieged(hostileMemory, func() {
		h.sendAll("control", mutations(requests, unframed, hostile.Choose(1_000, 20_000), &sent))
	})
	hostile.Figure(t, "mutated requests for events", sent)
}

// A framing makes the bytes to send from a message that was changed, or nothing if it is not to be
// sent.
type framing func(*rand.Rand, []byte) []byte

// mutations yields n messages that are made from list, and counts them.
func mutations(list [][]byte, framed framing, n int, sent *int) iter.Seq[[]byte] {
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	return func(yield func([]byte) bool) {
		for range n {
			b := framed(random, hostile.Mutate(random, list))
			if b == nil {
				continue
			}
			if !yield(b) {
				return
			}
			*sent++
		}
	}
}

// reframed corrects, in most cases, the length of a frame that was changed. It does not send what
// would lift the limits.
func reframed(random *rand.Rand, frame []byte) []byte {
	if len(frame) > 4 && random.IntN(5) > 0 {
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	}
	if liftsLimits(frame) {
		return nil
	}
	return frame
}

// harmless yields the frames that do not lift the limits.
func harmless(frames [][]byte) iter.Seq[[]byte] {
	return slices.Values(slices.DeleteFunc(frames, liftsLimits))
}

// liftsLimits reports whether the daemon would change the policy of the root, which limitAccidents
// has set.
func liftsLimits(frames []byte) bool {
	for r := bytes.NewReader(frames); ; { // the daemon reads on behind the first
		m, err := readMessage(r)
		switch {
		case err != nil:
			return false
		case m.Header.Name.Path == messages.Root && aboutPolicy(m.Payload): // the label does not matter
			return true
		}
	}
}

func aboutPolicy(p messages.Payload) bool {
	switch p.(type) {
	case messages.PolicyAdd, messages.PolicyRemove:
		return true
	}
	return false
}

func unframed(_ *rand.Rand, item []byte) []byte { return item }

// TestHostileImages: changes of images that run are refused, or run, and harm
// neither the daemon nor others.
func TestHostileImages(t *testing.T) {
	h := newHost(t)
	var images [][]byte
	for _, name := range guests.Names() {
		images = append(images, guests.Image(name, "spt"))
	}
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	n, created := hostile.Choose(60, 2_000), 0
	c := guest("hello")
	h.besieged(hostileMemory, func() {
		for range n {
			c.Image = hostile.Mutate(random, images)
			switch answer := h.ask("x", create(c)).(type) {
			case messages.SuccessText:
				created++
				h.ask("x", messages.UnikernelDestroy{}) // it may have ended
			case messages.Failure:
				require.NotContains(t, answer.Text, h.dir)
			default:
				require.Fail(t, "an answer that is none", "%#v", answer)
			}
		}
	})
	hostile.Figure(t, "mutated images that the daemon was to run", n)
	t.Logf("%d of them were created", created)
}

// limitAccidents sets a policy: what an attack creates by accident must fill neither the machine nor
// the memory for answers, which holds as much as a block device that is dumped into one message.
func (h *host) limitAccidents() {
	h.requireText("added policy", ":", messages.PolicyAdd{Policy: messages.Policy{
		Unikernels: 10, CPUIDs: []int{0}, Memory: 256, Block: messages.Some(1),
	}})
}

// besieged checks that an attack harms neither the daemon nor the canaries, and costs less than
// that many bytes of memory.
func (h *host) besieged(memory int, attack func()) {
	h.t.Helper()
	for _, c := range canaries {
		h.create(c, guest("hello", "--quiet"))
	}
	daemon, start := h.daemon.Process.Pid, h.peak()
	listed, processes := h.canaries()
	attack()
	require.Equal(h.t, daemon, h.daemon.Process.Pid)
	nowListed, nowProcesses := h.canaries()
	require.Equal(h.t, listed, nowListed)
	require.Equal(h.t, processes, nowProcesses)
	h.t.Logf("memory: %d MB before, %d MB at most since", start>>20, h.peak()>>20)
	require.Less(h.t, h.peak()-start, memory)
}

// canaries returns what the daemon lists of the canaries, and their processes.
func (h *host) canaries() (listed []messages.NamedInfo, pids []int) {
	h.t.Helper()
	for _, c := range canaries {
		listed = append(listed, h.infos(c)...)
	}
	h.until("all canaries have a process", func() bool {
		pids = h.processes()["canary"]
		return len(pids) == len(canaries)
	})
	require.Len(h.t, listed, len(canaries))
	slices.Sort(pids)
	return listed, pids
}

// sendHalves sends the beginnings of frames, and nothing more until the test ends.
func (h *host) sendHalves() {
	for _, socket := range sockets {
		for range 50 {
			for _, n := range []uint32{1, 1000, wire.MaxCommand, wire.MaxFrame, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
				_, err := h.dial(socket).Write(append(binary.BigEndian.AppendUint32(nil, n), 0x30)[:4+n%2])
				require.NoError(h.t, err)
			}
		}
	}
}

// garbage returns bytes that are no frames, or frames of bytes that are no messages.
func garbage() (list [][]byte) {
	random := rand.NewChaCha8([32]byte{})
	for n := range 200 {
		b := make([]byte, 1+n*n)
		_, _ = random.Read(b) // it never fails
		list = append(list, b, framed(b))
	}
	return list
}

func allMessages(t *testing.T) [][]byte {
	return messagesOf(t, append([]string{vectors.Reject, vectors.Accept}, vectors.Wire...))
}

// messagesOf returns the frames of vectors. None is for a canary. It takes every eighth of the many
// random ones.
func messagesOf(t *testing.T, files []string) (list [][]byte) {
	for _, file := range files {
		for i, v := range vectors.Load(t, file) {
			if strings.HasPrefix(file, "random") && i%8 != 0 {
				continue
			}
			b := v.Bytes(t)
			require.NotContains(t, string(b), "canary")
			list = append(list, framed(b))
		}
	}
	return list
}

// talkers is how many clients send at the same time.
const talkers = 8

// sendAll sends each on a connection of its own. Each message gets an answer; all else gets none.
func (h *host) sendAll(socket string, list iter.Seq[[]byte]) {
	todo := make(chan []byte)
	var talking sync.WaitGroup
	for range talkers {
		talking.Go(func() {
			for b := range todo {
				if err := h.send(socket, b); err != nil {
					h.t.Errorf("%s: %x: %v", socket, b[:min(len(b), 200)], err)
				}
			}
		})
	}
	for b := range list {
		todo <- b
	}
	close(todo)
	talking.Wait()
}

// answerRead is how much of an answer is read, in bytes: judge looks at the beginning. The rest may
// be the contents of a block device.
const answerRead = 64 << 10

// answered is when an answer must have come, or its first 64 KB. It takes a while to compress a
// block device at the highest level on a busy machine, and what little is left of zeros comes last.
const answered = 5 * time.Minute

// send sends bytes, and checks how the daemon's answer begins.
func (h *host) send(socket string, b []byte) error {
	c, err := net.Dial("unix", h.socket(socket))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(answered)); err != nil {
		return err
	}
	_, err = c.Write(b)
	if err == nil {
		err = c.(*net.UnixConn).CloseWrite()
	}
	if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ENOTCONN) {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(c, answerRead))
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	if socket == "control" {
		return judgeRequest(b, answer)
	}
	return judge(b, answer)
}

// judgeRequest is judge for the control socket, which also answers what it does not understand. A
// client that follows events and closes half of the connection has left: there may be no answer.
func judgeRequest(said, answer []byte) error {
	m, err := control.Read(bytes.NewReader(said), control.MaxItem)
	if _, follows := m.Payload.(messages.EventsSubscribe); err == nil && !follows && len(answer) == 0 {
		return errors.New("a request is not answered")
	}
	return nil
}

// judge compares an answer with what was sent.
func judge(said, answer []byte) error {
	m, err := asked(said)
	switch {
	case err != nil && len(answer) > 0:
		return fmt.Errorf("what is no message is answered: %x", answer)
	case err != nil:
		return nil
	case len(answer) == 0:
		return fmt.Errorf("a %T is not answered", m.Payload)
	}
	header, err := headerOf(m.Header)
	if err == nil && !bytes.Contains(answer[:min(len(answer), 16+len(header))], header) {
		err = fmt.Errorf("the answer %x does not have the header %x", answer, header)
	}
	return err
}

// asked returns the message at the beginning of what was sent.
func asked(said []byte) (messages.Wire, error) { return readMessage(bytes.NewReader(said)) }

func readMessage(r io.Reader) (messages.Wire, error) {
	frame, err := wire.ReadFrame(r, wire.MaxFrame)
	if err != nil {
		return messages.Wire{}, err
	}
	return wire.Decode(frame)
}

// headerOf returns a header as it is in a message.
func headerOf(h messages.Header) ([]byte, error) {
	const failure = 4 // length of a failure without a text, after the header
	b, err := wire.Append(nil, messages.Wire{Header: h, Payload: messages.Failure{}})
	if err != nil {
		return nil, err
	}
	message := cryptobyte.String(b)
	var contents cryptobyte.String
	if !message.ReadASN1(&contents, asn1.SEQUENCE) {
		return nil, errors.New("a message is no sequence")
	}
	return contents[:len(contents)-failure], nil
}
