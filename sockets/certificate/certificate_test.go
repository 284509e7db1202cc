package certificate_test

import (
	"crypto"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
)

const day = 24 * time.Hour

// now is the time of the tests, except for those in which openssl checks a list of revocations.
var now = time.Date(2026, 11, 22, 14, 45, 0, 0, time.UTC)

var policy = messages.Policy{Unikernels: 3, CPUIDs: []int{0, 1}, Memory: 128, Block: messages.Some(20), Bridges: []string{"br-test"}}

func makeKey(t *testing.T) crypto.Signer {
	key, err := certificate.Ed25519.Generate()
	require.NoError(t, err)
	return key
}

func makeRoot(t *testing.T, at time.Time) *certificate.Authority {
	root, err := certificate.NewRoot("root", makeKey(t), at, certificate.RootLife)
	require.NoError(t, err)
	return root
}

// below makes an authority with a policy, signed by the one above.
func below(t *testing.T, above *certificate.Authority, name string, at time.Time) *certificate.Authority {
	key := makeKey(t)
	chain := issue(t, above, certificate.Request{Name: name, Command: messages.PolicyAdd{Policy: policy}, Key: key.Public()}, at)
	a, err := certificate.NewAuthority(chain, key)
	require.NoError(t, err)
	return a
}

func issue(t *testing.T, a *certificate.Authority, r certificate.Request, at time.Time) certificate.Chain {
	chain, err := a.Issue(r, at, r.Life())
	require.NoError(t, err)
	return chain
}

// verify verifies a chain as an endpoint does.
func verify(chain certificate.Chain, root *x509.Certificate, at time.Time) error {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	options.Roots.AddCert(root)
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(options)
	return err
}

// openssl runs openssl on files of these contents, and returns what it prints.
func openssl(t *testing.T, files map[string][]byte, args ...string) (string, error) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	for name, contents := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), contents, 0o600))
	}
	c := exec.CommandContext(t.Context(), program, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	return string(out), err
}

func native(t *testing.T, file string) []byte {
	b, err := os.ReadFile(filepath.Join("testdata", "native", file))
	require.NoError(t, err)
	return b
}
