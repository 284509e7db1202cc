package remote_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/remote"
	"albatross/sockets/wire"
)

// TestRefusalsAreTold: a client reads the reason, also after it has sent a long stream that is not
// read.
func TestRefusalsAreTold(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessEmpty{}), func(_ *world, c *remote.Config) {
		c.Patience.Leave = time.Millisecond
	})
	alice := w.root.policy(t, "alice", small)
	require.Contains(t, w.refusal(alice.leaf(t, "bad_name", info).presented()), "invalid label")
	require.Contains(t, w.refusal(alice.leaf(t, "x", messages.PolicyAdd{Policy: small}).presented()), "not allowed")
	require.Contains(t, w.refusal(makeNode(t, alice, "x").presented()), "no command")

	for _, command := range []messages.Command{create(5, false), messages.BlockSet{}} {
		c := w.connect(alice.leaf(t, "bad_name", command).presented())
		require.NoError(t, wire.WriteChunk(c, make([]byte, 1<<20)))
		m, err := read(c)
		require.NoError(t, err)
		require.Contains(t, m.Payload.(messages.Failure).Text, "invalid label")
		require.Equal(t, messages.Header{Version: 5, Name: messages.Name{Path: "alice"}}, m.Header)
		for range 32 {
			require.NoError(t, wire.WriteChunk(c, make([]byte, 1<<20)))
		}
		require.NoError(t, wire.WriteEnd(c))
		_, err = c.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
	}
	require.Empty(t, w.asked, "the daemon hears of none of that")
}

// TestDaemonsThatMisbehave: whatever the daemon does, the client reads what has failed.
func TestDaemonsThatMisbehave(t *testing.T) {
	closing := func(*net.UnixConn, messages.Wire) {}
	saying := func(b string) script { return func(c *net.UnixConn, _ messages.Wire) { _, _ = c.Write([]byte(b)) } }
	for title, tc := range map[string]struct {
		behave  script
		command messages.Command
		want    string
	}{
		"closes":             {closing, info, "without an answer"},
		"closes, stream":     {closing, messages.BlockSet{}, "without an answer"},
		"closes, image":      {closing, create(5, false), "without an answer"},
		"says the end":       {saying("\x00\x00\x00\x00"), info, "without an answer"},
		"half an answer":     {saying("\x00\x00\x00\x10half"), info, "before the end"},
		"refuses":            {answering(messages.Failure{Text: "no"}), info, "no"},
		"refuses a stream":   {answering(messages.Failure{Text: "no"}), messages.BlockSet{}, "no"},
		"refuses an image":   {answering(messages.Failure{Text: "no"}), create(5, false), "no"},
		"refuses a follower": {answering(messages.Failure{Text: "no"}), messages.StatsSubscribe{}, "no"},
		"refuses a dump":     {answering(messages.Failure{Text: "no"}), messages.BlockDump{}, "no"},
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t, tc.behave)
			c := w.connect(w.root.leaf(t, "x", tc.command).presented())
			if strings.Contains(title, "stream") || strings.Contains(title, "image") {
				require.NoError(t, wire.WriteChunk(c, make([]byte, 1<<20)))
				require.NoError(t, wire.WriteEnd(c))
			}
			m, err := read(c)
			require.NoError(t, err)
			require.Contains(t, m.Payload.(messages.Failure).Text, tc.want)
			_, err = c.Read(make([]byte, 1))
			require.Equal(t, io.EOF, err)
		})
	}
	w := newWorld(t, closing, func(_ *world, c *remote.Config) { c.Sockets = filepath.Join(t.TempDir(), "none") })
	require.Contains(t, w.refusal(w.root.leaf(t, "x", info).presented()), "the daemon cannot be reached")
}

// TestLimitsOfConnections: of all together, and of one tenant. A chain with another certificate
// below the root is another tenant.
func TestLimitsOfConnections(t *testing.T) {
	stay := func(c *net.UnixConn, m messages.Wire) {
		answering(messages.SuccessText{Text: "subscribed"})(c, m)
		_, _ = c.Read(make([]byte, 1))
	}
	w := newWorld(t, stay, func(_ *world, c *remote.Config) { c.Conns = remote.ConnLimits{Total: 4, Tenant: 2} })
	alice, bob := w.root.policy(t, "alice", small), w.root.policy(t, "bob", small)
	below := alice.policy(t, "below", small)
	follow := func(n *node) *tls.Conn {
		c := w.connect(n.leaf(t, "x", messages.StatsSubscribe{}).presented())
		m, err := read(c)
		require.NoError(t, err)
		require.Equal(t, messages.SuccessText{Text: "subscribed"}, m.Payload)
		return c
	}
	first := follow(alice)
	follow(below)
	require.Contains(t, w.refusal(alice.leaf(t, "x", info).presented()), "2 connections of this tenant")
	third := follow(bob)
	follow(bob)
	require.Contains(t, w.refusal(alice.leaf(t, "x", info).presented()), "2 connections of this tenant")
	carl := w.root.policy(t, "carl", small)
	follow(carl) // carl has no connection yet, and gets the place of alice's first
	m, err := read(first)
	require.NoError(t, err)
	require.Contains(t, m.Payload.(messages.Failure).Text, "another tenant had fewer of them")
	requireEnd(t, first)
	eventually(t, "the log says why", func() bool { return strings.Contains(w.log.String(), "another tenant had fewer of them") })
	require.Contains(t, w.refusal(carl.leaf(t, "x", info).presented()), "no room for another connection")
	require.NoError(t, third.Close())
	eventually(t, "there is room again", func() bool {
		m, err := w.ask(w.root.leaf(t, "x", messages.StatsSubscribe{}).presented())
		return err == nil && m.Payload == messages.SuccessText{Text: "subscribed"}
	})
}

