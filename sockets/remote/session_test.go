package remote_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/control"
	"albatross/sockets/remote"
	"albatross/sockets/wire"
)

// session returns the certificate of a client that wants a session.
func (n *node) session(t testing.TB, changes ...change) *node {
	return makeNode(t, n, "session", append([]change{usedFor(x509.ExtKeyUsageClientAuth)}, changes...)...)
}

// begin connects a client of ours for a session.
func (w *world) begin(own tls.Certificate) *client.Session {
	w.t.Helper()
	s, _, err := client.DialSession(w.t.Context(), client.Endpoint{
		Address: w.address, Authority: []*x509.Certificate{w.root.cert},
		Choose: func(bool) (tls.Certificate, error) { return own, nil },
	})
	require.NoError(w.t, err)
	require.NotNil(w.t, s, "the endpoint offers sessions")
	w.t.Cleanup(func() { _ = s.Close() })
	return s
}

// inSession gives a command.
func inSession(t testing.TB, s *client.Session, at messages.Endpoint, name string, command messages.Command) (messages.Success, error) {
	t.Helper()
	c := s.Open(at)
	require.NotNil(t, c)
	defer func() { require.NoError(t, c.Close()) }()
	return c.Ask(t.Context(), parsed(t, name), command)
}

func parsed(t testing.TB, name string) messages.Name {
	n, err := messages.ParseName(name)
	require.NoError(t, err)
	return n
}

// do gives a command of the control socket.
func do(t testing.TB, s *client.Session, name string, command messages.Command) error {
	t.Helper()
	c := s.Open(messages.AtControl)
	err := c.Do(t.Context(), parsed(t, name), command)
	_ = c.Close() // a session that has ended cannot be closed in good order
	return err
}

// withControl adds the control socket.
func withControl(behave script) func(*world, *remote.Config) {
	return func(w *world, c *remote.Config) {
		w.listen(filepath.Join(c.Sockets, "control.sock"), func(c *net.UnixConn) {
			m, err := control.Read(c, control.MaxItem)
			if err != nil {
				return
			}
			if control.Native(m.Payload) != nil {
				native, err := read(c)
				if err != nil {
					w.t.Errorf("nothing follows: %v", err)
					return
				}
				m = control.Complete(m, native)
			}
			w.asked <- m
			behave(c, m)
		})
	}
}

// saying returns a script that says something on the control socket, and closes.
func saying(list ...messages.Payload) script {
	return func(c *net.UnixConn, m messages.Wire) {
		for _, m.Payload = range list {
			b, _ := control.Append(nil, m)
			_, _ = c.Write(b)
		}
	}
}

// audited returns a change that adds an audit log, and a function that reads it.
func audited(t *testing.T) (func(*world, *remote.Config), func() []remote.Record) {
	path := filepath.Join(t.TempDir(), "audit")
	audit, err := openAudit(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, audit.Close()) })
	return func(_ *world, c *remote.Config) { c.Audit = audit }, func() []remote.Record { return records(t, path) }
}

