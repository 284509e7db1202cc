package certificate_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/sockets/certificate"
)

func TestKeys(t *testing.T) {
	for _, kind := range certificate.KeyTypes {
		key, err := kind.Generate()
		require.NoError(t, err)
		text, err := certificate.EncodeKey(key)
		require.NoError(t, err)
		forms := map[string][]byte{"PKCS #8": text}
		switch k := key.(type) {
		case *rsa.PrivateKey:
			forms["PKCS #1"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})
		case *ecdsa.PrivateKey:
			der, err := x509.MarshalECPrivateKey(k)
			require.NoError(t, err)
			parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{5, 0}})
			forms["SEC 1"] = append(parameters, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...)
		}
		for form, text := range forms {
			got, err := certificate.ParseKey(text)
			require.NoError(t, err, "%s %s", kind, form)
			// Keys of RSA that are the same may differ in what crypto/rsa has computed in advance.
			require.True(t, key.(interface{ Equal(crypto.PrivateKey) bool }).Equal(got))
			out, err := openssl(t, map[string][]byte{"key": text}, "pkey", "-in", "key", "-noout", "-check")
			require.NoError(t, err, out)
		}
		root, err := certificate.NewRoot("root", key, now, day)
		require.NoError(t, err)
		require.True(t, certificate.Matches(root.Chain[0], key))
		require.False(t, certificate.Matches(root.Chain[0], makeKey(t)))
		_, err = certificate.NewAuthority(root.Chain, makeKey(t))
		require.ErrorContains(t, err, "not that of the certificate")
	}
}

func TestKeysThatCannotBeRead(t *testing.T) {
	sealed := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
	for name, c := range map[string]struct{ text, want string }{
		"nothing":     {"", "no private key"},
		"certificate": {string(native(t, "alice.pem")), "no private key"},
		"garbage":     {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read"},
		"sealed":      {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "encrypted"},
		"sealed, old": {sealed, "encrypted"},
		"X25519":      {x25519, "cannot sign"},
	} {
		_, err := certificate.ParseKey([]byte(c.text))
		require.ErrorContains(t, err, c.want, name)
	}
	_, err := certificate.KeyType("dsa").Generate()
	require.ErrorContains(t, err, "internal error")
}

const x25519 = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VuBCIEICgpuNaAd2Au4JGIpgZdiTH1VBDlmzlDO7+vkwzmdFJX
-----END PRIVATE KEY-----
`

// TestErrorsTellNoKey: whatever has happened to the file of a key, the error does not quote it.
func TestErrorsTellNoKey(t *testing.T) {
	keys := []crypto.Signer{makeKey(t)}
	for _, kind := range []certificate.KeyType{certificate.P256, certificate.RSA2048} {
		key, err := kind.Generate()
		require.NoError(t, err)
		keys = append(keys, key)
	}
	rapid.Check(t, func(t *rapid.T) {
		text, err := certificate.EncodeKey(rapid.SampledFrom(keys).Draw(t, "key"))
		require.NoError(t, err)
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		if rapid.Bool().Draw(t, "cut") {
			text = text[:at]
		} else {
			text[at] = rapid.Byte().Draw(t, "byte")
		}
		if _, err := certificate.ParseKey(text); err != nil {
			for _, line := range strings.Split(string(text), "\n") {
				if !strings.HasPrefix(line, "-----") && len(line) > 8 {
					require.NotContains(t, err.Error(), line[:8])
				}
			}
		}
	})
}
