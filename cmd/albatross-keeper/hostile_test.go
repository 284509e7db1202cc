package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	client "albatross/runtime/keeper"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/seqpacket"
	"albatross/test/hostile"
)

// A peer speaks to the keeper by hand.
type peer struct {
	t  *testing.T
	fd int
}

func (w *world) peer(t *testing.T) peer {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	dir, err := os.Open(filepath.Join(w.dbdir, wire.Dir))
	require.NoError(t, err)
	defer func() { _ = dir.Close() }()
	require.NoError(t, unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), wire.Socket)}))
	require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}))
	return peer{t, fd}
}

func (p peer) close() { _ = unix.Close(p.fd) }

func (p peer) say(r wire.Request, files ...int) {
	p.t.Helper()
	frame, err := wire.Encode(r)
	require.NoError(p.t, err)
	require.NoError(p.t, seqpacket.Send(p.fd, frame, files))
}

// hear is the next message; there is none where the connection has ended.
func (p peer) hear() (a wire.Answer, there bool) {
	p.t.Helper()
	frame, files, err := seqpacket.Receive(p.fd, make([]byte, wire.MaxFrame))
	if err == unix.ECONNRESET || err == nil && len(frame) == 0 {
		return a, false
	}
	require.NoError(p.t, err)
	seqpacket.CloseAll(files)
	require.NoError(p.t, wire.Decode(frame, &a))
	return a, true
}

func (p peer) greet() {
	p.t.Helper()
	p.say(wire.Request{ID: 1, Do: wire.Hello, Protocol: wire.Protocol})
	a, there := p.hear()
	require.True(p.t, there)
	require.Empty(p.t, a.Err)
}

// TestAnotherVersion: it learns which this one is, and nothing else happens.
func TestAnotherVersion(t *testing.T) {
	w := newWorld(t)
	g := w.shell("a", "exec sleep 600")
	defer g.Close()
	w.disconnect()
	p := w.peer(t)
	defer p.close()
	p.say(wire.Request{ID: 7, Do: wire.Hello, Protocol: wire.Protocol + 1, Build: "next"})
	a, there := p.hear()
	require.True(t, there)
	require.Equal(t, wire.Answer{ID: 7, Protocol: wire.Protocol, Build: "build-0", Pass: true,
		Err: "this keeper (build-0) speaks protocol 1, and the daemon (next) protocol 2"}, a)
	p.say(wire.Request{ID: 8, Do: wire.List})
	a, there = p.hear()
	require.True(t, there)
	require.Equal(t, "say hello first", a.Err)
	// It is upgraded without a greeting.
	p.say(wire.Request{ID: 9, Do: wire.Upgrade, Program: builds[1]})
	a, there = p.hear()
	require.True(t, there)
	require.Equal(t, wire.Answer{ID: 9, Protocol: wire.Protocol, Build: "build-1", Pass: true}, a)
	p.close()
	w.connect()
	list, err := w.client.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []wire.Kept{{Name: ":a", Process: g.Process, Child: true}}, list)
}

// TestOneOfEach: one keeper of a directory, and one daemon of a keeper.
func TestOneOfEach(t *testing.T) {
	w := newWorld(t)
	out, err := exec.Command(builds[0], "--dbdir="+w.dbdir).CombinedOutput()
	require.Error(t, err)
	require.Equal(t, fmt.Sprintf("albatross-keeper: cannot keep %s: another keeper runs for it\n", w.dbdir), string(out))
	p := w.peer(t)
	defer p.close()
	p.say(wire.Request{ID: 1, Do: wire.Hello, Protocol: wire.Protocol})
	a, _ := p.hear()
	require.Equal(t, fmt.Sprintf("another daemon, process %d, is connected", os.Getpid()), a.Err)
	p.say(wire.Request{ID: 2, Do: wire.Upgrade, Program: builds[1]})
	a, _ = p.hear()
	require.Equal(t, fmt.Sprintf("another daemon, process %d, is connected", os.Getpid()), a.Err)
}

// TestUpgradesThatAreRefused change nothing.
func TestUpgradesThatAreRefused(t *testing.T) {
	w := newWorld(t)
	g := w.shell("a", "exec sleep 600")
	defer g.Close()
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("no program"), 0o755))
	older := filepath.Join(t.TempDir(), "older")
	require.NoError(t, os.WriteFile(older, []byte("#!/bin/sh\necho it has version 0 >&2; exit 1\n"), 0o755))
	for program, want := range map[string]string{
		"albatross-keeper": "no absolute path", "/nonexistent": "no such file", text: "exec format error", older: "it has version 0", "/bin/false": "does not take over",
	} {
		require.ErrorContains(t, w.client.Upgrade(w.ctx(), program), want)
	}
	list, err := w.client.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []wire.Kept{{Name: ":a", Process: g.Process, Child: true, Read: true}}, list)
}