// TestSession: commands for all sockets follow one another on one connection. The daemon gets their
// names below the path of the certificates, and before what changes something, the policies.
func TestSession(t *testing.T) {
	image := []byte(strings.Repeat("image", 50_000))
	audit, lines := audited(t)
	native := func(c *net.UnixConn, m messages.Wire) {
		switch m.Payload.(type) {
		case messages.UnikernelInfo:
			answering(messages.SuccessInfos{Form: 4})(c, m)
		case messages.BlockSet:
			contents, err := io.ReadAll(wire.NewChunkReader(c))
			if err != nil || !bytes.Equal(contents, image) {
				answering(messages.Failure{Text: "other contents"})(c, m)
				return
			}
			answering(messages.SuccessText{Text: "set"})(c, m)
		case messages.ConsoleSubscribe:
			answering(messages.SuccessText{Text: "subscribed"})(c, m)
			answering(messages.DataConsole{Time: time.Unix(1, 0), Line: "hello"})(c, m)
			_, _ = io.Copy(io.Discard, c) // until the client has said all
			answering(messages.DataConsole{Time: time.Unix(2, 0), Line: "world"})(c, m)
		default:
			answering(messages.SuccessText{Text: "done"})(c, m)
		}
	}
	statuses := messages.SuccessStatuses{List: []messages.UnikernelStatus{{Name: parsed(t, "x"), State: messages.StateRunning}}}
	w := newWorld(t, native, audit, withControl(func(c *net.UnixConn, m messages.Wire) {
		switch m.Payload.(type) {
		case messages.StatusList:
			saying(statuses)(c, m)
		case messages.EventsSubscribe:
			saying(messages.DataPresent{})(c, m)
			_, _ = io.Copy(io.Discard, c)
			saying(messages.DataMissed{Count: 3})(c, m)
		default:
			saying(messages.SuccessText{Text: "done"})(c, m)
		}
	}))
	alice := w.root.policy(t, "alice", large).policy(t, "below", small)
	s := w.begin(alice.session(t).presented())
	asked := func(name string, command messages.Command) {
		t.Helper()
		m := <-w.asked
		require.Equal(t, parsed(t, name), m.Header.Name)
		require.Equal(t, command, m.Payload)
	}

	answer, err := inSession(t, s, messages.AtVMMD, ":", info)
	require.NoError(t, err)
	require.Equal(t, messages.SuccessInfos{Form: 4}, answer)
	asked("alice:below:", info)

	c := s.Open(messages.AtControl)
	list, err := c.Statuses(t.Context(), parsed(t, "deep:"))
	require.NoError(t, err)
	require.Equal(t, statuses.List, list)
	require.NoError(t, c.Close())
	asked("alice:below:deep:", messages.StatusList{})

	require.Len(t, w.policies, 2, "a question on the control socket needs no policies")
	require.NoError(t, do(t, s, "deep:x", messages.RenameRequest{To: parsed(t, "y")}))
	asked("alice:below:deep:x", messages.RenameRequest{To: parsed(t, "alice:below:y")})
	require.Len(t, w.policies, 4)
	require.Equal(t, []messages.NamedPolicy{
		{Name: parsed(t, "alice:"), Policy: large}, {Name: parsed(t, "alice:below:"), Policy: small},
	}, w.policies[2:])

	// An image, however large, follows the command.
	creation := create(5, false)
	creation.Config.Image = image
	_, err = inSession(t, s, messages.AtVMMD, "x", creation)
	require.NoError(t, err)
	asked("alice:below:x", messages.UnikernelDeploy{Create: creation, Native: true}) // so the daemon learns who asks
	creation.Config.Publish = []messages.Publication{{From: 8080, To: 80}}
	require.NoError(t, do(t, s, "x", messages.UnikernelDeploy{Create: creation}))
	asked("alice:below:x", messages.UnikernelDeploy{Create: creation})
	c = s.Open(messages.AtVMMD)
	_, err = c.Upload(t.Context(), parsed(t, "disk"), messages.BlockSet{}, io.NopCloser(bytes.NewReader(image)))
	require.NoError(t, err)
	require.Equal(t, parsed(t, "alice:below:disk"), c.Name())
	_ = c.Close() // Upload has set a deadline
	asked("alice:below:disk", messages.BlockSet{})

	// What has no end, ends when the client has said all, and the session goes on.
	s = w.begin(alice.session(t).presented())
	c = s.Open(messages.AtConsole)
	_, err = c.Ask(t.Context(), parsed(t, "x"), messages.ConsoleSubscribe{Count: messages.Some(1)})
	require.NoError(t, err)
	line, err := c.NextLine(t.Context())
	require.NoError(t, err)
	require.Equal(t, "hello", line.Line)
	require.NoError(t, c.CloseWrite())
	line, err = c.NextLine(t.Context())
	require.NoError(t, err)
	require.Equal(t, "world", line.Line)
	_, err = c.NextLine(t.Context())
	require.ErrorIs(t, err, client.ErrClosed)
	require.NoError(t, c.Close())
	asked("alice:below:x", messages.ConsoleSubscribe{Count: messages.Some(1)})
	c = s.Open(messages.AtControl)
	events, err := c.Events(t.Context(), parsed(t, ":"), messages.Option[time.Time]{})
	require.NoError(t, err)
	for _, want := range []messages.Data{messages.DataPresent{}, messages.DataMissed{Count: 3}} {
		next, err := events.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, next)
		if want == (messages.DataPresent{}) {
			require.NoError(t, c.CloseWrite())
		}
	}
	require.NoError(t, c.Close())
	asked("alice:below:", messages.EventsSubscribe{})
	_, err = inSession(t, s, messages.AtVMMD, "x", info)
	require.NoError(t, err)
	asked("alice:below:x", info)

	// Each command is in the audit log, with its own number and that of the session.
	eventually(t, "all is noted down", func() bool { return len(lines()) == 18 })
	numbers, sessions := map[uint64]int{}, map[uint64]int{}
	for _, r := range lines() {
		numbers[r.Number]++
		sessions[r.Session]++
		require.Equal(t, []string{"root", "alice", "below", "session"}, r.Chain)
	}
	require.Len(t, numbers, 9)
	require.Len(t, sessions, 2)
	require.Equal(t, remote.Done, lines()[17].Result)
}

