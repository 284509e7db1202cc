package remote_test

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/remote"
)

// TestWhoIsLetIn: which chains pass the handshake, and which name they then have.
func TestWhoIsLetIn(t *testing.T) {
	var later atomic.Int64 // each try is later, so that it is logged
	w := newWorld(t, answering(messages.SuccessEmpty{}), func(_ *world, c *remote.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	root := w.root
	alice, bob := root.policy(t, "alice", small), root.policy(t, "bob", small)
	leaf := alice.leaf(t, "x", info)
	own := root.leaf(t, "x", info)
	stranger := newRoot(t)
	expired := makeNode(t, root, "old", isCA, carries(messages.PolicyAdd{Policy: small}), valid(-2*time.Hour, -time.Hour))
	noCA := makeNode(t, root, "noca", carries(messages.PolicyAdd{Policy: small}))
	aliceAgain := makeNode(t, root, "alice2", isCA)
	var many []*x509.Certificate
	for range 17 {
		many = append(many, leaf.cert)
	}
	for title, tc := range map[string]struct {
		own  tls.Certificate
		want string // the name
		log  string // the reason, if refused
	}{
		"a tenant":                 {own: leaf.presented(), want: "alice:x"},
		"below the root":           {own: own.presented(), want: ":x"},
		"the root sent along":      {own: present(leaf.key, leaf.chain()...), want: "alice:x"},
		"no use of keys":           {own: alice.leaf(t, "x", info).presented(), want: "alice:x"},
		"use by clients":           {own: alice.leaf(t, "x", info, usedFor(x509.ExtKeyUsageClientAuth)).presented(), want: "alice:x"},
		"use by servers":           {own: alice.leaf(t, "x", info, usedFor(x509.ExtKeyUsageServerAuth)).presented(), want: "alice:x"},
		"an intermediate too many": {own: present(own.key, own.cert, alice.cert), want: ":x"},
		"two, one of which counts": {own: present(leaf.key, leaf.cert, bob.cert, alice.cert), want: "alice:x"},
		"no intermediate":          {own: present(leaf.key, leaf.cert), log: "unknown authority"},
		"another intermediate":     {own: present(leaf.key, leaf.cert, bob.cert), log: "unknown authority"},
		"another CA":               {own: stranger.leaf(t, "x", info).presented(), log: "unknown authority"},
		"another CA, sent along":   {own: func() tls.Certificate { l := stranger.leaf(t, "x", info); return present(l.key, l.chain()...) }(), log: "unknown authority"},
		"below a leaf":             {own: noCA.leaf(t, "x", info).presented(), log: "cannot sign this kind of certificate"},
		"expired":                  {own: alice.leaf(t, "x", info, valid(-2*time.Hour, -time.Hour)).presented(), log: "has expired or is not yet valid"},
		"not yet valid":            {own: alice.leaf(t, "x", info, valid(time.Hour, 2*time.Hour)).presented(), log: "has expired or is not yet valid"},
		"an expired intermediate":  {own: expired.leaf(t, "x", info).presented(), log: "has expired or is not yet valid"},
		"another key":              {own: present(own.key, leaf.cert, alice.cert), log: "invalid signature by the client certificate"},
		"a leaf that is a CA":      {own: alice.presented(), log: "one of a CA"},
		"the root as a leaf":       {own: present(root.key, root.cert), log: "one of a CA"},
		"a critical extension":     {own: alice.leaf(t, "x", info, critical).presented(), log: "unhandled critical extension"},
		"a critical one above":     {own: makeNode(t, root, "c", isCA, carries(messages.PolicyAdd{Policy: small}), critical).leaf(t, "x", info).presented(), log: "unhandled critical extension"},
		"too many certificates":    {own: present(leaf.key, many...), log: "more than 16 certificates"},
		"none at all":              {log: "didn't provide a certificate"},
		"a CA without a policy":    {own: aliceAgain.leaf(t, "x", info).presented(), want: ":x"},
		"signed by the server's":   {own: makeNode(t, makeNode(t, root, "server", usedFor(x509.ExtKeyUsageServerAuth)), "x", carries(info)).presented(), log: "cannot sign this kind of certificate"},
	} {
		t.Run(title, func(t *testing.T) {
			later.Add(int64(time.Minute))
			before := len(w.log.String())
			m, err := w.ask(tc.own)
			if tc.log == "" {
				require.NoError(t, err)
				require.Equal(t, messages.SuccessEmpty{}, m.Payload)
				require.Equal(t, tc.want, (<-w.asked).Header.Name.String())
				return
			}
			require.ErrorContains(t, err, "remote error: tls")
			eventually(t, "it is logged", func() bool { return len(w.log.String()) > before })
			require.Contains(t, w.log.String()[before:], tc.log)
		})
	}
}

// TestWhyOneIsNotLetIn: the log has the reason, once.
func TestWhyOneIsNotLetIn(t *testing.T) {
	for title, tc := range map[string]struct {
		own  func(w *world) tls.Certificate
		want string
	}{
		"expired": {func(w *world) tls.Certificate {
			return w.root.leaf(t, "x", info, valid(-2*time.Hour, -time.Hour)).presented()
		}, "certificate has expired or is not yet valid"},
		"nothing":  {func(*world) tls.Certificate { return tls.Certificate{} }, "client didn't provide a certificate"},
		"stranger": {func(*world) tls.Certificate { return newRoot(t).leaf(t, "x", info).presented() }, "unknown authority"},
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t, answering(messages.SuccessEmpty{}))
			for range 3 {
				_, err := w.ask(tc.own(w))
				require.Error(t, err)
			}
			eventually(t, "it is logged", func() bool { return w.log.String() != "" })
			require.Regexp(t, `^[^\n]*`+tc.want+`[^\n]*\n$`, w.log.String(), "one line")
		})
	}
}

