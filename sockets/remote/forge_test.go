package remote_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
)

// A node is a certificate with its key, and those above it up to the root.
type node struct {
	cert  *x509.Certificate
	key   ed25519.PrivateKey
	above *node
}

// A change makes a certificate differ from the usual ones.
type change func(t testing.TB, c *x509.Certificate)

func carries(command messages.Command) change {
	return func(t testing.TB, c *x509.Certificate) {
		e, err := certificate.Extension(command)
		require.NoError(t, err)
		c.ExtraExtensions = append(c.ExtraExtensions, e)
	}
}

func contains(contents []byte) change {
	return func(_ testing.TB, c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: certificate.OID, Value: contents})
	}
}

func critical(_ testing.TB, c *x509.Certificate) {
	for i := range c.ExtraExtensions {
		c.ExtraExtensions[i].Critical = true
	}
}

func valid(from, to time.Duration) change {
	return func(_ testing.TB, c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to)
	}
}

func isCA(_ testing.TB, c *x509.Certificate) {
	c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
}

func usedFor(usages ...x509.ExtKeyUsage) change {
	return func(_ testing.TB, c *x509.Certificate) { c.ExtKeyUsage = usages }
}

// makeNode makes a certificate: of a client without an extended key usage, unless it is changed.
// Without a signer it signs itself.
func makeNode(t testing.TB, signer *node, name string, changes ...change) *node {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	for _, c := range changes {
		c(t, template)
	}
	n := &node{cert: template, key: key}
	by := n
	if signer != nil {
		n.above, by = signer, signer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, public, by.key)
	require.NoError(t, err)
	n.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return n
}

func newRoot(t testing.TB) *node { return makeNode(t, nil, "root", isCA) }

// policy returns a node with a policy below another one.
func (n *node) policy(t testing.TB, name string, p messages.Policy) *node {
	return makeNode(t, n, name, isCA, carries(messages.PolicyAdd{Policy: p}))
}

// leaf returns a client that has a command.
func (n *node) leaf(t testing.TB, name string, command messages.Command, changes ...change) *node {
	return makeNode(t, n, name, append([]change{carries(command)}, changes...)...)
}

// chain lists the certificates from the node itself to the root.
func (n *node) chain() (list []*x509.Certificate) {
	for ; n != nil; n = n.above {
		list = append(list, n.cert)
	}
	return list
}

// presented returns what a client sends: all except the root.
func (n *node) presented() tls.Certificate {
	chain := n.chain()
	return present(n.key, chain[:len(chain)-1]...)
}

func present(key ed25519.PrivateKey, list ...*x509.Certificate) tls.Certificate {
	c := tls.Certificate{PrivateKey: key}
	for _, cert := range list {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// server returns the certificate of an endpoint.
func (n *node) server(t testing.TB) tls.Certificate {
	return makeNode(t, n, "server", usedFor(x509.ExtKeyUsageServerAuth)).presented()
}

func attribute(name string) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: name}
}

// emptyName adds an empty common name, where there would be none.
func emptyName(_ testing.TB, c *x509.Certificate) {
	c.Subject.ExtraNames = append(c.Subject.ExtraNames, attribute(""))
}
