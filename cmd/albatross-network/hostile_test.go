package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/confine"
	"albatross/runtime/network/process"
	"albatross/runtime/network/wire"
	"albatross/runtime/seqpacket"
	"albatross/test/station"
)

// A peer speaks to the process by hand.
type peer struct {
	t  *testing.T
	fd int
}

func (w *world) peer() peer {
	w.t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = unix.Close(fd) })
	dir, err := os.Open(w.config.Dir)
	require.NoError(w.t, err)
	defer func() { _ = dir.Close() }()
	require.NoError(w.t, unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), wire.Socket)}))
	timeout := unix.NsecToTimeval(int64(patience))
	require.NoError(w.t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	return peer{w.t, fd}
}

// say may find that the process has ended the connection.
func (p peer) say(frame []byte, files ...int) {
	p.t.Helper()
	err := seqpacket.Send(p.fd, frame, files)
	require.True(p.t, err == nil || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET), err)
}

func (p peer) ask(r wire.Request, files ...int) wire.Answer {
	p.t.Helper()
	frame, err := wire.Encode(r)
	require.NoError(p.t, err)
	p.say(frame, files...)
	a, there := p.hear()
	require.True(p.t, there)
	require.Equal(p.t, r.ID, a.ID)
	return a
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

// TestHostileRequests end the connection or are refused, and nothing else happens.
func TestHostileRequests(t *testing.T) {
	w := newWorld(t)
	for _, frame := range []string{"nonsense", "\xa0", "\xa1\x02\x65hello", strings.Repeat("x", wire.MaxFrame+1), "\xbf\x01\x01\xff"} {
		p := w.peer()
		p.say([]byte(frame), 0, 1, 2)
		_, there := p.hear()
		require.False(t, there, "%.20q", frame)
	}
	p := w.peer()
	for want, r := range map[string]wire.Request{
		"speaks protocol 1, and the daemon (x) protocol 7": {Do: wire.Hello, Protocol: 7, Build: "x"},
		"the network is not configured":                    {Do: wire.Admit, Station: web},
		"the network is not configured ":                   {Do: "dance"},
		"this process serves service, not other":           {Do: wire.Configure, Config: wire.Config{Backend: messages.UserNetwork, Name: "other", Gateway: userMode().Gateway, MTU: 1500}},
		"is no IPv6 subnet":                                {Do: wire.Configure, Config: wire.Config{Backend: messages.UserNetwork, Name: "service", Gateway: userMode().Gateway, Gateway6: userMode().Gateway, MTU: 1500}},
		"cannot be the name of an interface":               {Do: wire.Configure},
		"a text of a request is too long":                  {Do: wire.Hello, Build: strings.Repeat("x", wire.MaxText+1)},
	} {
		r.ID = 5
		require.Contains(t, p.ask(r).Err, strings.TrimSpace(want))
	}
	w.configure(userMode(), web)
	other := userMode()
	other.MTU = 1400
	line, plug := station.Pair(t)
	defer func() { _ = unix.Close(plug) }()
	for want, r := range map[string]wire.Request{
		"the network is configured already":      {Do: wire.Configure, Config: other},
		"it is not known how to":                 {Do: "dance"},
		"the address 10.90.0.2 is that of 02:00": {Do: wire.Admit, Station: wire.Station{MAC: db.MAC, Addresses: web.Addresses}},
		"10.91.0.2 is not in the subnet":         {Do: wire.Admit, Station: wire.Station{MAC: db.MAC, Addresses: []netip.Addr{addr("10.91.0.2")}}},
		"that of the gateway":                    {Do: wire.Admit, Station: wire.Station{MAC: db.MAC, Addresses: []netip.Addr{addr(gateway)}}},
		"it is zero":                             {Do: wire.Dismiss},
		"cannot publish 1:1: invalid IP is not":  {Do: wire.Publish, Publication: messages.Publication{From: 1, To: 1}},
		"there is no station 02:00:00:00:00:02":  {Do: wire.Attach, MAC: db.MAC},
		"it is not attached":                     {Do: wire.Descriptor, MAC: web.MAC},
	} {
		r.ID = 6
		require.Contains(t, p.ask(r, plug).Err, want)
	}
	require.Contains(t, p.ask(wire.Request{ID: 7, Do: wire.Attach, MAC: web.MAC}).Err, "there are 0 descriptors, not one")
	require.Contains(t, p.ask(wire.Request{ID: 7, Do: wire.Attach, MAC: web.MAC}, plug, plug).Err, "there are 2 descriptors, not one")
	require.Contains(t, p.ask(wire.Request{ID: 7, Do: wire.Attach, MAC: web.MAC}, 0).Err, "the descriptor is not a")
	require.Empty(t, p.ask(wire.Request{ID: 8, Do: wire.Attach, MAC: web.MAC}, plug).Err)
	line.Ask(station.ARP(web.MAC, web.Addresses[0], addr(gateway)), station.IsARPReply(addr(gateway)))
}

// TestHostileNoise: no message ends the process, or leaves a descriptor open in it.
func TestHostileNoise(t *testing.T) {
	w := newWorld(t)
	w.configure(userMode(), web)
	before := w.descriptors()
	random := rand.New(rand.NewPCG(1, 2))
	valid, err := wire.Encode(wire.Request{ID: 1, Do: wire.Attach, MAC: web.MAC, Station: web, Config: userMode()})
	require.NoError(t, err)
	_, plug := station.Pair(t)
	defer func() { _ = unix.Close(plug) }()
	p := w.peer()
	for range 3000 {
		frame := append([]byte(nil), valid...)
		for range 1 + random.IntN(4) {
			frame[random.IntN(len(frame))] = byte(random.Uint32())
		}
		p.say(frame, plug)
		if _, there := p.hear(); !there {
			require.NoError(t, unix.Close(p.fd))
			p = w.peer()
		}
	}
	require.NoError(t, unix.Shutdown(p.fd, unix.SHUT_RDWR))
	require.NoError(t, w.Dismiss(t.Context(), web.MAC))
	if unix.Geteuid() == 0 { // others may not look into the process
		require.Eventually(t, func() bool { return w.descriptors() <= before }, patience, time.Millisecond)
	}
}

func (w *world) descriptors() int {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(w.PID()), "fd"))
	if unix.Geteuid() != 0 {
		require.ErrorIs(w.t, err, os.ErrPermission, "it is not dumpable")
		return 0
	}
	require.NoError(w.t, err)
	return len(entries)
}

