package certificate_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/test/vectors"
)

func with(extensions ...pkix.Extension) *x509.Certificate {
	return &x509.Certificate{Extensions: extensions}
}

func TestCommandsThatNativeWrites(t *testing.T) {
	for _, v := range vectors.Load(t, vectors.Cert) {
		if !v.NativeEncoder {
			continue
		}
		written := pkix.Extension{Id: certificate.OID, Value: v.Bytes(t)}
		command, version, present, err := certificate.Command(with(written))
		require.NoError(t, err, v.ID)
		require.True(t, present)
		require.Equal(t, messages.Version(v.Version), version)
		extension, err := certificate.Extension(command)
		require.NoError(t, err)
		require.Equal(t, written, extension, v.ID)
	}
}

func TestCertificatesWithoutACommand(t *testing.T) {
	other := pkix.Extension{Id: certificate.OID[:7], Value: []byte{5, 0}}
	_, _, present, err := certificate.Command(with(other))
	require.NoError(t, err)
	require.False(t, present)
}

func TestCertificatesWhoseCommandCannotBeRead(t *testing.T) {
	good, err := certificate.Extension(messages.PolicyInfo{})
	require.NoError(t, err)
	trailing := pkix.Extension{Id: certificate.OID, Value: append(bytes.Clone(good.Value), 0)}
	for want, cert := range map[string]*x509.Certificate{
		"several":                 with(good, good),
		"cannot read the command": with(trailing),
	} {
		_, _, present, err := certificate.Command(cert)
		require.ErrorContains(t, err, want)
		require.True(t, present, "it must not be taken for a certificate without a command")
	}
}
