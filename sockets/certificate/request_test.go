package certificate_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
)

func TestRequests(t *testing.T) {
	for _, kind := range certificate.KeyTypes {
		key, err := kind.Generate()
		require.NoError(t, err)
		text, err := certificate.EncodeRequest("hello", messages.BlockSet{Compressed: true}, key)
		require.NoError(t, err)
		got, err := certificate.ParseRequest(text)
		require.NoError(t, err)
		require.Equal(t, certificate.Request{Name: "hello", Command: messages.BlockSet{Compressed: true}, Key: key.Public()}, got)
		out, err := openssl(t, map[string][]byte{"req": text}, "req", "-verify", "-noout", "-text", "-in", "req")
		require.NoError(t, err, out)
		require.Contains(t, out, "1.3.6.1.4.1.49836.42")
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	key := makeKey(t)
	good, err := certificate.EncodeRequest("hello", messages.PolicyInfo{}, key)
	require.NoError(t, err)
	block, _ := pem.Decode(good)
	forged := bytes.Replace(block.Bytes, []byte("hello"), []byte("other"), 1)
	empty, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	for want, text := range map[string][]byte{
		"no certificate request":                    native(t, "alice.pem"),
		"cannot be read":                            encodeRequest([]byte{5, 0}),
		"is not signed by the key that it is for":   encodeRequest(forged),
		"the certificate request is for no command": encodeRequest(empty),
	} {
		_, err := certificate.ParseRequest(text)
		require.ErrorContains(t, err, want)
	}
}

func encodeRequest(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
