package remote_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/remote"
)

// revokes returns a list of an authority in PEM, with certificates that it has signed.
func (n *node) revokes(t testing.TB, change func(*x509.RevocationList), whom ...*node) []byte {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, w := range whom {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: w.cert.SerialNumber, RevocationTime: time.Now()})
	}
	if change != nil {
		change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, n.cert, n.key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// encoded returns the certificate in PEM.
func (n *node) encoded() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.cert.Raw})
}

// replace puts a file in the place of another one.
func replace(t testing.TB, path string, parts ...[]byte) {
	require.NoError(t, os.WriteFile(path+"~", bytes.Join(parts, nil), 0o600))
	require.NoError(t, os.Rename(path+"~", path))
}

// revoking returns a world with a list, on which there is no certificate.
func revoking(t testing.TB, behave script) (w *world, path string) {
	path = filepath.Join(t.TempDir(), "crl")
	w = newWorld(t, behave, func(w *world, c *remote.Config) {
		replace(t, path, w.root.revokes(t, nil))
		var err error
		c.Revocations, err = remote.OpenRevocations(path, c.CA, c.Now, c.Log)
		require.NoError(t, err)
	})
	return w, path
}

// TestRevoked: at once, whichever certificate of the chain it is.
func TestRevoked(t *testing.T) {
	w, path := revoking(t, answering(messages.SuccessEmpty{}))
	alice := w.root.policy(t, "alice", small)
	bob := alice.policy(t, "bob", small)
	leaf, other, below := alice.leaf(t, "x", info), alice.leaf(t, "y", info), bob.leaf(t, "z", info)
	own := w.root.leaf(t, "x", info)
	requireServed := func(all ...*node) {
		t.Helper()
		for _, n := range all {
			m, err := w.ask(n.presented())
			require.NoError(t, err)
			require.Equal(t, messages.SuccessEmpty{}, m.Payload)
		}
	}
	requireRefused := func(why string, all ...*node) {
		t.Helper()
		for _, n := range all {
			require.Regexp(t, why, w.refusal(n.presented()))
		}
	}
	requireServed(leaf, other, below, own)

	replace(t, path, w.root.revokes(t, nil, own))
	requireRefused(`the certificate of "x" \(serial [0-9a-f]+\) is revoked`, own)
	requireServed(leaf, other, below)

	replace(t, path, w.root.revokes(t, nil, alice))
	requireRefused(`"alice"`, leaf, other, below)
	requireServed(own)

	// A sub CA can revoke what it has signed, and nothing else.
	replace(t, path, w.root.revokes(t, nil), alice.revokes(t, nil, leaf, own), alice.encoded())
	requireRefused(`"x"`, leaf)
	requireServed(other, below, own)
	replace(t, path, alice.revokes(t, nil, bob), []byte("text for people\n"), alice.encoded())
	requireRefused(`"bob"`, below)
	requireServed(leaf, other, own)
	replace(t, path, bob.revokes(t, nil, below), bob.encoded(), alice.encoded())
	requireRefused(`"z"`, below)

	// Several lists of one authority count together.
	replace(t, path, w.root.revokes(t, nil, own), w.root.revokes(t, nil, alice))
	requireRefused("is revoked", own, leaf)
	replace(t, path, w.root.revokes(t, nil))
	requireServed(leaf, other, below, own)
}

