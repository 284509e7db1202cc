package certificate_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
)

func revoke(t *testing.T, a *certificate.Authority, old *certificate.Revocations, at time.Time, serials ...*big.Int) *certificate.Revocations {
	list, err := a.Revoke(old, serials, at, certificate.RevocationLife)
	require.NoError(t, err)
	return list
}

func TestRevoke(t *testing.T) {
	alice := below(t, makeRoot(t, now), "alice", now)
	one, two := big.NewInt(1), big.NewInt(0x8000)
	empty := revoke(t, alice, nil, now)
	require.False(t, empty.Has(one))
	first := revoke(t, alice, empty, now, one)
	both := revoke(t, alice, first, now, two, one)
	for _, list := range []*certificate.Revocations{empty, first, both} {
		require.NoError(t, list.Verify(alice.Chain[0]))
		require.NoError(t, list.InTime(now))
		read, err := certificate.ParseRevocations(list.Encode())
		require.NoError(t, err)
		require.Equal(t, list, read)
	}
	require.True(t, first.Has(one))
	require.False(t, first.Has(two))
	require.True(t, both.Has(one))
	require.True(t, both.Has(two))
	raw := parseList(t, both)
	require.Equal(t, big.NewInt(3), raw.Number)
	require.Len(t, raw.RevokedCertificateEntries, 2, "once each")
	require.Equal(t, alice.Chain[0].NotAfter, raw.NextUpdate)
	require.Equal(t, alice.Chain[0].SubjectKeyId, raw.AuthorityKeyId)

	again := revoke(t, alice, both, now.Add(day), one)
	require.Equal(t, now, parseList(t, again).RevokedCertificateEntries[0].RevocationTime, "when it was revoked first")
}

func parseList(t *testing.T, list *certificate.Revocations) *x509.RevocationList {
	block, _ := pem.Decode(list.Encode())
	raw, err := x509.ParseRevocationList(block.Bytes)
	require.NoError(t, err)
	return raw
}

// TestNativeAuthorityRevokes: its root has no identifier of its key.
func TestNativeAuthorityRevokes(t *testing.T) {
	root := nativeAuthority(t, "cacert")
	list := revoke(t, root, nil, now, nativeChain(t, "alice.pem")[0].SerialNumber)
	require.NoError(t, list.Verify(root.Chain[0]))
}

func TestOpenSSLHonoursRevocations(t *testing.T) {
	at := time.Now() // openssl takes the current time to check lists, and not ours
	root := makeRoot(t, at)
	leaf := func() certificate.Chain {
		return issue(t, root, certificate.Request{Name: "x", Command: messages.PolicyInfo{}, Key: makeKey(t).Public()}, at)
	}
	good, bad := leaf(), leaf()
	files := map[string][]byte{
		"root": root.Chain.Encode(), "good": good.Encode(), "bad": bad.Encode(),
		"crl": revoke(t, root, nil, at, bad[0].SerialNumber).Encode(),
	}
	verify := []string{"verify", "-x509_strict", "-crl_check", "-CRLfile", "crl", "-CAfile", "root"}
	out, err := openssl(t, files, append(verify, "good")...)
	require.NoError(t, err, out)
	out, err = openssl(t, files, append(verify, "bad")...)
	require.Error(t, err, out)
	require.Contains(t, out, "certificate revoked")
}

func TestListsThatAreNotBelieved(t *testing.T) {
	root := makeRoot(t, now)
	good := revoke(t, root, nil, now, big.NewInt(1))

	require.ErrorContains(t, good.Verify(makeRoot(t, now).Chain[0]), "not by this authority", "of the same name")
	require.ErrorContains(t, good.Verify(below(t, root, "alice", now).Chain[0]), "not by this authority")
	require.ErrorContains(t, good.InTime(now.Add(3651*day)), "out of date")

	key := makeKey(t)
	other, err := certificate.NewRoot("root", key, now, day)
	require.NoError(t, err)
	for name, template := range map[string]*x509.RevocationList{
		"of some": {Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(day), ExtraExtensions: []pkix.Extension{
			{Id: []int{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}}},
		"of others": {Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(day), RevokedCertificateEntries: []x509.RevocationListEntry{
			{SerialNumber: big.NewInt(1), RevocationTime: now, ExtraExtensions: []pkix.Extension{
				{Id: []int{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}}}},
	} {
		der, err := x509.CreateRevocationList(rand.Reader, template, other.Chain[0], key)
		require.NoError(t, err)
		list, err := certificate.ParseRevocations(der)
		require.NoError(t, err)
		require.ErrorContains(t, list.Verify(other.Chain[0]), "something critical", name)
		_, err = other.Revoke(list, nil, now, day)
		require.Error(t, err, name)
	}
	_, err = other.Revoke(good, nil, now, day)
	require.ErrorContains(t, err, "not by this authority")
}

func TestListsThatCannotBeRead(t *testing.T) {
	good := revoke(t, makeRoot(t, now), nil, now).Encode()
	for name, data := range map[string][]byte{
		"nothing":     nil,
		"certificate": native(t, "alice.pem"),
		"half":        good[:len(good)/2],
		"garbage":     []byte("garbage"),
	} {
		_, err := certificate.ParseRevocations(data)
		require.ErrorContains(t, err, "no list of revocations", name)
	}
	_, err := certificate.ParseRevocations(bytes.TrimSpace(good))
	require.NoError(t, err)
	for _, more := range [][]byte{good, native(t, "alice.pem"), []byte("-----BEGIN X509 CRL-----\ndamaged")} {
		_, err = certificate.ParseRevocations(append(bytes.Clone(good), more...))
		require.ErrorContains(t, err, "more than one")
		_, err = certificate.ParseRevocations(append(append(bytes.Clone(more), '\n'), good...))
		require.ErrorContains(t, err, "more than one")
	}
}

// TestListsFromTheFuture count once their time has come, or nearly so.
func TestListsFromTheFuture(t *testing.T) {
	root := makeRoot(t, now)
	list := revoke(t, root, nil, now)
	require.NoError(t, list.InTime(now.Add(-5*time.Minute)))
	require.ErrorContains(t, list.InTime(now.Add(-6*time.Minute)), "from the future")
}
