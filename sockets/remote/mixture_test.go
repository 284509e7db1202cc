package remote_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/client"
	"albatross/sockets/remote"
)

// A maker makes certificates as one program does, which writes names in its own way. Without an
// authority, the certificate signs itself.
type maker func(t *testing.T, by *made, w wanted) *made

// A made is a certificate with its key, and those above it.
type made struct {
	chain certificate.Chain
	key   crypto.Signer
}

type wanted struct {
	name    string
	ca      bool
	usage   []x509.ExtKeyUsage
	command messages.Command // nil for a root and a server
}

func (w wanted) template(t *testing.T) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: w.name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: w.usage,
	}
	if w.ca {
		isCA(t, c)
	}
	if w.command != nil {
		carries(w.command)(t, c)
	}
	return c
}

// makers returns all of them.
func makers(t *testing.T) map[string]maker {
	all := map[string]maker{"former": former, "ours": ours, "native": nativeLike}
	if program, err := exec.LookPath("openssl"); err == nil {
		all["openssl UTF8String"] = openssl(program, "utf8only")
		all["openssl PrintableString"] = openssl(program, "default")
	} else {
		t.Log("openssl is not installed, and makes no certificates")
	}
	return all
}

// former does as an older version of ours: names are PrintableStrings, and the name of an issuer is
// copied from the issuer.
func former(t *testing.T, by *made, w wanted) *made {
	return signTemplate(t, by, w.template(t), nil)
}

// nativeLike writes all names as UTF8Strings, that of the issuer included, however the issuer has
// written it.
func nativeLike(t *testing.T, by *made, w wanted) *made {
	c := w.template(t)
	c.RawSubject = commonNameAs(t, asn1.TagUTF8String, w.name)
	issuer := c.RawSubject
	if by != nil {
		issuer = commonNameAs(t, asn1.TagUTF8String, by.chain[0].Subject.CommonName)
	}
	return signTemplate(t, by, c, issuer)
}

func commonNameAs(t *testing.T, tag int, name string) []byte {
	der, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: asn1.RawValue{Tag: tag, Bytes: []byte(name)}}}})
	require.NoError(t, err)
	return der
}

func signTemplate(t *testing.T, by *made, c *x509.Certificate, issuer []byte) *made {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	m := &made{key: key}
	parent, signer := *c, crypto.Signer(key)
	if by != nil {
		parent, signer, m.chain = *by.chain[0], by.key, by.chain
	}
	if issuer != nil {
		parent.RawSubject = issuer
	}
	der, err := x509.CreateCertificate(rand.Reader, c, &parent, public, signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	m.chain = append(certificate.Chain{cert}, m.chain...)
	return m
}

// ours does as this version.
func ours(t *testing.T, by *made, w wanted) *made {
	key, err := certificate.Ed25519.Generate()
	require.NoError(t, err)
	m := &made{key: key}
	if by == nil {
		root, err := certificate.NewRoot(w.name, key, time.Now(), time.Hour)
		require.NoError(t, err)
		m.chain = root.Chain
		return m
	}
	authority, err := certificate.NewAuthority(by.chain, by.key)
	require.NoError(t, err)
	if w.command == nil {
		m.chain, err = authority.IssueServer(w.name, key.Public(), time.Now(), time.Hour)
	} else {
		m.chain, err = authority.Issue(certificate.Request{Name: w.name, Command: w.command, Key: key.Public()}, time.Now(), time.Hour)
	}
	require.NoError(t, err)
	m.chain = append(certificate.Chain{m.chain[0]}, by.chain...)
	return m
}

// openssl makes names of one type of strings.
func openssl(program, mask string) maker {
	return func(t *testing.T, by *made, w wanted) *made {
		dir := t.TempDir()
		file := func(name string, contents []byte) string {
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, contents, 0o600))
			return path
		}
		run := func(args ...string) {
			out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
		key, err := certificate.Ed25519.Generate()
		require.NoError(t, err)
		encoded, err := certificate.EncodeKey(key)
		require.NoError(t, err)
		config := file("config", w.openssl(t, mask))
		out := filepath.Join(dir, "cert")
		args := []string{"req", "-new", "-x509", "-config", config, "-key", file("key", encoded), "-days", "1", "-out", out}
		m := &made{key: key}
		if by != nil {
			m.chain = by.chain
			byKey, err := certificate.EncodeKey(by.key)
			require.NoError(t, err)
			args = append(args, "-CA", file("ca", by.chain[:1].Encode()), "-CAkey", file("ca.key", byKey))
		}
		run(args...)
		contents, err := os.ReadFile(out)
		require.NoError(t, err)
		certs, err := certificate.ParseCertificates(contents)
		require.NoError(t, err)
		m.chain = append(certificate.Chain{certs[0]}, m.chain...)
		return m
	}
}