// TestSessionsAreLimited: what a client may not do is refused before the daemon hears of it, and the
// session goes on.
func TestSessionsAreLimited(t *testing.T) {
	audit, lines := audited(t)
	w := newWorld(t, answering(messages.SuccessEmpty{}), audit, withControl(saying(messages.SuccessText{})))
	bridged := large
	bridged.Bridges = []string{"alice.lan"}
	alice := w.root.policy(t, "alice", bridged)
	s := w.begin(alice.session(t).presented())
	port := func(n uint16) messages.Publication { return messages.Publication{From: n, To: 80} }
	tooLarge := create(5, false)
	tooLarge.Config.Argv = messages.Some([]string{strings.Repeat("x", 70_000)})
	low := create(5, false)
	low.Config.Publish = []messages.Publication{port(80)}
	elsewhere := create(5, false)
	elsewhere.Config.Health = messages.Some(messages.HealthCheck{Kind: messages.HealthTCP, Host: netip.MustParseAddr("127.0.0.1"), Port: 80, Millis: 1000})
	subnet := messages.NetworkAsk{Subnet: netip.MustParsePrefix("10.0.0.0/8")}
	for title, tc := range map[string]struct {
		at      messages.Endpoint
		name    string
		command messages.Command
		want    string
	}{
		"a policy":            {messages.AtVMMD, ":", messages.PolicyAdd{Policy: large}, "add-policy is not possible from afar"},
		"to remove a policy":  {messages.AtVMMD, ":", messages.PolicyRemove{}, "remove-policy is not possible from afar"},
		"a collector":         {messages.AtVMMD, ":", messages.StatsInitial{}, "stats-initial is not possible from afar"},
		"a console":           {messages.AtConsole, "x", messages.ConsoleAdd{}, "console-add is not possible from afar"},
		"statistics":          {messages.AtStats, "x", messages.StatsAdd{PID: 1}, "stats-add is not possible from afar"},
		"another socket":      {messages.AtConsole, "x", info, "info is no command for the socket console"},
		"no name":             {messages.AtVMMD, ":", messages.BlockAdd{Size: 1}, "create-block needs a name"},
		"a large command":     {messages.AtVMMD, "x", tooLarge, "frame is too long"},
		"no socket":           {"nosuch", "x", info, `there is no socket "nosuch"`},
		"a foreign network":   {messages.AtControl, "other", messages.NetworkCreate{}, "the policy of alice: does not allow the bridge alice.other"},
		"a network below":     {messages.AtControl, "lan:lan", messages.NetworkRemove{}, "the policy of alice: does not allow the bridge alice.lan.lan"},
		"a subnet":            {messages.AtControl, "lan", messages.NetworkCreate{Asked: subnet}, "with these options"},
		"a network that is":   {messages.AtControl, "lan", messages.NetworkCreate{Asked: messages.NetworkAsk{NoNAT: true}}, "with these options"},
		"a low port":          {messages.AtControl, "x", messages.PublishAdd{Publication: port(1023)}, "cannot publish a port below 1024"},
		"a low port, created": {messages.AtControl, "x", messages.UnikernelDeploy{Create: low}, "cannot publish a port below 1024"},
		"another host":        {messages.AtControl, "x", messages.UnikernelDeploy{Create: elsewhere}, "cannot check the health of a unikernel at another address"},
	} {
		t.Run(title, func(t *testing.T) {
			before := len(lines())
			var err error
			if tc.at == messages.AtControl {
				err = do(t, s, tc.name, tc.command)
			} else {
				_, err = inSession(t, s, tc.at, tc.name, tc.command)
			}
			var refused *client.Refusal
			require.ErrorAs(t, err, &refused)
			require.Contains(t, refused.Text, tc.want)
			require.Empty(t, w.asked)
			require.Equal(t, remote.Refused, lines()[before].Result)
		})
	}
	for _, command := range []messages.Command{
		messages.NetworkCreate{Asked: messages.NetworkAsk{MTU: 1400}}, messages.NetworkRemove{}, messages.PublishAdd{Publication: port(1024)},
	} {
		require.NoError(t, do(t, s, "lan", command))
		require.Equal(t, command, (<-w.asked).Payload)
	}
	// An administrator has no policy, and so may do all that.
	s = w.begin(w.root.session(t).presented())
	for _, command := range []messages.Command{messages.NetworkCreate{Asked: subnet}, messages.PublishAdd{Publication: port(80)}} {
		require.NoError(t, do(t, s, "other", command))
		m := <-w.asked
		require.Regexp(t, `^session \(serial [0-9a-f]+\)$`, m.For, "on whose behalf the daemon is asked")
		m.For = ""
		require.Equal(t, messages.Wire{Header: messages.Header{Name: parsed(t, "other")}, Payload: command}, m)
	}
}

