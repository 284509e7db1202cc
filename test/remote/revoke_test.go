package remote

import (
	"bytes"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
)

// list returns what albatross-client revoke writes.
func (w *world) list(a *certificate.Authority, revoked ...*certificate.Authority) []byte {
	var serials []*big.Int
	for _, r := range revoked {
		serials = append(serials, r.Chain[0].SerialNumber)
	}
	list, err := a.Revoke(nil, serials, time.Now(), time.Hour)
	require.NoError(w.t, err)
	return list.Encode()
}

// TestRevoke uses the lists that our client makes, of the root and of a CA below it. A command is
// refused at once, and a subscriber loses its connection.
func TestRevoke(t *testing.T) {
	dir := t.TempDir()
	w := newWorldWith(t, func(w *world) []string {
		w.put("crl", w.list(w.root))
		return []string{"--crl", w.path("crl"), "--audit", dir + "/audit"}
	})
	alice := w.below(w.root, "alice", alices)
	bob := w.below(alice, "bob", alices)
	subscribed := w.connect(w.leaf(bob, ".", messages.StatsSubscribe{}))
	require.Equal(t, text("subscribed"), subscribed.hear().Payload)

	w.put("crl", bytes.Join([][]byte{w.list(w.root), w.list(alice, bob), alice.Chain.Encode()}, nil))
	refusal := w.ask(w.leaf(bob, ".", info)).Payload.(messages.Failure).Text
	require.Contains(t, refusal, `the certificate of "bob"`)
	require.Contains(t, refusal, "is revoked")
	for err := error(nil); err == nil; {
		_, err = subscribed.Read(make([]byte, 1000))
	}
	require.IsType(t, messages.SuccessInfos{}, w.ask(w.leaf(alice, ".", info)).Payload)

	w.put("crl", w.list(w.root, alice))
	require.Contains(t, w.ask(w.leaf(alice, ".", info)).Payload.(messages.Failure).Text, "is revoked")
	require.Contains(t, w.ask(w.leaf(bob, ".", info)).Payload.(messages.Failure).Text, "is revoked")
	require.IsType(t, messages.SuccessInfos{}, w.ask(w.leaf(w.root, ".", info)).Payload)
}
