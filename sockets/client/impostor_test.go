package client_test

import (
	"crypto/tls"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/client"
)

// TestATenantIsNoEndpoint: a tenant that may sign for others can sign for an endpoint, too, and has
// a certificate that the authority itself has signed. The client refuses it.
func TestATenantIsNoEndpoint(t *testing.T) {
	bob := newPKI(t, messages.PolicyInfo{})
	key, err := certificate.Ed25519.Generate()
	require.NoError(t, err)
	request := certificate.Request{Name: "alice", Command: messages.PolicyAdd{}, Key: key.Public()}
	chain, err := bob.root.Issue(request, time.Now(), time.Hour)
	require.NoError(t, err)
	alice, err := certificate.NewAuthority(chain, key)
	require.NoError(t, err)
	forged := serverCertificate(t, alice, time.Now())
	forged.Certificate = append(forged.Certificate, chain[0].Raw)
	for want, presented := range map[string]tls.Certificate{
		"it is not signed by the authority itself":                            forged,
		"it, or its authority, is for a client: it holds a command or policy": {Certificate: [][]byte{chain[0].Raw}, PrivateKey: key},
	} {
		config := bob.config()
		config.Certificates = []tls.Certificate{presented}
		c, err := bob.dial(t, endpoint(t, config, func(_ *testing.T, conn net.Conn) { waitForEnd(conn) }))
		if err == nil {
			_ = c.Close()
		}
		var trust *client.TrustError
		require.ErrorAs(t, err, &trust)
		require.Equal(t, client.Unusable, trust.Kind)
		require.ErrorContains(t, err, want)
	}
}

// TestAnotherHostIsNotTheEndpoint: the authority has signed certificates of other hosts as well.
// The client refuses one of those.
func TestAnotherHostIsNotTheEndpoint(t *testing.T) {
	p := newPKI(t, messages.PolicyInfo{})
	for _, hosts := range [][]string{{"127.0.0.1"}, {"host.example", "127.0.0.1"}, nil, {"host.example"}, {"127.0.0.2"}} {
		config := p.config()
		config.Certificates = []tls.Certificate{serverCertificate(t, p.root, time.Now(), hosts...)}
		c, err := p.dial(t, endpoint(t, config, func(_ *testing.T, conn net.Conn) { waitForEnd(conn) }))
		if err == nil {
			require.NoError(t, c.Close())
		}
		if hosts == nil || slices.Contains(hosts, "127.0.0.1") {
			require.NoError(t, err)
			continue
		}
		var trust *client.TrustError
		require.ErrorAs(t, err, &trust, hosts)
		require.Equal(t, client.OtherHost, trust.Kind)
		require.ErrorContains(t, err, "it is for "+hosts[0]+", and not for 127.0.0.1")
	}
}