// TestWhoLosesItsPlace: the client reads that where a message may begin, whatever is under way.
func TestWhoLosesItsPlace(t *testing.T) {
	silent := func(*net.UnixConn, messages.Wire) {}
	subscribed := messages.SuccessText{Text: "subscribed"}
	for title, tc := range map[string]struct {
		command messages.Command
		sends   bool // the client sends a part of a stream
		behave  script
		hears   bool // the client has got an answer before
	}{
		"following a console":   {messages.ConsoleSubscribe{Count: messages.Some(1)}, false, answering(subscribed), true},
		"following statistics":  {messages.StatsSubscribe{}, false, answering(subscribed), true},
		"waiting for an answer": {messages.UnikernelRestart{}, false, silent, false},
		"sending an image":      {create(5, false), true, silent, false},
		"sending contents":      {messages.BlockSet{}, true, silent, false},
		"reading contents":      {messages.BlockDump{}, false, answering(messages.SuccessDump{}), true},
	} {
		t.Run(title, func(t *testing.T) {
			w, records := busyWorld(t, tc.behave)
			alice := w.root.policy(t, "alice", small)
			first := w.connect(alice.leaf(t, "x", tc.command).presented())
			if tc.sends {
				require.NoError(t, wire.WriteChunk(first, make([]byte, 1000)))
			}
			if tc.hears {
				_, err := read(first)
				require.NoError(t, err)
			}
			w.crowd(alice, records)
			m, err := read(first)
			require.NoError(t, err)
			require.Contains(t, m.Payload.(messages.Failure).Text, "another tenant had fewer of them")
			require.Equal(t, messages.Header{Version: 5, Name: messages.Name{Path: "alice", Label: "x"}}, m.Header)
			requireEnd(t, first)
			require.NoError(t, first.Close())
			eventually(t, "it is noted down", func() bool {
				return slices.ContainsFunc(records(), func(r remote.Record) bool {
					return r.Result == remote.Broken && strings.Contains(r.Reason, "another tenant had fewer of them")
				})
			})
		})
	}
}

// TestWhoLosesItsPlaceWithinAMessage: the client reads nothing after the part of that message.
func TestWhoLosesItsPlaceWithinAMessage(t *testing.T) {
	w, records := busyWorld(t, func(c *net.UnixConn, _ messages.Wire) {
		_, _ = c.Write(append([]byte{0, 1, 0, 0}, make([]byte, 20_000)...))
	})
	alice := w.root.policy(t, "alice", small)
	first := w.connect(alice.leaf(t, "x", info).presented())
	_, err := first.Read(make([]byte, 1))
	require.NoError(t, err)
	w.crowd(alice, records)
	rest, err := io.ReadAll(first)
	require.NoError(t, err)
	require.NotContains(t, string(rest), "another tenant")
}

// TestWhoLosesItsPlaceAndReadsNothing: the endpoint does not wait for the client.
func TestWhoLosesItsPlaceAndReadsNothing(t *testing.T) {
	full := make(chan struct{}, 9)
	w, records := busyWorld(t, func(c *net.UnixConn, m messages.Wire) {
		answering(messages.SuccessText{Text: "subscribed"})(c, m)
		m.Payload = messages.DataConsole{Time: time.Unix(0, 0), Line: strings.Repeat("x", 10_000)}
		for c.SetWriteDeadline(time.Now().Add(time.Second)) == nil && wire.WriteFrame(c, m) == nil {
			continue // until the endpoint takes nothing more
		}
		full <- struct{}{}
	}, func(_ *world, c *remote.Config) { c.Patience.Leave = time.Millisecond })
	alice := w.root.policy(t, "alice", small)
	w.connect(alice.leaf(t, "x", messages.ConsoleSubscribe{Count: messages.Some(1)}).presented())
	<-full
	w.crowd(alice, records)
	eventually(t, "it is noted down", func() bool {
		return slices.ContainsFunc(records(), func(r remote.Record) bool { return r.Result == remote.Broken })
	})
}