// TestOtherVersionsOfTLS are refused.
func TestOtherVersionsOfTLS(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessEmpty{}))
	own := w.root.leaf(t, "x", info).presented()
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		_, err := tls.Dial("tcp", w.address, &tls.Config{
			Certificates: []tls.Certificate{own}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version,
		})
		require.ErrorContains(t, err, "protocol version not supported")
	}
	c := w.connect(own)
	require.Equal(t, uint16(tls.VersionTLS13), c.ConnectionState().Version)
}

// TestNativeConversations: requests with the certificates of native, at the time of the recording,
// get the answers of native.
func TestNativeConversations(t *testing.T) {
	then := time.Date(2026, 11, 22, 14, 45, 0, 0, time.UTC)
	w := newWorld(t, answering(messages.SuccessEmpty{}), func(_ *world, c *remote.Config) {
		c.CA = nativeCertificates(t, "native-cacert")[0]
		c.Now = func() time.Time { return then }
		var err error
		c.Certificate, err = tls.LoadX509KeyPair("testdata/native/native-server.pem", "testdata/native/native-server.key")
		require.NoError(t, err)
	})
	for file, want := range map[string]string{
		"leaf-info-dot":       "alice:",
		"leaf-block-dump":     "alice:sdisk",
		"chain-two-levels":    "alice:eve:",
		"chain-larger-policy": "alice:mallory:",
		"native-hello":        "alice:hello",
		"leaf-expired":        "",
		"leaf-not-yet-valid":  "",
		"leaf-other-ca":       "",
	} {
		own, err := tls.LoadX509KeyPair("testdata/native/"+file+".pem", "testdata/native/"+file+".key")
		require.NoError(t, err)
		m, err := w.ask(own)
		if want == "" {
			require.ErrorContains(t, err, "bad certificate", file)
			continue
		}
		require.NoError(t, err, file)
		require.Equal(t, want, m.Header.Name.String(), file)
		require.Equal(t, want, (<-w.asked).Header.Name.String())
	}
}