// TestEveryCommandInASession: a session may give what a certificate may contain, and of the control
// socket what is said to be possible. The daemon does not hear of the rest.
func TestEveryCommandInASession(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessEmpty{}), withControl(saying(messages.SuccessText{})))
	own := w.root.session(t).presented()
	c := w.rawSession(own)
	for _, tc := range commands {
		p, _ := messages.PropertiesOf(tc.command)
		for name, allowed := range map[string]bool{"x": tc.named, ":": tc.path} {
			empty := frame(make([]byte, 4)) // a stream, which some read
			_, err := c.Write(slices.Concat(socket(p.At), frame(encoded(t, name, tc.command)), empty, make([]byte, 4)))
			require.NoError(t, err)
			answer, err := io.ReadAll(wire.NewChunkReader(c))
			require.NoError(t, err)
			m, err := read(bytes.NewReader(answer))
			require.NoError(t, err)
			_, done := m.Payload.(messages.Success)
			require.Equal(t, allowed, done, "%#v: %v", tc.command, m.Payload)
			require.Equal(t, allowed, len(w.asked) == 1, "%#v", tc.command)
			if allowed {
				require.Equal(t, parsed(t, name), (<-w.asked).Header.Name)
			}
		}
	}
	s := w.begin(own)
	tried := 0
	for _, p := range messages.AllProperties() {
		if p.At != messages.AtControl || p.Answers == messages.Forever {
			continue
		}
		tried++
		command := p.Command
		switch command.(type) {
		case messages.RenameRequest:
			command = messages.RenameRequest{To: parsed(t, "y")}
		case messages.PublishAdd:
			command = messages.PublishAdd{Publication: messages.Publication{From: 1, To: 1}}
		case messages.PublishRemove:
			command = messages.PublishRemove{Publication: messages.Publication{From: 1, To: 1}}
		case messages.RestartDeploy:
			args := messages.Arguments{CPUIDs: []int{0}, CPUs: 1, Memory: 32}
			command = messages.RestartDeploy{Restart: messages.UnikernelRestart{Form: messages.RestartArgs2, Args: messages.Some(args)}}
		case messages.OwnRequest:
			command = messages.OwnRequest{Kind: messages.KindBlock, Owner: "team"}
		case messages.UnikernelDeploy:
			continue // it needs an image: see TestSession
		}
		require.Equal(t, p.Session, do(t, s, "x", command) == nil, p.Word)
		require.Equal(t, p.Session, len(w.asked) == 1, p.Word)
		for range len(w.asked) {
			<-w.asked
		}
	}
	require.Greater(t, tried, 10)
}

// TestWhoGetsASession: a certificate that is for clients, without a command. It is refused with the
// reason.
func TestWhoGetsASession(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessEmpty{}))
	alice := w.root.policy(t, "alice", small)
	clientAuth, serverAuth := x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth
	for title, tc := range map[string]struct {
		own  *node
		want string
	}{
		"it has a command":       {alice.leaf(t, "x", info, usedFor(clientAuth)), "has a command, and is good for that only"},
		"it has no usage":        {makeNode(t, alice, "x"), "does not say that it is for a client"},
		"it is for an endpoint":  {alice.session(t, usedFor(serverAuth)), "does not say that it is for a client"},
		"it is for both":         {alice.session(t, usedFor(clientAuth, serverAuth)), "does not say that it is for a client"},
		"it is for anything":     {alice.session(t, usedFor(x509.ExtKeyUsageAny)), "does not say that it is for a client"},
		"garbage for a command":  {alice.session(t, contains([]byte("garbage"))), "cannot read the command"},
		"a bad name above":       {w.root.policy(t, "bad_name", small).session(t), "invalid label"},
		"a command above it all": {makeNode(t, alice, "bob", isCA, carries(info)).session(t), "it has another command"},
	} {
		t.Run(title, func(t *testing.T) {
			_, err := w.begin(tc.own.presented()).Open(messages.AtVMMD).Ask(t.Context(), messages.Name{}, info)
			var refused *client.Refusal
			require.ErrorAs(t, err, &refused)
			require.Contains(t, refused.Text, tc.want)
			require.Empty(t, w.asked)
		})
	}
}