// busyWorld has room for two connections, and a daemon that keeps them open. It also returns a
// function that reads the audit log.
func busyWorld(t *testing.T, behave script, changes ...func(*world, *remote.Config)) (*world, func() []remote.Record) {
	path := filepath.Join(t.TempDir(), "audit")
	audit, err := openAudit(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, audit.Close()) })
	stays := func(c *net.UnixConn, m messages.Wire) {
		behave(c, m)
		_, _ = io.Copy(io.Discard, c)
	}
	changes = append(changes, func(_ *world, c *remote.Config) {
		c.Audit, c.Conns = audit, remote.ConnLimits{Total: 2, Tenant: 2}
	})
	return newWorld(t, stays, changes...), func() []remote.Record { return records(t, path) }
}

// crowd makes another connection of the tenant that has one, and one of another tenant, which gets
// the place of the first.
func (w *world) crowd(n *node, records func() []remote.Record) {
	w.t.Helper()
	accepted := func(count int) {
		eventually(w.t.(*testing.T), "it is served", func() bool { return len(records()) == count })
	}
	accepted(1)
	w.connect(n.leaf(w.t, "y", messages.StatsSubscribe{}).presented())
	accepted(2)
	w.connect(w.root.policy(w.t, "bob", small).leaf(w.t, "x", messages.StatsSubscribe{}).presented())
}

// requireEnd checks that a connection ends in good order.
func requireEnd(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

// TestAudit: the log shows who has asked for what, and what came of it.
func TestAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	audit, err := openAudit(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, audit.Close()) })
	w := newWorld(t, answering(messages.Failure{Text: "no\n\xff"}), func(_ *world, c *remote.Config) { c.Audit = audit })
	alice := w.root.policy(t, "alice", small)
	leaf := alice.leaf(t, "x", info)
	require.Equal(t, "no\n\xff", w.refusal(leaf.presented()))
	w.refusal(alice.leaf(t, "bad_name", info).presented())

	var lines []remote.Record
	eventually(t, "three lines", func() bool { lines = records(t, path); return len(lines) == 3 })
	for i, want := range []remote.Record{
		{Number: 1, Name: "alice:x", Result: remote.Accepted, Chain: []string{"root", "alice", "x"}},
		{Number: 1, Name: "alice:x", Result: remote.Failed, Chain: []string{"root", "alice", "x"}, Reason: "no\n\uFFFD", Out: lines[1].Out},
		{Number: 2, Name: "alice:", Result: remote.Refused, Chain: []string{"root", "alice", "bad_name"}, Reason: lines[2].Reason, Out: lines[2].Out},
	} {
		got := lines[i]
		require.WithinDuration(t, time.Now(), got.Time, limit)
		require.Contains(t, got.Address, "127.0.0.1:")
		require.Len(t, got.Serials, 3)
		require.Equal(t, "info", got.Command)
		got.Time, got.Address, got.Serials, got.Command = time.Time{}, "", nil, ""
		require.Equal(t, want, got)
	}
	require.Equal(t, leaf.cert.SerialNumber.Text(16), lines[0].Serials[2])
	stat, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), stat.Mode())

	t.Run("moved away", func(t *testing.T) {
		require.NoError(t, os.Rename(path, path+".1"))
		require.NoError(t, audit.Reopen())
		w.refusal(leaf.presented())
		eventually(t, "two lines", func() bool { return len(records(t, path)) == 2 })
		require.Len(t, records(t, path+".1"), 3)
	})
}

func records(t *testing.T, path string) (list []remote.Record) {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for line := range bytes.Lines(text) {
		var r remote.Record
		require.NoError(t, json.Unmarshal(line, &r), "%s", line)
		list = append(list, r)
	}
	return list
}

// TestAuditThatCannotBeWritten: the endpoint then does nothing.
func TestAuditThatCannotBeWritten(t *testing.T) {
	audit, err := openAudit("/dev/full")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, audit.Close()) })
	w := newWorld(t, answering(messages.SuccessEmpty{}), func(_ *world, c *remote.Config) { c.Audit = audit })
	require.Contains(t, w.refusal(w.root.leaf(t, "x", info).presented()), "cannot write down what it does")
	require.Empty(t, w.asked)
	require.Contains(t, w.log.String(), "no space left on device")

	_, err = openAudit(filepath.Join(t.TempDir(), "none", "audit"))
	require.ErrorContains(t, err, "cannot open the audit log")
}

// TestServeConn serves a connection that inetd has accepted.
func TestServeConn(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessEmpty{}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		if c, err := l.Accept(); err == nil {
			w.server.ServeConn(context.Background(), c)
		}
	}()
	w.address = l.Addr().String()
	m, err := w.ask(w.root.leaf(t, "x", info).presented())
	require.NoError(t, err)
	require.Equal(t, messages.SuccessEmpty{}, m.Payload)
	<-served
}
