package certificate_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/sockets/certificate"
)

// The attributes of a name in DER, with their values.
type (
	testAttribute struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	testSET []testAttribute
)

func value(tag int, text string) asn1.RawValue { return asn1.RawValue{Tag: tag, Bytes: []byte(text)} }

func utf8(text string) asn1.RawValue      { return value(asn1.TagUTF8String, text) }
func printable(text string) asn1.RawValue { return value(asn1.TagPrintableString, text) }

func common(v asn1.RawValue) testAttribute {
	return testAttribute{asn1.ObjectIdentifier{2, 5, 4, 3}, v}
}

func organization(v asn1.RawValue) testAttribute {
	return testAttribute{asn1.ObjectIdentifier{2, 5, 4, 10}, v}
}

func distinguished(t *testing.T, rdns ...testSET) []byte {
	der, err := asn1.Marshal(rdns)
	require.NoError(t, err)
	return der
}

func called(t *testing.T, v asn1.RawValue) []byte { return distinguished(t, testSET{common(v)}) }

// signed makes a certificate whose names are these bytes.
func signed(t *testing.T, subject, issuer []byte, public crypto.PublicKey, by crypto.Signer, changes ...func(*x509.Certificate)) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7), RawSubject: subject, BasicConstraintsValid: true,
		NotBefore: now.Add(-day), NotAfter: now.Add(day),
	}
	for _, change := range changes {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, &x509.Certificate{RawSubject: issuer, PublicKey: by.Public()}, public, by)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

func asCA(c *x509.Certificate)     { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }
func asLast(c *x509.Certificate)   { c.MaxPathLenZero = true }
func expired(c *x509.Certificate)  { c.NotAfter = now.Add(-1) }
func noSigner(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageDigitalSignature }

func verifyAny(sent ...*x509.Certificate) func(roots ...*x509.Certificate) error {
	return func(roots ...*x509.Certificate) error {
		_, err := certificate.Verify(sent, roots, now, x509.ExtKeyUsageAny)
		return err
	}
}

// TestNamesThatAreTheSame: names are compared as RFC 5280, 7.1 says, to find the issuer.
func TestNamesThatAreTheSame(t *testing.T) {
	type pair struct{ a, b []byte }
	key, leaf := makeKey(t), makeKey(t)
	try := func(p pair) error {
		root := signed(t, p.a, p.a, key.Public(), key, asCA)
		return verifyAny(signed(t, called(t, utf8("x")), p.b, leaf.Public(), key))(root)
	}
	long := strings.Repeat("a", 5000)
	for title, p := range map[string]pair{
		"types":            {called(t, printable("ca")), called(t, utf8("ca"))},
		"IA5":              {called(t, value(asn1.TagIA5String, "ca")), called(t, utf8("ca"))},
		"case":             {called(t, printable("Root CA")), called(t, utf8("rOOT ca"))},
		"case elsewhere":   {called(t, utf8("ÄRGER STRASSE")), called(t, utf8("ärger straße"))},
		"composed":         {called(t, utf8("a\u0308")), called(t, utf8("ä"))},
		"white space":      {called(t, utf8("  root \t\u00a0 ca ")), called(t, printable("root ca"))},
		"what is not seen": {called(t, utf8("ro\u00adot\u200b")), called(t, utf8("root"))},
		"order in a set": {
			distinguished(t, testSET{common(utf8("a")), organization(utf8("b"))}),
			distinguished(t, testSET{common(printable("A")), organization(printable("B"))}),
		},
		"very long, the same bytes": {called(t, utf8(long)), called(t, utf8(long))},
	} {
		require.NoError(t, try(p), title)
		require.NoError(t, try(pair{p.b, p.a}), title)
	}
	for title, p := range map[string]pair{
		"other names":         {called(t, utf8("a")), called(t, utf8("b"))},
		"no space":            {called(t, utf8("root ca")), called(t, utf8("rootca"))},
		"look alike":          {called(t, utf8("a")), called(t, utf8("а"))}, // the second one is Cyrillic
		"other attributes":    {called(t, utf8("a")), distinguished(t, testSET{organization(utf8("a"))})},
		"one more":            {called(t, utf8("a")), distinguished(t, testSET{common(utf8("a"))}, testSET{organization(utf8("b"))})},
		"one more in a set":   {called(t, utf8("a")), distinguished(t, testSET{common(utf8("a")), organization(utf8("b"))})},
		"one or two sets":     {distinguished(t, testSET{common(utf8("a")), organization(utf8("b"))}), distinguished(t, testSET{common(utf8("a"))}, testSET{organization(utf8("b"))})},
		"another order":       {distinguished(t, testSET{common(utf8("a"))}, testSET{organization(utf8("b"))}), distinguished(t, testSET{organization(utf8("b"))}, testSET{common(utf8("a"))})},
		"the beginning":       {called(t, utf8("root")), called(t, utf8("root2"))},
		"none":                {called(t, utf8("a")), distinguished(t)},
		"very long":           {called(t, utf8(long)), called(t, utf8(strings.ToUpper(long)))},
		"a type without case": {called(t, value(asn1.TagT61String, "a")), called(t, value(asn1.TagT61String, "A"))},
	} {
		require.Error(t, try(p), title)
		require.Error(t, try(pair{p.b, p.a}), title)
	}
}