// TestWithoutSessions: a client that does not ask for one, or for other protocols only, is served
// as ever.
func TestWithoutSessions(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessEmpty{}))
	alice := w.root.policy(t, "alice", small)
	for _, protocols := range [][]string{nil, {"h2", "http/1.1"}, {"albatross/2"}} {
		raw, err := net.Dial("tcp", w.address)
		require.NoError(t, err)
		c := tls.Client(raw, &tls.Config{
			Certificates: []tls.Certificate{alice.leaf(t, "x", info).presented()}, InsecureSkipVerify: true, NextProtos: protocols,
		})
		require.NoError(t, c.SetDeadline(time.Now().Add(limit)))
		m, err := read(c)
		require.NoError(t, err)
		require.Equal(t, messages.SuccessEmpty{}, m.Payload)
		require.Equal(t, parsed(t, "alice:x"), (<-w.asked).Header.Name)
		require.NoError(t, c.Close())
	}
	require.Contains(t, w.refusal(alice.session(t).presented()), "no command")
}

// TestSessionsEnd with what vouches for them, whatever is under way; those who wait for something
// read why.
func TestSessionsEnd(t *testing.T) {
	native := func(c *net.UnixConn, m messages.Wire) {
		if _, follows := m.Payload.(messages.ConsoleSubscribe); follows {
			answering(messages.SuccessText{Text: "subscribed"})(c, m)
			_, _ = io.Copy(io.Discard, c)
		}
		answering(messages.SuccessEmpty{})(c, m)
	}
	events := func(c *net.UnixConn, m messages.Wire) {
		saying(messages.DataPresent{})(c, m)
		_, _ = io.Copy(io.Discard, c)
	}
	ends := func(t *testing.T, w *world, alice *node, expired bool, end func(), why string) {
		idle, follower, observer := w.begin(alice.session(t).presented()), w.begin(alice.session(t).presented()), w.begin(alice.session(t).presented())
		_, err := inSession(t, idle, messages.AtVMMD, "x", info)
		require.NoError(t, err)
		follows := follower.Open(messages.AtConsole)
		_, err = follows.Ask(t.Context(), parsed(t, "x"), messages.ConsoleSubscribe{Count: messages.Some(1)})
		require.NoError(t, err)
		observes := observer.Open(messages.AtControl)
		stream, err := observes.Events(t.Context(), parsed(t, ":"), messages.Option[time.Time]{})
		require.NoError(t, err)
		_, err = stream.Next(t.Context())
		require.NoError(t, err)

		end()
		var ended *client.Ended
		_, err = follows.NextLine(t.Context())
		require.ErrorAs(t, err, &ended)
		require.Contains(t, ended.Text, why)
		_, err = stream.Next(t.Context())
		require.ErrorAs(t, err, &ended)
		require.Contains(t, ended.Text, why)
		_, err = idle.Open(messages.AtVMMD).Ask(t.Context(), parsed(t, "x"), info)
		require.Error(t, err)
		require.Nil(t, idle.Open(messages.AtVMMD))
		if !expired { // otherwise it is not let in at all
			_, err = w.begin(alice.session(t).presented()).Open(messages.AtVMMD).Ask(t.Context(), parsed(t, "x"), info)
			var refused *client.Refusal
			require.ErrorAs(t, err, &refused)
			require.Contains(t, refused.Text, why)
		}
	}
	t.Run("a certificate above is revoked", func(t *testing.T) {
		lists := filepath.Join(t.TempDir(), "crl")
		w := newWorld(t, native, withControl(events), func(w *world, c *remote.Config) {
			replace(t, lists, w.root.revokes(t, nil))
			var err error
			c.Revocations, err = remote.OpenRevocations(lists, w.root.cert, time.Now, c.Log)
			require.NoError(t, err)
		})
		alice := w.root.policy(t, "alice", small)
		ends(t, w, alice, false, func() { replace(t, lists, w.root.revokes(t, nil, alice)) }, `the certificate of "alice"`)
	})
	t.Run("a certificate above expires", func(t *testing.T) {
		var ahead atomic.Int64 // of the clock
		w := newWorld(t, native, withControl(events), func(_ *world, c *remote.Config) {
			c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		})
		alice := makeNode(t, w.root.policy(t, "alice", small), "soon", isCA, valid(-time.Hour, time.Hour/2))
		ends(t, w, alice, true, func() { ahead.Store(int64(40 * time.Minute)) }, "has expired")
	})
}

