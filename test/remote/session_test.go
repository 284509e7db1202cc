package remote

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/client"
	"albatross/test/guests"
)

// session begins a session below an authority, as our client does.
func (w *world) session(a *certificate.Authority) *client.Session {
	w.t.Helper()
	chain, err := a.IssueSession(w.key.Public(), time.Now(), time.Hour)
	require.NoError(w.t, err)
	s, _, err := client.DialSession(w.t.Context(), client.Endpoint{
		Address: w.address, Authority: w.root.Chain,
		Choose: func(bool) (tls.Certificate, error) { return w.tls(chain).Certificates[0], nil },
	})
	require.NoError(w.t, err)
	require.NotNil(w.t, s)
	w.t.Cleanup(func() { _ = s.Close() })
	return s
}

// say gives a command in a session.
func say(t testing.TB, s *client.Session, at messages.Endpoint, name string, command messages.Command) (messages.Success, error) {
	t.Helper()
	c := s.Open(at)
	require.NotNil(t, c, "the session goes on")
	defer func() { _ = c.Close() }()
	if at == messages.AtControl {
		return nil, c.Do(t.Context(), must(t, "%s", name), command)
	}
	return c.Ask(t.Context(), must(t, "%s", name), command)
}

// TestSession: the life of a unikernel on one connection, below the path of a tenant.
func TestSession(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, "--audit", dir+"/audit")
	alice := w.below(w.root, "alice", alices)
	s := w.session(alice)
	image := guests.Image("hello", "spt")

	_, err := say(t, s, messages.AtVMMD, "one", creates(config(image)))
	require.NoError(t, err)
	require.Equal(t, "alice:one", w.local(messages.Name{}, info).(messages.SuccessInfos).List[0].Name.String())
	c := s.Open(messages.AtControl)
	statuses, err := c.Statuses(t.Context(), messages.Name{})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Len(t, statuses, 1)
	require.Equal(t, must(t, "one"), statuses[0].Name)

	// What policies refuse natively, they refuse here.
	large := config(image)
	large.Memory = 999
	for at, command := range map[messages.Endpoint]messages.Command{
		messages.AtVMMD: creates(large), messages.AtControl: messages.UnikernelDeploy{Create: creates(large)},
	} {
		_, err = say(t, s, at, "large", command)
		require.ErrorContains(t, err, "memory")
	}
	for _, command := range []messages.Command{messages.StopRequest{}, messages.RenameRequest{To: must(t, "below:two")}} {
		_, err = say(t, s, messages.AtControl, "one", command)
		require.NoError(t, err)
	}
	_, err = say(t, s, messages.AtControl, "below:two", messages.StartRequest{})
	require.NoError(t, err)
	require.Equal(t, "alice:below:two", w.local(messages.Name{}, info).(messages.SuccessInfos).List[0].Name.String())

	// A block device, with contents.
	_, err = say(t, s, messages.AtVMMD, "disk", messages.BlockAdd{Size: 1})
	require.NoError(t, err)
	_, err = say(t, s, messages.AtControl, "disk", messages.BlockReserve{})
	require.NoError(t, err)
	c = s.Open(messages.AtVMMD)
	contents := bytes.Repeat([]byte("contents"), 1<<16)
	_, err = c.Upload(t.Context(), must(t, "disk"), messages.BlockSet{}, io.NopCloser(bytes.NewReader(contents)))
	require.NoError(t, err)
	_ = c.Close() // Upload may have cut its own side off
	s = w.session(alice)
	c = s.Open(messages.AtVMMD)
	_, err = c.Ask(t.Context(), must(t, "disk"), messages.BlockDump{})
	require.NoError(t, err)
	dumped, err := io.ReadAll(c.Contents(t.Context()))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Equal(t, contents, dumped[:len(contents)])

	// The lines and the events that there are, and then the session goes on.
	c = s.Open(messages.AtConsole)
	_, err = c.Ask(t.Context(), must(t, "below:two"), messages.ConsoleSubscribe{Count: messages.Some(10)})
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	for err == nil {
		_, err = c.NextLine(t.Context())
	}
	require.ErrorIs(t, err, client.ErrClosed)
	require.NoError(t, c.Close())
	_, err = say(t, s, messages.AtVMMD, "disk", messages.BlockRemove{})
	require.NoError(t, err)

	// Nobody sees what is elsewhere.
	bob := w.session(w.below(w.root, "bob", alices))
	answer, err := say(t, bob, messages.AtVMMD, ":", info)
	require.NoError(t, err)
	require.Empty(t, answer.(messages.SuccessInfos).List)
	_, err = say(t, bob, messages.AtVMMD, "alice:below:two", messages.UnikernelDestroy{})
	require.ErrorContains(t, err, "destroy: not found")
	_, err = say(t, s, messages.AtVMMD, "below:two", messages.UnikernelDestroy{})
	require.NoError(t, err)

	// Each is in the audit log.
	results := map[string]string{}
	for line := range bytes.Lines(readFile(t, dir+"/audit")) {
		var r struct{ Command, Name, Result string }
		require.NoError(t, json.Unmarshal(line, &r))
		results[r.Command+" "+r.Name] = r.Result
	}
	require.Equal(t, "success", results["rename alice:one"])
	require.Equal(t, "failure", results["create alice:large"])
	require.Equal(t, "failure", results["destroy bob:alice:below:two"])
}

