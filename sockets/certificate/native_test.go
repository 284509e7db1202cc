package certificate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
)

func nativeChain(t *testing.T, file string) certificate.Chain {
	chain, err := certificate.ParseChain(native(t, file))
	require.NoError(t, err)
	return chain
}

func TestNativeCertificates(t *testing.T) {
	root := nativeChain(t, "cacert.pem")[0]
	require.True(t, certificate.SelfSigned(root))
	for file, want := range map[string]struct {
		names   []string
		command messages.Command
	}{
		"server.pem":           {names: []string{"server"}},
		"alice.pem":            {[]string{"alice"}, messages.PolicyAdd{Policy: policy}},
		"carl.pem":             {[]string{"carl", "bob", "alice"}, messages.PolicyAdd{Policy: messages.Policy{Unikernels: 1, CPUIDs: []int{0}, Memory: 32}}},
		"hello.pem":            {[]string{"hello", "alice"}, messages.ConsoleSubscribe{Count: messages.Some(20)}},
		"chain-two-levels.pem": {[]string{".", "eve", "alice"}, messages.UnikernelInfo{Form: 6}},
	} {
		chain := nativeChain(t, file)
		var names []string
		for _, c := range chain {
			names = append(names, c.Subject.CommonName)
		}
		require.Equal(t, want.names, names, file)
		require.NoError(t, verify(chain, root, now), file)
		require.Error(t, verify(chain, root, now.Add(-day)), file)
		command, _, present, err := certificate.Command(chain[0])
		require.NoError(t, err)
		require.Equal(t, want.command != nil, present)
		require.EqualValues(t, want.command, command, file)
	}
}

// TestNativeAuthority: a certificate that we sign with an authority of native has the identifiers
// that native would have written.
func TestNativeAuthority(t *testing.T) {
	root := nativeAuthority(t, "cacert")
	request, err := certificate.ParseRequest(native(t, "alice.req"))
	require.NoError(t, err)
	require.Equal(t, "alice", request.Name)
	require.Equal(t, messages.PolicyAdd{Policy: policy}, request.Command)
	ours := issue(t, root, request, now)[0]
	theirs := nativeChain(t, "alice.pem")[0]
	require.Equal(t, theirs.SubjectKeyId, ours.SubjectKeyId)
	require.Equal(t, theirs.AuthorityKeyId, ours.AuthorityKeyId)
	require.Equal(t, theirs.KeyUsage, ours.KeyUsage)
	require.Equal(t, theirs.RawSubjectPublicKeyInfo, ours.RawSubjectPublicKeyInfo)
	require.Equal(t, theirs.NotAfter.Sub(theirs.NotBefore)+50*time.Second, ours.NotAfter.Sub(ours.NotBefore), "theirs begins 10 s earlier, ours a minute")
	require.Equal(t, theirs.RawSubject, ours.RawSubject)
	require.Equal(t, theirs.RawIssuer, ours.RawIssuer)

	leaf := issue(t, nativeAuthority(t, "alice"), certificate.Request{Name: "x", Command: messages.PolicyInfo{}, Key: makeKey(t).Public()}, now)
	require.NoError(t, verify(leaf, root.Chain[0], now))
	out, err := openssl(t, map[string][]byte{"root": root.Chain.Encode(), "chain": leaf.Encode()},
		"verify", "-attime", fmt.Sprint(now.Unix()), "-CAfile", "root", "-untrusted", "chain", "chain")
	require.NoError(t, err, out)
}

func nativeAuthority(t *testing.T, name string) *certificate.Authority {
	key, err := certificate.ParseKey(native(t, name+".key"))
	require.NoError(t, err)
	a, err := certificate.NewAuthority(nativeChain(t, name+".pem"), key)
	require.NoError(t, err)
	return a
}

func TestNativeRequestOfACommand(t *testing.T) {
	request, err := certificate.ParseRequest(native(t, "hello.req"))
	require.NoError(t, err)
	require.Equal(t, "hello", request.Name)
	require.Equal(t, messages.ConsoleSubscribe{Count: messages.Some(20)}, request.Command)
	require.Equal(t, 24*time.Hour, request.Life())
}
