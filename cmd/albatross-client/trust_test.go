package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/sockets/certificate"
)

// A trustWorld is an endpoint and the files of a client, which trust the same authority.
type trustWorld struct {
	t      *testing.T
	config *tls.Config // of the endpoint
	files  map[string][]byte
}

// newTrustWorld makes an authority now, which signs everything.
func newTrustWorld(t *testing.T) *trustWorld {
	root := authority(t, time.Now(), time.Hour)
	return &trustWorld{
		t:      t,
		config: endpointConfig(t, root, time.Now()),
		files:  authorityFiles(t, root),
	}
}

// A root is an authority and its private key.
type root struct {
	*certificate.Authority
	key crypto.Signer
}

func authority(t *testing.T, at time.Time, life time.Duration) root {
	key := newKey(t)
	a, err := certificate.NewRoot("ca", key, at, life)
	require.NoError(t, err)
	return root{a, key}
}

// endpointConfig returns that of an endpoint whose certificate the root has signed at some time,
// and which trusts that root.
func endpointConfig(t *testing.T, root root, at time.Time, hosts ...string) *tls.Config {
	key := newKey(t)
	chain, err := root.IssueServer("server", key.Public(), at, time.Minute, hosts...)
	require.NoError(t, err)
	trusted := x509.NewCertPool()
	trusted.AddCert(root.Chain[0])
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    trusted,
	}
}

// authorityFiles returns the files by which a client signs, and by which it trusts.
func authorityFiles(t *testing.T, root root) map[string][]byte {
	key, err := certificate.EncodeKey(root.key)
	require.NoError(t, err)
	return map[string][]byte{"ca.pem": root.Chain.Encode(), "ca.key": key, "cacert.pem": root.Chain.Encode()}
}

// endpoint accepts connections until the test ends, and closes them after the handshake.
func (w *trustWorld) endpoint() (address string) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", w.config)
	require.NoError(w.t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			finish(conn)
		}
	})
	w.t.Cleanup(func() {
		require.NoError(w.t, l.Close())
		serving.Wait()
	})
	return l.Addr().String()
}

// finish ends a connection so that all that was written arrives.
func finish(conn net.Conn) {
	defer conn.Close()
	if conn.(*tls.Conn).Handshake() == nil {
		return
	}
	_, _ = io.Copy(io.Discard, conn.(*tls.Conn).NetConn()) // until the client has left
}

// info runs the command info against the endpoint.
func (w *trustWorld) info() (exitCode, string) {
	dir := w.t.TempDir()
	for name, data := range w.files {
		require.NoError(w.t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	var out, errs strings.Builder
	p := nativeProgram(&out, &errs)
	code := p.run(w.t.Context(), []string{"info", "--destination", w.endpoint(),
		"--ca", in("ca.pem"), "--ca-key", in("ca.key"), "--server-ca", in("cacert.pem")})
	return code, errs.String()
}

// TestWhoDoesNotTrustWhom: the exit code shows whose certificate was refused, as natively.
func TestWhoDoesNotTrustWhom(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *trustWorld)
		code   exitCode
		want   string
	}{
		"both trust, but nothing is said": {func(*trustWorld) {}, exitCommunication, "without an answer"},
		"the endpoint's is expired": {func(w *trustWorld) {
			root := authority(t, time.Now().Add(-time.Hour), 2*time.Hour)
			w.config, w.files = endpointConfig(t, root, time.Now().Add(-30*time.Minute)), authorityFiles(t, root)
		}, exitUntrusted, "cannot trust the certificate of 127.0.0.1:"},
		"the endpoint's is not valid yet": {func(w *trustWorld) {
			root := authority(t, time.Now().Add(-time.Hour), 4*time.Hour)
			w.config, w.files = endpointConfig(t, root, time.Now().Add(time.Hour)), authorityFiles(t, root)
		}, exitUntrusted, "cannot trust the certificate of 127.0.0.1:"},
		"the endpoint's is by another authority": {func(w *trustWorld) {
			other := authority(t, time.Now(), time.Hour)
			w.config.Certificates = endpointConfig(t, other, time.Now()).Certificates
		}, exitUntrusted, "signed by unknown authority"},
		"the endpoint's is for where it is asked": {func(w *trustWorld) {
			root := authority(t, time.Now(), time.Hour)
			w.config, w.files = endpointConfig(t, root, time.Now(), "host.example", "127.0.0.1"), authorityFiles(t, root)
		}, exitCommunication, "without an answer"},
		"the endpoint's is for another host": {func(w *trustWorld) {
			root := authority(t, time.Now(), time.Hour)
			w.config, w.files = endpointConfig(t, root, time.Now(), "host.example"), authorityFiles(t, root)
		}, exitUntrusted, "it is for host.example, and not for 127.0.0.1\nSomebody else may be posing as the endpoint."},
		"ours is by another authority, for the endpoint": {func(w *trustWorld) {
			w.config.ClientCAs = endpointConfig(t, authority(t, time.Now(), time.Hour), time.Now()).ClientCAs
		}, exitRejected, "does not accept our certificate"},
		"ours is expired, for the endpoint": {func(w *trustWorld) {
			w.config.Time = func() time.Time { return time.Now().Add(30 * time.Minute) }
		}, exitRejected, "does not accept our certificate: tls: expired certificate"},
		"ours is revoked, for an endpoint that is not ours": {func(w *trustWorld) {
			w.config.VerifyConnection = func(tls.ConnectionState) error { return x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign} }
		}, exitRejected, "does not accept our certificate: tls: bad certificate"},
		"ours is by another authority than we trust": {func(w *trustWorld) {
			w.files["cacert.pem"] = authorityFiles(t, authority(t, time.Now(), time.Hour))["cacert.pem"]
		}, exitChain, "provided certificate chain"},
		"ours is by an authority that is expired": {func(w *trustWorld) {
			w.files = authorityFiles(t, authority(t, time.Now().Add(-2*time.Hour), time.Hour))
		}, exitUsage, "cannot make a certificate"},
		"the endpoint fails": {func(w *trustWorld) {
			w.config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, os.ErrInvalid }
		}, exitCommunication, "tls: internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTrustWorld(t)
			c.change(w)
			code, stderr := w.info()
			require.Contains(t, stderr, c.want)
			require.Equal(t, c.code, code, stderr)
		})
	}
}