// TestRevokedBetweenCommands: the next command is refused, also if the endpoint has not noticed yet
// by itself that the session must end.
func TestRevokedBetweenCommands(t *testing.T) {
	lists := filepath.Join(t.TempDir(), "crl")
	w := newWorld(t, answering(messages.SuccessEmpty{}), func(w *world, c *remote.Config) {
		replace(t, lists, w.root.revokes(t, nil))
		var err error
		c.Revocations, err = remote.OpenRevocations(lists, w.root.cert, time.Now, c.Log)
		require.NoError(t, err)
	})
	alice := w.root.policy(t, "alice", small)
	s := w.begin(alice.session(t).presented())
	_, err := inSession(t, s, messages.AtVMMD, "x", info)
	require.NoError(t, err)
	<-w.asked
	replace(t, lists, w.root.revokes(t, nil, alice))
	_, err = s.Open(messages.AtVMMD).Ask(t.Context(), parsed(t, "x"), info)
	require.Error(t, err)
	require.Empty(t, w.asked)
}

// TestImpatientSessions: a client that is idle, or stops in the middle, loses its connection.
func TestImpatientSessions(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessEmpty{}), impatient, withControl(saying(messages.SuccessText{})))
	for title, says := range map[string][]byte{
		"nothing":                     nil,
		"half a head":                 {0, 0},
		"half the name of a socket":   {0, 0, 0, 4, 'v', 'm'},
		"a socket":                    socket(messages.AtVMMD),
		"half a command":              append(socket(messages.AtVMMD), 0, 0, 0, 9, 0, 0, 1),
		"half a command of CBOR":      append(socket(messages.AtControl), frame([]byte{0xa2, 1})...),
		"more than a command, no end": append(socket("nosuch"), frame(make([]byte, 1000))...),
		"a socket with a long name":   append([]byte{0, 0, 0, 17}, make([]byte, 17)...),
		"no end":                      append(socket(messages.AtVMMD), frame(encoded(t, "x", info))...),
	} {
		t.Run(title, func(t *testing.T) {
			c := w.rawSession(w.root.session(t).presented())
			_, err := c.Write(says)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, c)
			if err != nil { // it may also be cut off
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			}
		})
	}
}

// TestSessionsThatDoNotRead lose their connection, too.
func TestSessionsThatDoNotRead(t *testing.T) {
	ended := make(chan struct{})
	w := newWorld(t, func(c *net.UnixConn, m messages.Wire) {
		defer close(ended)
		m.Payload = messages.SuccessImage{Image: make([]byte, 64<<20)}
		if wire.WriteFrame(c, m) == nil {
			t.Error("all of it has been taken")
		}
	}, impatient)
	c := w.rawSession(w.root.session(t).presented())
	_, err := c.Write(append(socket(messages.AtVMMD), frame(encoded(t, "x", messages.UnikernelGet{Form: 3}))...))
	require.NoError(t, err)
	<-ended
}

// TestVersionsInSessions: only the current one is possible.
func TestVersionsInSessions(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessEmpty{}))
	c := w.rawSession(w.root.session(t).presented())
	_, err := c.Write(slices.Concat(socket(messages.AtVMMD), frame(inVersion(t, messages.Version4)), make([]byte, 4)))
	require.NoError(t, err)
	answer, err := io.ReadAll(wire.NewChunkReader(c))
	require.NoError(t, err)
	m, err := read(bytes.NewReader(answer))
	require.NoError(t, err)
	require.Contains(t, m.Payload.(messages.Failure).Text, "the command is in version 4")
	require.Empty(t, w.asked)
}