func (w wanted) openssl(t *testing.T, mask string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "[req]\nprompt=no\nstring_mask=%s\ndistinguished_name=name\nx509_extensions=ext\n[name]\nCN=%s\n[ext]\n", mask, w.name)
	fmt.Fprintf(&b, "basicConstraints=critical,CA:%t\nsubjectKeyIdentifier=hash\n", w.ca)
	if w.ca {
		b.WriteString("keyUsage=critical,keyCertSign,cRLSign\n")
	}
	if w.usage != nil {
		b.WriteString("extendedKeyUsage=serverAuth\n")
	}
	if w.command != nil {
		e, err := certificate.Extension(w.command)
		require.NoError(t, err)
		fmt.Fprintf(&b, "%s=DER:%s\n", certificate.OID, hex.EncodeToString(e.Value))
	}
	return b.Bytes()
}

func (m *made) forTLS() tls.Certificate {
	c := tls.Certificate{PrivateKey: m.key}
	for _, cert := range m.chain.Presented() {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// nativeRoot returns an authority that a native program has made.
func nativeRoot(t *testing.T) *made {
	contents, err := os.ReadFile("../certificate/testdata/native/cacert.key")
	require.NoError(t, err)
	key, err := certificate.ParseKey(contents)
	require.NoError(t, err)
	cert, err := os.ReadFile("../certificate/testdata/native/cacert.pem")
	require.NoError(t, err)
	block, _ := pem.Decode(cert)
	root, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return &made{chain: certificate.Chain{root}, key: key}
}

// TestWhoeverMadeIt: it does not matter which programs have made the root, the delegated
// certificate and that of a command or an endpoint. Both sides of TLS accept all of them.
func TestWhoeverMadeIt(t *testing.T) {
	all := makers(t)
	roots := map[string]*made{"a native one": nativeRoot(t)}
	for name, make := range all {
		roots[name] = make(t, nil, wanted{name: "Root 1", ca: true})
	}
	for name, root := range roots {
		t.Run("root by "+name, func(t *testing.T) { tryMakers(t, all, root) })
	}
}

func tryMakers(t *testing.T, all map[string]maker, root *made) {
	for by, make := range all {
		server := make(t, root, wanted{name: "server", usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		w := newWorld(t, answering(messages.SuccessEmpty{}), func(_ *world, c *remote.Config) {
			c.CA, c.Certificate = root.chain[0], server.forTLS()
		})
		alice := make(t, root, wanted{name: "alice", ca: true, command: messages.PolicyAdd{Policy: small}})
		for leafBy, makeLeaf := range all {
			leaf := makeLeaf(t, alice, wanted{name: "x", command: info})
			require.NoError(t, askAsClient(t, w, root, leaf), "endpoint and delegated certificate by %s, leaf by %s", by, leafBy)
			require.Equal(t, "alice:x", (<-w.asked).Header.Name.String())
		}
		w.stop()
	}
}

// askAsClient asks as our client does, which verifies the endpoint as well.
func askAsClient(t *testing.T, w *world, root, leaf *made) error {
	c, err := client.DialTLS(t.Context(), client.Endpoint{Address: w.address, Authority: root.chain[len(root.chain)-1:], Shown: leaf.forTLS()})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Ask(t.Context(), messages.Name{}, info)
	return err
}