// TestNamesVouchForNothing: that more names count as the same lets in nobody whom no key lets in.
func TestNamesVouchForNothing(t *testing.T) {
	rootKey, key, other := makeKey(t), makeKey(t), makeKey(t)
	rootOld, rootNew := called(t, printable("root")), called(t, utf8("Root"))
	between, betweenNew := called(t, printable("alice")), called(t, utf8("ALICE"))
	x := called(t, utf8("x"))
	root := signed(t, rootOld, rootOld, rootKey.Public(), rootKey, asCA)
	last := signed(t, rootOld, rootOld, rootKey.Public(), rootKey, asCA, asLast)
	alice := signed(t, between, rootNew, key.Public(), rootKey, asCA)
	leaf := signed(t, x, betweenNew, other.Public(), key)
	require.NoError(t, verifyAny(leaf, alice)(root), "this is how it should be")

	forged := signed(t, rootNew, rootNew, other.Public(), other, asCA)
	imposter := signed(t, betweenNew, rootOld, other.Public(), other, asCA)
	flipped := *leaf
	flipped.Signature = append([]byte{leaf.Signature[0] ^ 1}, leaf.Signature[1:]...)
	for title, err := range map[string]error{
		"another root of that name":     verifyAny(leaf, alice)(forged),
		"a root that was sent":          verifyAny(signed(t, x, rootOld, other.Public(), other), forged)(root),
		"signed by another key":         verifyAny(signed(t, x, betweenNew, other.Public(), other), alice)(root),
		"an imposter between":           verifyAny(signed(t, x, between, key.Public(), other), imposter)(root),
		"an imposter before the right":  verifyAny(signed(t, x, between, key.Public(), other), imposter, alice)(root),
		"another signature":             verifyAny(&flipped, alice)(root),
		"nobody between":                verifyAny(leaf)(root),
		"named after the root only":     verifyAny(signed(t, x, rootNew, other.Public(), key), alice)(root),
		"an issuer that is no CA":       verifyAny(leaf, signed(t, between, rootNew, key.Public(), rootKey))(root),
		"an issuer that must not sign":  verifyAny(leaf, signed(t, between, rootNew, key.Public(), rootKey, noSigner))(root),
		"an issuer that has expired":    verifyAny(leaf, signed(t, between, rootNew, key.Public(), rootKey, asCA, expired))(root),
		"a leaf that has expired":       verifyAny(signed(t, x, betweenNew, other.Public(), key, expired), alice)(root),
		"deeper than the root allows":   verifyAny(leaf, alice)(last),
		"deeper than it allows between": verifyAny(signed(t, x, called(t, utf8("b")), key.Public(), other), signed(t, called(t, printable("B")), betweenNew, other.Public(), key, asCA), signed(t, between, rootNew, key.Public(), rootKey, asCA, asLast))(root),
		"a circle":                      verifyAny(leaf, signed(t, between, betweenNew, key.Public(), key, asCA))(root),
		"nobody is trusted":             verifyAny(leaf, alice)(),
		"nothing was sent":              verifyAny()(root),
	} {
		require.Error(t, err, title)
	}
}

// TestAChainIsAsItWasSigned: the names in it keep the form in which they were sent.
func TestAChainIsAsItWasSigned(t *testing.T) {
	rootKey, key := makeKey(t), makeKey(t)
	root := signed(t, called(t, printable("ROOT")), called(t, printable("ROOT")), rootKey.Public(), rootKey, asCA)
	leaf := signed(t, called(t, utf8(" X")), called(t, utf8("root")), key.Public(), rootKey)
	chain, err := certificate.Verify([]*x509.Certificate{leaf, root}, []*x509.Certificate{root}, now, x509.ExtKeyUsageAny)
	require.NoError(t, err)
	require.Len(t, chain, 2)
	require.Same(t, leaf, chain[0])
	require.Same(t, root, chain[1])
}

// TestWhatKeysAreFor: a chain of a server is not one of a client.
func TestWhatKeysAreFor(t *testing.T) {
	root := makeRoot(t, now)
	server, err := root.IssueServer("server", makeKey(t).Public(), now, day)
	require.NoError(t, err)
	for usage, good := range map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageServerAuth: true, x509.ExtKeyUsageClientAuth: false, x509.ExtKeyUsageAny: true} {
		_, err := certificate.Verify(server, root.Chain, now, usage)
		require.Equal(t, good, err == nil)
	}
}

// TestNamesAreWrittenAsNativelyTheyAre: names in certificates and in requests have the native form.
func TestNamesAreWrittenAsNativelyTheyAre(t *testing.T) {
	root := makeRoot(t, now)
	alice := below(t, root, "alice", now)
	require.Equal(t, called(t, utf8("root")), root.Chain[0].RawSubject)
	require.Equal(t, called(t, utf8("root")), alice.Chain[0].RawIssuer)
	require.Equal(t, called(t, utf8("alice")), alice.Chain[0].RawSubject)
	_, err := certificate.NewRoot("no\xfftext", makeKey(t), now, day)
	require.ErrorContains(t, err, `cannot write the name "no\xfftext"`)
}

// TestListsByTheSameName: the name of the issuer of a list of revocations is compared like that.
func TestListsByTheSameName(t *testing.T) {
	key := makeKey(t)
	root := signed(t, called(t, printable("Root")), called(t, printable("Root")), key.Public(), key, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	})
	by := func(issuer []byte, signer crypto.Signer) *certificate.Revocations {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(day)},
			&x509.Certificate{RawSubject: issuer, PublicKey: signer.Public(), SubjectKeyId: []byte{1}, KeyUsage: x509.KeyUsageCRLSign}, signer)
		require.NoError(t, err)
		list, err := certificate.ParseRevocations(der)
		require.NoError(t, err)
		return list
	}
	require.NoError(t, by(called(t, utf8("root")), key).Verify(root))
	require.ErrorContains(t, by(called(t, utf8("other")), key).Verify(root), "not by this authority")
	require.ErrorContains(t, by(called(t, utf8("root")), makeKey(t)).Verify(root), "not by this authority")
}