// TestSessionOfTheRevoked: what goes on ends, and nothing new begins.
func TestSessionOfTheRevoked(t *testing.T) {
	w := newWorldWith(t, func(w *world) []string {
		w.put("crl", w.list(w.root))
		return []string{"--crl", w.path("crl")}
	})
	alice := w.below(w.root, "alice", alices)
	bob := w.below(alice, "bob", alices)
	s := w.session(bob)
	c := s.Open(messages.AtControl)
	events, err := c.Events(t.Context(), messages.Name{}, messages.Option[time.Time]{})
	require.NoError(t, err)
	_, err = events.Next(t.Context())
	require.NoError(t, err)
	w.put("crl", w.list(w.root, alice))
	var ended *client.Ended
	_, err = events.Next(t.Context())
	require.ErrorAs(t, err, &ended)
	require.Contains(t, ended.Text, `the certificate of "alice"`)
	_, err = w.session(bob).Open(messages.AtVMMD).Ask(t.Context(), messages.Name{}, info)
	var refused *client.Refusal
	require.ErrorAs(t, err, &refused)
	require.Contains(t, refused.Text, "is revoked")
}

// TestTheEndpointsCertificateIsNoClients: whoever has the key of the endpoint is not administrator.
func TestTheEndpointsCertificateIsNoClients(t *testing.T) {
	w := newWorld(t)
	chain, err := w.root.IssueServer("server", w.key.Public(), time.Now(), time.Hour)
	require.NoError(t, err)
	s, _, err := client.DialSession(t.Context(), client.Endpoint{
		Address: w.address, Authority: w.root.Chain,
		Choose: func(bool) (tls.Certificate, error) { return w.tls(chain).Certificates[0], nil },
	})
	require.NoError(t, err)
	_, err = s.Open(messages.AtVMMD).Ask(t.Context(), messages.Name{}, info)
	require.ErrorContains(t, err, "does not say that it is for a client")
	require.NoError(t, s.Close())
}

// TestWithoutSessions: an endpoint that offers none gets the command in a certificate.
func TestWithoutSessions(t *testing.T) {
	w := newWorld(t, "--no-sessions")
	chain := w.leaf(w.below(w.root, "alice", alices), ".", info)
	asked := false
	s, c, err := client.DialSession(t.Context(), client.Endpoint{
		Address: w.address, Authority: w.root.Chain,
		Choose: func(session bool) (tls.Certificate, error) {
			asked = session
			return w.tls(chain).Certificates[0], nil
		},
	})
	require.NoError(t, err)
	require.Nil(t, s)
	require.False(t, asked)
	require.True(t, c.OneCommand())
	_, err = c.Ask(t.Context(), messages.Name{}, info)
	require.NoError(t, err)
	require.Equal(t, must(t, "alice:"), c.Name())
	require.NoError(t, c.Close())
}

func readFile(t testing.TB, path string) []byte {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return text
}

// TestPool: a session is used again when its conversation has ended, and only the idle ones are closed.
func TestPool(t *testing.T) {
	w := newWorld(t)
	alice := w.below(w.root, "alice", alices)
	pool := &client.Pool{}
	t.Cleanup(pool.Close)
	require.Nil(t, pool.Open(messages.AtVMMD), "there is none")
	follows := pool.Add(w.session(alice), messages.AtControl)
	_, err := follows.Events(t.Context(), messages.Name{}, messages.Option[time.Time]{})
	require.NoError(t, err)
	require.Nil(t, pool.Open(messages.AtVMMD), "it is occupied")
	asks := func(c *client.Conn) {
		_, err := c.Ask(t.Context(), messages.Name{}, info)
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	asks(pool.Add(w.session(alice), messages.AtVMMD))
	asks(pool.Open(messages.AtVMMD))
	pool.CloseIdle()
	require.Nil(t, pool.Open(messages.AtVMMD), "it is closed")
	require.NoError(t, follows.Close())
	asks(pool.Open(messages.AtVMMD))
}