// TestListsThatAreWrong let nobody in.
func TestListsThatAreWrong(t *testing.T) {
	w, path := revoking(t, answering(messages.SuccessEmpty{}))
	leaf := w.root.leaf(t, "x", info)
	good := w.root.revokes(t, nil)
	alice, stranger := w.root.policy(t, "alice", small), newRoot(t)
	forged := func() []byte { // it has the name of our root
		return stranger.revokes(t, nil)
	}
	damaged := bytes.Clone(good)
	copy(damaged[60:], "!!!!")
	for title, tc := range map[string][][]byte{
		"empty":                  {},
		"text":                   {[]byte("text")},
		"cut off":                {good[:len(good)/2]},
		"damaged":                {damaged},
		"damaged before another": {damaged, good},
		"damaged behind another": {good, damaged},
		"of a stranger":          {makeNode(t, nil, "stranger", isCA).revokes(t, nil)},
		"of a stranger, too":     {good, makeNode(t, nil, "stranger", isCA).revokes(t, nil)},
		"in our name":            {forged()},
		"in our name, too":       {good, forged()},
		"of an unknown sub CA":   {good, alice.revokes(t, nil)},
		"of one by a stranger":   {good, alice.revokes(t, nil), stranger.policy(t, "alice", small).encoded()},
		"of a sub CA of another": {good, stranger.policy(t, "eve", small).revokes(t, nil), stranger.encoded()},
		"out of date": {w.root.revokes(t, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		})},
		"of the future": {w.root.revokes(t, func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(10 * time.Minute) })},
		"critical": {w.root.revokes(t, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}}
		})},
		"a key":     {good, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})},
		"too large": {good, make([]byte, 17<<20)},
	} {
		t.Run(title, func(t *testing.T) {
			replace(t, path, tc...)
			require.Contains(t, w.refusal(leaf.presented()), "cannot find out which certificates are revoked")
			_, err := remote.OpenRevocations(path, w.root.cert, time.Now, slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, path)
			replace(t, path, good)
			_, err = w.ask(leaf.presented())
			require.NoError(t, err)
		})
	}
	require.NoError(t, os.Remove(path))
	require.Contains(t, w.refusal(leaf.presented()), "cannot find out")
	require.Contains(t, w.log.String(), "no such file")
}

// TestConnectionsThatAreOpen end when their certificate is revoked, and others do not.
func TestConnectionsThatAreOpen(t *testing.T) {
	stay := func(c *net.UnixConn, m messages.Wire) {
		answering(messages.SuccessText{Text: "subscribed"})(c, m)
		_, _ = c.Read(make([]byte, 1))
	}
	w, path := revoking(t, stay)
	alice, bob := w.root.policy(t, "alice", small), w.root.policy(t, "bob", small)
	subscribe := messages.ConsoleSubscribe{Count: messages.Some(1)}
	alices, bobs := w.connect(alice.leaf(t, "x", subscribe).presented()), w.connect(bob.leaf(t, "x", subscribe).presented())
	for _, c := range []io.Reader{alices, bobs} {
		_, err := read(c)
		require.NoError(t, err)
	}
	replace(t, path, w.root.revokes(t, nil, alice))
	requireDismissed(t, alices, "is revoked")
	eventually(t, "it is logged", func() bool { return strings.Contains(w.log.String(), "is revoked") })
	require.NoError(t, bobs.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := bobs.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, bobs.SetReadDeadline(time.Time{}))
	require.NoError(t, os.Remove(path))
	requireDismissed(t, bobs, "cannot find out which certificates are revoked")
}

// requireDismissed checks that a client reads why its connection ends.
func requireDismissed(t *testing.T, c net.Conn, why string) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(limit)))
	m, err := read(c)
	require.NoError(t, err)
	require.Contains(t, m.Payload.(messages.Failure).Text, why)
	requireEnd(t, c)
}

// TestAListOfTheFuture counts once its time has come.
func TestAListOfTheFuture(t *testing.T) {
	root := newRoot(t)
	path := filepath.Join(t.TempDir(), "crl")
	replace(t, path, root.revokes(t, func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(10 * time.Minute) }))
	var later atomic.Int64
	w := newWorld(t, answering(messages.SuccessEmpty{}), func(w *world, c *remote.Config) {
		w.root, c.CA, c.Certificate = root, root.cert, root.server(t)
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		var err error
		c.Revocations, err = remote.OpenRevocations(path, c.CA, c.Now, c.Log)
		require.ErrorContains(t, err, "from the future")
	})
	leaf := root.leaf(t, "x", info).presented()
	require.Contains(t, w.refusal(leaf), "cannot find out which certificates are revoked")
	later.Store(int64(6 * time.Minute))
	_, err := w.ask(leaf)
	require.NoError(t, err)
}