// TestRefusals: what cannot be done has a reason, and no process.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	g := w.shell("a", "exec sleep 600")
	defer g.Close()
	for name, change := range map[string]struct {
		order client.Order
		want  string
	}{
		"a name that runs":    {orderOf("a", "/bin/true"), fmt.Sprintf(":a still runs, as process %d", g.Process.PID)},
		"no name":             {client.Order{Argv: []string{"/bin/true"}}, "is not the name of a unikernel"},
		"no path":             {client.Order{Name: named("b"), Argv: []string{"true"}}, "the command line is malformed"},
		"no program":          {client.Order{Name: named("b"), Argv: []string{"/nonexistent"}}, "no such file or directory"},
		"no cgroup":           {client.Order{Name: named("b"), Argv: []string{"/bin/true"}, Cgroup: "/nonexistent"}, "no such file or directory"},
		"what is no cgroup":   {client.Order{Name: named("b"), Argv: []string{"/bin/true"}, Cgroup: "/tmp"}, "cannot execute"},
		"zero in an argument": {client.Order{Name: named("b"), Argv: []string{"/bin/true", "a\x00b"}}, "zero byte"},
		"too long":            {client.Order{Name: named("b"), Argv: []string{"/bin/true", strings.Repeat("x", wire.MaxOrder)}}, "too long"},
	} {
		_, err := start(w.ctx(), w.client, change.order)
		require.ErrorContains(t, err, change.want, name)
	}
	require.ErrorContains(t, w.client.Forget(t.Context(), g.Process), "still runs")
	stranger := messages.Process{PID: 1, StartTime: 1, BootID: "x"}
	require.ErrorContains(t, w.client.Leave(t.Context(), stranger), "is not kept here")
	_, err := w.client.Adopt(t.Context(), named("b"), stranger, false, nil)
	require.ErrorContains(t, err, "process is gone")
	list, err := w.client.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// TestHostileRequests: whatever a peer sends, with whatever descriptors, the keeper goes
// on, keeps what it has, and loses no descriptor.
func TestHostileRequests(t *testing.T) {
	w := newWorld(t)
	g := w.shell("a", "exec sleep 600")
	defer g.Close()
	w.disconnect()
	w.rest()
	before := descriptors(t, w.keeper)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	pipes := [2]int{}
	require.NoError(t, unix.Pipe2(pipes[:], unix.O_CLOEXEC))
	defer seqpacket.CloseAll(pipes[:])
	offers := []int{pipes[0], pipes[1], int(g.Console.Fd()), 0, 2}
	verbs := []wire.Verb{wire.Hello, wire.Start, wire.Adopt, wire.List, wire.Take, wire.Leave, wire.Forget, "", "rm"}
	roles := []wire.File{wire.Order, wire.Gate, wire.Status, wire.Output, wire.Console, wire.Cgroup, wire.Passed, "", "x"}
	for range hostile.Choose(100, 5000) {
		p := w.peer(t)
		if random.IntN(4) > 0 {
			p.greet()
		}
		for range 10 {
			r := wire.Request{
				ID: random.Uint64N(5), Do: pick(random, verbs), Protocol: random.IntN(3), Read: random.IntN(2) == 0,
				Name: pick(random, []string{":a", ":b", "a:b:", "", "/../x", strings.Repeat("x", 5000)}),
			}
			if random.IntN(2) == 0 {
				r.Process = g.Process
			}
			var files []int
			for range random.IntN(12) {
				r.Files = append(r.Files, pick(random, roles))
				files = append(files, pick(random, offers))
			}
			frame, err := wire.Encode(r)
			require.NoError(t, err)
			if random.IntN(3) == 0 {
				frame = hostile.Mutate(random, [][]byte{frame})
			}
			if len(frame) == 0 {
				frame = []byte{0}
			}
			if seqpacket.Send(p.fd, frame, files) != nil {
				break // it has been cut off
			}
		}
		p.close()
	}
	w.connect()
	list, err := w.client.List(t.Context())
	require.NoError(t, err)
	require.Contains(t, list, wire.Kept{Name: ":a", Process: g.Process, Child: true})
	for _, kept := range list {
		if kept.End != nil {
			require.NoError(t, w.client.Forget(t.Context(), kept.Process))
		}
	}
	w.disconnect()
	w.rest()
	require.LessOrEqual(t, len(descriptors(t, w.keeper)), len(before))
	w.trouble = nil // these were expected
}

