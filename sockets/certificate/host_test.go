package certificate_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
)

func serverFor(t *testing.T, hosts ...string) *x509.Certificate {
	chain, err := makeRoot(t, now).IssueServer("server", makeKey(t).Public(), now, day, hosts...)
	require.NoError(t, err)
	return chain[0]
}

func TestHostsAreCompared(t *testing.T) {
	cert := serverFor(t, "Host.Example.", "192.0.2.1", "2001:db8::1", "single")
	require.Equal(t, []string{"host.example", "single", "192.0.2.1", "2001:db8::1"}, certificate.Hosts(cert))
	for _, good := range []string{"host.example", "HOST.example", "host.example.", "single", "192.0.2.1", "2001:db8::1", "2001:db8::1%eth0", "::ffff:192.0.2.1"} {
		require.NoError(t, certificate.CheckHost(cert, good), good)
	}
	for _, bad := range []string{"example", "a.host.example", "hostxexample", "other.example", "192.0.2.2", "2001:db8::2", "server", "localhost", "*", ""} {
		err := certificate.CheckHost(cert, bad)
		var other *certificate.HostError
		require.ErrorAs(t, err, &other, bad)
		require.EqualError(t, err, "it is for host.example, single, 192.0.2.1, 2001:db8::1, and not for "+bad)
	}
}

// TestCertificatesThatTellOfNoHost are accepted for any host, as native ones are: one of these is
// native. The common name does not count as a host.
func TestCertificatesThatTellOfNoHost(t *testing.T) {
	for _, cert := range []*x509.Certificate{serverFor(t), nativeChain(t, "server.pem")[0]} {
		require.Empty(t, certificate.Hosts(cert))
		for _, host := range []string{"server", "host.example", "192.0.2.1", "::1"} {
			require.NoError(t, certificate.CheckHost(cert, host))
		}
	}
}

// TestHostsOfAnotherKind: a certificate for a mail address is for no host.
func TestHostsOfAnotherKind(t *testing.T) {
	key := makeKey(t)
	mail, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 1, Bytes: []byte("a@host.example")}})
	require.NoError(t, err)
	cert := signed(t, called(t, utf8("x")), called(t, utf8("ca")), key.Public(), key, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: mail}}
	})
	require.EqualError(t, certificate.CheckHost(cert, "host.example"), "it is for no host at all, and not for host.example")
}

func TestManyHostsAreNotAllNamed(t *testing.T) {
	var hosts []string
	for i := range 10 {
		hosts = append(hosts, fmt.Sprintf("h%d", i))
	}
	require.EqualError(t, certificate.CheckHost(serverFor(t, hosts...), "x"),
		"it is for h0, h1, h2, h3, h4, h5, h6, h7 and 2 more, and not for x")
}

func TestWhatIsNoHost(t *testing.T) {
	for _, bad := range []string{"", ".", "a..b", "-a", "a-", "*.example", "a b", "a:1025", "bücher.example", "10.0.0", "1.2.3.400",
		"fe80::1%eth0", "[::1]", "a/b", strings.Repeat("a", 64), strings.Repeat("a.", 126) + "ab"} {
		_, err := certificate.ParseHost(bad)
		require.ErrorContains(t, err, "is neither the name nor the address of a host", bad)
		_, err = makeRoot(t, now).IssueServer("server", makeKey(t).Public(), now, day, bad)
		require.Error(t, err, bad)
	}
}

// TestOpensslComparesHosts as we do, in the certificates that we write.
func TestOpensslComparesHosts(t *testing.T) {
	root := makeRoot(t, now)
	chain, err := root.IssueServer("server", makeKey(t).Public(), now, day, "host.example", "192.0.2.1")
	require.NoError(t, err)
	files := map[string][]byte{"root": root.Chain.Encode(), "chain": chain.Encode()}
	for _, c := range []struct {
		option, host string
		good         bool
	}{
		{"-verify_hostname", "host.example", true}, {"-verify_ip", "192.0.2.1", true},
		{"-verify_hostname", "other.example", false}, {"-verify_ip", "192.0.2.2", false},
	} {
		out, err := openssl(t, files, "verify", "-x509_strict", "-attime", fmt.Sprint(now.Unix()), "-purpose", "sslserver",
			"-CAfile", "root", c.option, c.host, "chain")
		require.Equal(t, c.good, err == nil, out)
	}
}

// TestCommandsAreForClientsOnly: openssl accepts the command of a tenant as a client, and not as a
// server.
func TestCommandsAreForClientsOnly(t *testing.T) {
	root := makeRoot(t, now)
	request := certificate.Request{Name: "host.example", Command: messages.PolicyInfo{}, Key: makeKey(t).Public()}
	leaf := issue(t, below(t, root, "alice", now), request, now)
	files := map[string][]byte{"root": root.Chain.Encode(), "chain": leaf.Encode()}
	for purpose, good := range map[string]bool{"sslclient": true, "sslserver": false} {
		out, err := openssl(t, files, "verify", "-x509_strict", "-attime", fmt.Sprint(now.Unix()), "-purpose", purpose,
			"-CAfile", "root", "-untrusted", "chain", "chain")
		require.Equal(t, good, err == nil, out)
	}
	_, err := certificate.Verify(leaf, root.Chain, now, x509.ExtKeyUsageServerAuth)
	require.ErrorContains(t, err, "incompatible key usage")
}
