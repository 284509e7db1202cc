package certificate_test

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
)

// describe lists what two certificates of the same kind have in common.
func describe(c *x509.Certificate) string {
	lines := []string{
		fmt.Sprintf("%q by %q", c.Subject.CommonName, c.Issuer.CommonName),
		fmt.Sprintf("%s to %s", c.NotBefore.Format(time.DateTime), c.NotAfter.Format(time.DateTime)),
		fmt.Sprintf("CA %t usage %09b extended %v", c.IsCA, c.KeyUsage, c.ExtKeyUsage),
	}
	for _, e := range c.Extensions {
		lines = append(lines, fmt.Sprintf("%v critical %t", e.Id, e.Critical))
	}
	return strings.Join(lines, "\n")
}

func TestWhatIsIssued(t *testing.T) {
	root := makeRoot(t, now)
	alice := below(t, root, "alice", now)
	key := makeKey(t).Public()
	server, err := root.IssueServer("server", key, now, certificate.ServerLife)
	require.NoError(t, err)
	command := certificate.Request{Name: "hello", Command: messages.UnikernelDestroy{}, Key: key}
	once, err := alice.Issue(certificate.Request{Command: messages.PolicyInfo{}, Key: key}, now, certificate.OnceLife)
	require.NoError(t, err)
	for want, chain := range map[string]certificate.Chain{
		`"root" by "root"
2026-11-22 14:44:00 to 2036-11-19 14:45:00
CA true usage 001100011 extended []
2.5.29.15 critical true
2.5.29.19 critical true
2.5.29.14 critical false
2.5.29.35 critical false`: root.Chain,
		`"alice" by "root"
2026-11-22 14:44:00 to 2027-11-22 14:45:00
CA true usage 001100011 extended []
2.5.29.15 critical true
2.5.29.19 critical true
2.5.29.14 critical false
2.5.29.35 critical false
1.3.6.1.4.1.49836.42 critical false`: alice.Chain,
		`"server" by "root"
2026-11-22 14:44:00 to 2027-11-22 14:45:00
CA false usage 000000101 extended [serverAuth]
2.5.29.15 critical true
2.5.29.37 critical false
2.5.29.19 critical true
2.5.29.14 critical false
2.5.29.35 critical false`: server,
		`"hello" by "alice"
2026-11-22 14:44:00 to 2026-11-23 14:45:00
CA false usage 000000101 extended [clientAuth]
2.5.29.15 critical true
2.5.29.37 critical false
2.5.29.19 critical true
2.5.29.14 critical false
2.5.29.35 critical false
1.3.6.1.4.1.49836.42 critical false`: issue(t, alice, command, now),
		`"" by "alice"
2026-11-22 14:44:00 to 2026-11-22 14:50:00
CA false usage 000000101 extended [clientAuth]
2.5.29.15 critical true
2.5.29.37 critical false
2.5.29.19 critical true
2.5.29.14 critical false
2.5.29.35 critical false
1.3.6.1.4.1.49836.42 critical false`: once,
	} {
		require.Equal(t, want, describe(chain[0]))
	}
}

func TestDelegationAtAnyDepth(t *testing.T) {
	root := makeRoot(t, now)
	at := root
	for depth := 1; depth < certificate.MaxChain; depth++ {
		at = below(t, at, fmt.Sprint("level", depth), now)
		require.Len(t, at.Chain, depth, "the root is left out")
	}
	request := certificate.Request{Name: "x", Command: messages.PolicyInfo{}, Key: makeKey(t).Public()}
	chain := issue(t, at, request, now)
	require.Len(t, chain, certificate.MaxChain)
	require.NoError(t, verify(chain, root.Chain[0], now))
	read, err := certificate.ParseChain(chain.Encode())
	require.NoError(t, err)
	require.Equal(t, chain, read)
	out, err := openssl(t, map[string][]byte{"root": root.Chain.Encode(), "chain": chain.Encode()},
		"verify", "-x509_strict", "-attime", fmt.Sprint(now.Unix()), "-purpose", "sslclient", "-CAfile", "root", "-untrusted", "chain", "chain")
	require.NoError(t, err, out)

	lowest := below(t, at, "lowest", now)
	_, err = lowest.Issue(request, now, day)
	require.ErrorContains(t, err, "longer than 9")
}

func TestNothingIsValidForLongerThanItsAuthority(t *testing.T) {
	root, err := certificate.NewRoot("root", makeKey(t), now, day)
	require.NoError(t, err)
	alice := below(t, root, "alice", now)
	require.Equal(t, root.Chain[0].NotAfter, alice.Chain[0].NotAfter)

	_, err = root.Issue(certificate.Request{Name: "late", Command: messages.PolicyInfo{}, Key: makeKey(t).Public()}, now.Add(2*day), day)
	require.ErrorContains(t, err, "expired")
}

func TestOnlyAuthoritiesSign(t *testing.T) {
	key := makeKey(t)
	leaf := issue(t, makeRoot(t, now), certificate.Request{Name: "x", Command: messages.PolicyInfo{}, Key: key.Public()}, now)
	_, err := certificate.NewAuthority(leaf, key)
	require.ErrorContains(t, err, "must not be used to sign")
}

func TestSerialNumbersDiffer(t *testing.T) {
	root := makeRoot(t, now)
	seen := map[string]bool{}
	for range 20 {
		seen[below(t, root, "alice", now).Chain[0].SerialNumber.String()] = true
	}
	require.Len(t, seen, 20)
}

func TestChainsThatAreBroken(t *testing.T) {
	root := makeRoot(t, now)
	alice, bob := below(t, root, "alice", now), below(t, root, "bob", now)
	garbage := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	for name, c := range map[string]struct{ text, want string }{
		"nothing":   {"", "no certificate"},
		"garbage":   {garbage, "no certificate"},
		"half":      {string(alice.Chain.Encode()) + garbage, "no certificate"},
		"foreign":   {string(certificate.Chain{alice.Chain[0], bob.Chain[0]}.Encode()), `its certificate for "alice" is not signed by the one behind it, for "bob"`},
		"order":     {string(certificate.Chain{root.Chain[0], alice.Chain[0]}.Encode()), "not signed by the one behind it"},
		"leaf root": {string(append(issue(t, alice, certificate.Request{Name: "x", Command: messages.PolicyInfo{}, Key: makeKey(t).Public()}, now)[:1], root.Chain...).Encode()), "not signed"},
	} {
		_, err := certificate.ParseChain([]byte(c.text))
		require.ErrorContains(t, err, c.want, name)
	}
	whole, err := certificate.ParseChain(append(alice.Chain.Encode(), root.Chain.Encode()...))
	require.NoError(t, err)
	require.Equal(t, alice.Chain, whole.Presented())
	require.Empty(t, root.Chain.Presented())
}