func pick[T any](random *rand.Rand, list []T) T { return list[random.IntN(len(list))] }

// TestAPeerThatDoesNotRead makes nobody wait, and its reports wait in no queue.
func TestAPeerThatDoesNotRead(t *testing.T) {
	w := newWorld(t)
	w.serve()
	w.disconnect()
	p := w.peer(t)
	defer p.close()
	p.greet()
	for i := range 3000 {
		frame, err := wire.Encode(wire.Request{ID: uint64(i + 2), Do: wire.List})
		require.NoError(t, err)
		require.NoError(t, unix.SetNonblock(p.fd, true))
		if seqpacket.Send(p.fd, frame, nil) == unix.EAGAIN {
			break
		}
	}
	require.NoError(t, unix.SetNonblock(p.fd, false))
	other := w.peer(t)
	defer other.close()
	other.say(wire.Request{ID: 1, Do: wire.List})
	a, there := other.hear()
	require.True(t, there)
	require.Equal(t, "say hello first", a.Err)
	for i := 2; ; i++ { // all that was asked is answered, in time
		a, there := p.hear()
		require.True(t, there)
		require.Equal(t, uint64(i), a.ID)
		if i == 100 {
			break
		}
	}
}

func entriesOf(n int) (list []entry) {
	for i := range n {
		e := entry{Name: fmt.Sprintf(":n%d", i), Process: messages.Process{PID: i + 1, StartTime: uint64(i), BootID: "boot"}}
		if i%2 == 0 {
			e.End = &wire.End{Exit: messages.Exit{Known: true, Code: i % 256}, AtMillis: time.Now().UnixMilli()}
		}
		list = append(list, e)
	}
	return list
}

func journalOf(t testing.TB, list []entry) (data []byte) {
	var err error
	for _, e := range list {
		data, err = appendEntry(data, e)
		require.NoError(t, err)
	}
	return data
}

// TestATornJournal: what was written before is there, wherever the last entry is cut off.
func TestATornJournal(t *testing.T) {
	list := entriesOf(5)
	data, most := journalOf(t, list), journalOf(t, list[:4])
	for n := len(most); n < len(data); n++ {
		kept, whole := readJournal(data[:n])
		require.True(t, whole, n)
		require.Equal(t, list[:4], kept)
	}
	kept, whole := readJournal(data)
	require.True(t, whole)
	require.Equal(t, list, kept)
	for i := range most { // damage differs from that
		damaged := bytes.Clone(data)
		damaged[i] ^= 0xff
		kept, whole := readJournal(damaged)
		require.False(t, whole && len(kept) == 5, i)
		require.Equal(t, list[:len(kept)], append([]entry{}, kept...))
	}
}

func TestAJournalForgets(t *testing.T) {
	list := entriesOf(3)
	data := journalOf(t, append(list, entry{Process: list[1].Process, Gone: true}, entry{Process: list[1].Process, End: &wire.End{AtMillis: 5}, Name: ":again"}, entry{Process: list[0].Process, Gone: true}))
	kept, whole := readJournal(data)
	require.True(t, whole)
	require.Equal(t, []entry{{Name: ":again", Process: list[1].Process, End: &wire.End{AtMillis: 5}}, list[2]}, kept)
}

// TestTenThousandEndsOnDisk: the next keeper reports them to the next daemon.
func TestTenThousandEndsOnDisk(t *testing.T) {
	const many = 10_000
	dbdir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dbdir, wire.Dir), 0o700))
	list := entriesOf(2 * many)
	require.NoError(t, os.WriteFile(filepath.Join(dbdir, wire.Dir, wire.Journal), journalOf(t, list), 0o600))
	w := newWorldIn(t, dbdir)
	w.until("all ends are reported", func() bool { return w.endsReported() == many })
	for _, e := range list {
		if e.End != nil {
			require.Equal(t, *e.End, w.ended(e.Process).End)
			require.NoError(t, w.client.Forget(t.Context(), e.Process))
		}
	}
	kept, err := w.client.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, kept)
}

func FuzzJournal(f *testing.F) {
	f.Add(journalOf(f, entriesOf(3)))
	f.Fuzz(func(t *testing.T, data []byte) {
		kept, _ := readJournal(data)
		again, whole := readJournal(journalOf(t, kept))
		require.True(t, whole)
		require.Equal(t, kept, again)
	})
}