// rawSession returns the connection of a client that is welcome.
func (w *world) rawSession(own tls.Certificate) *tls.Conn {
	t := w.t
	raw, err := net.Dial("tcp", w.address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = raw.Close() })
	c := tls.Client(raw, &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true, NextProtos: []string{client.SessionProtocol}})
	require.NoError(t, c.SetDeadline(time.Now().Add(limit)))
	require.NoError(t, c.Handshake())
	_, err = wire.ReadFrame(c, 100)
	require.ErrorIs(t, err, wire.ErrEnd)
	return c
}

// socket begins a conversation.
func socket(at messages.Endpoint) []byte { return frame([]byte(at)) }

func encoded(t testing.TB, name string, command messages.Command) []byte {
	b, err := wire.AppendFrame(nil, messages.Wire{Header: messages.Header{Version: messages.CurrentVersion, Name: parsed(t, name)}, Payload: command})
	require.NoError(t, err)
	return b
}

func inVersion(t testing.TB, version messages.Version) []byte {
	b, err := wire.AppendFrame(nil, messages.Wire{Header: messages.Header{Version: version, Name: parsed(t, "x")}, Payload: info})
	require.NoError(t, err)
	return b
}

// TestDaemonsThatMisbehaveInSessions: the client reads what has failed, and the session goes on
// where the client can tell where the next answer begins.
func TestDaemonsThatMisbehaveInSessions(t *testing.T) {
	bad := func(b string) script { return func(c *net.UnixConn, _ messages.Wire) { _, _ = c.Write([]byte(b)) } }
	for title, tc := range map[string]struct {
		behave script
		want   string
	}{
		"closes":        {bad(""), "without an answer"},
		"refuses":       {saying(messages.Failure{Text: "no"}), "no"},
		"no CBOR":       {bad("\xff"), "without an answer"},
		"half an item":  {bad("\xa1"), "without an answer"},
		"no end":        {bad("\xa1\x01\x61x"), "closed"},
		"another thing": {bad("\x05\xa0"), "without an answer"},
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t, answering(messages.SuccessEmpty{}), withControl(tc.behave))
			s := w.begin(w.root.session(t).presented())
			c := s.Open(messages.AtControl)
			_, err := c.Ends(t.Context(), parsed(t, "x"))
			require.ErrorContains(t, err, tc.want)
			require.NoError(t, c.Close())
			_, err = inSession(t, s, messages.AtVMMD, "x", info)
			require.NoError(t, err)
		})
	}
	w := newWorld(t, answering(messages.SuccessEmpty{}))
	s := w.begin(w.root.session(t).presented())
	require.ErrorContains(t, do(t, s, "x", messages.StopRequest{}), "the daemon cannot be reached")
	_, err := inSession(t, s, messages.AtVMMD, "x", info)
	require.NoError(t, err)
}

// FuzzSession sends anything. The endpoint must not fail, and the daemon gets no name outside the
// path of the client.
func FuzzSession(f *testing.F) {
	f.Add([]byte{})
	for _, at := range []messages.Endpoint{messages.AtVMMD, messages.AtConsole, messages.AtStats, messages.AtControl, "nosuch"} {
		f.Add(slices.Concat(socket(at), frame(encoded(f, "x", info)), make([]byte, 4), socket(at)))
		request, err := control.AppendRequest(nil, parsed(f, "x"), messages.RenameRequest{To: parsed(f, "y")})
		require.NoError(f, err)
		f.Add(slices.Concat(socket(at), frame(request), make([]byte, 4), socket(at), binary.BigEndian.AppendUint32(nil, 1<<31-1)))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		w := newWorld(t, answering(messages.SuccessEmpty{}), withControl(saying(messages.SuccessText{})))
		c := w.rawSession(w.root.policy(t, "alice", large).session(t).presented())
		_, err := c.Write(says)
		require.NoError(t, err)
		require.NoError(t, c.CloseWrite())
		_, _ = io.Copy(io.Discard, c)
		require.NoError(t, c.NetConn().Close())
		for range len(w.asked) {
			m := <-w.asked
			require.True(t, messages.Path("alice").Contains(m.Header.Name.Path), m.Header.Name)
			if rename, ok := m.Payload.(messages.RenameRequest); ok {
				require.True(t, messages.Path("alice").Contains(rename.To.Path), rename.To)
			}
		}
	})
}