// TestTooManyDaemons: further connections wait until others end, and the first goes on.
func TestTooManyDaemons(t *testing.T) {
	w := newWorld(t)
	for range 3 * maxConns {
		w.peer()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := process.Connect(ctx, w.config)
	require.ErrorIs(t, err, process.ErrSilent)
	w.configure(userMode())
}

// status returns a line of the status of the process.
func (w *world) status(key string) string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(w.PID()), "status"))
	require.NoError(w.t, err)
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, key+":"); found {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	require.Fail(w.t, "there is no "+key)
	return ""
}

// TestWhatTheProcessHas: no privilege, except that for low ports if root has started it, and no
// files.
func TestWhatTheProcessHas(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, "1", w.status("NoNewPrivs"))
	for _, set := range []string{"CapInh", "CapAmb"} {
		require.Equal(t, "0000000000000000", w.status(set))
	}
	session, err := unix.Getsid(w.PID())
	require.NoError(t, err)
	require.Equal(t, w.PID(), session)
	if unix.Geteuid() != 0 {
		require.Equal(t, "0000000000000000", w.status("CapPrm"))
		w.descriptors()
		return
	}
	own := strconv.Itoa(confine.Own(w.PID()))
	require.Equal(t, strings.Join([]string{own, own, own, own}, " "), w.status("Uid"))
	require.Equal(t, strings.Join([]string{own, own, own, own}, " "), w.status("Gid"))
	require.Empty(t, w.status("Groups"))
	for _, set := range []string{"CapPrm", "CapEff"} {
		require.Equal(t, fmt.Sprintf("%016x", 1<<unix.CAP_NET_BIND_SERVICE), w.status(set))
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", w.PID()))
	require.NoError(t, err)
	require.NotEmpty(t, tasks)
	for _, task := range tasks {
		status, err := os.ReadFile(filepath.Join(task, "status"))
		require.NoError(t, err)
		require.Contains(t, string(status), "CapEff:\t"+fmt.Sprintf("%016x", 1<<unix.CAP_NET_BIND_SERVICE), "each thread")
	}
	root, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(w.PID()), "root"))
	require.NoError(t, err)
	require.Empty(t, root)
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join("/proc", strconv.Itoa(w.PID()), "mem"), &stat))
	require.Zero(t, stat.Uid, "it is not dumpable")
	require.Empty(t, w.log)
}

// TestOneProcessPerNetwork: a second one ends, and all daemons find the first.
func TestOneProcessPerNetwork(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, os.Rename(filepath.Join(w.config.Dir, wire.Socket), filepath.Join(w.config.Dir, "moved")))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := process.Connect(ctx, w.config)
	require.ErrorContains(t, err, "another process serves it")
	require.NoError(t, os.Rename(filepath.Join(w.config.Dir, "moved"), filepath.Join(w.config.Dir, wire.Socket)))
	second, err := process.Connect(t.Context(), w.config)
	require.NoError(t, err)
	require.Equal(t, w.PID(), second.PID())
	second.Close()
}

// TestAStoppedProcess is reported with what to do.
func TestAStoppedProcess(t *testing.T) {
	w := newWorld(t)
	pid := w.PID()
	require.NoError(t, unix.Kill(pid, unix.SIGSTOP))
	require.Eventually(t, func() bool { return w.status("State") == "T (stopped)" }, patience, time.Millisecond)
	defer func() { require.NoError(t, unix.Kill(pid, unix.SIGCONT)) }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, w.Configure(ctx, userMode()), process.ErrSilent)
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := process.Connect(ctx, w.config)
	require.ErrorContains(t, err, "does not answer")
}

// maxIdle bounds the memory of a process with a hundred stations at rest, in KB.
const maxIdle = 64 << 10

// TestMemory prints what a network takes.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	t.Logf("not configured: %s, of that its own: %s", w.status("VmRSS"), w.status("RssAnon"))
	w.configure(userMode())
	t.Logf("in user mode: %s, of that its own: %s", w.status("VmRSS"), w.status("RssAnon"))
	const count = 100
	for i := range byte(count) {
		s := wire.Station{MAC: messages.MAC{2, 1, 0, 0, 0, i}, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 90, 0, i + 2})}}
		require.NoError(t, w.Admit(t.Context(), s))
		line, _ := w.attach(s)
		line.Ask(station.ARP(s.MAC, s.Addresses[0], addr(gateway)), station.IsARPReply(addr(gateway)))
	}
	rss := w.status("VmRSS")
	t.Logf("with %d stations: %s, of that its own: %s", count, rss, w.status("RssAnon"))
	kilobytes, err := strconv.Atoi(strings.TrimSuffix(rss, " kB"))
	require.NoError(t, err)
	require.Less(t, kilobytes, maxIdle)
}
