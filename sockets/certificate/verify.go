package certificate

import (
	"bytes"
	"crypto/x509"
	"errors"
	"time"
)

// Verify returns a chain from the first of the sent certificates to one of the roots,
// which is its last. The chain may use the other sent ones. Package x509 builds and
// checks the chain: signatures, times, who may sign, and how deep, and the usages of
// keys. Only names are compared in our own way.
func Verify(sent, roots []*x509.Certificate, now time.Time, usage x509.ExtKeyUsage) (Chain, error) {
	if len(sent) == 0 {
		return nil, errors.New("there is no certificate")
	}
	chains, err := withCanonicalNames(sent[0]).Verify(x509.VerifyOptions{
		Roots: pool(roots), Intermediates: pool(sent[1:]),
		CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return nil, err
	}
	return originals(chains[0], sent, roots), nil
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(withCanonicalNames(c))
	}
	return p
}

// originals returns the certificates of a chain with the names as they were signed.
func originals(chain []*x509.Certificate, among ...[]*x509.Certificate) (c Chain) {
	for _, one := range chain {
		c = append(c, original(one, among))
	}
	return c
}

func original(cert *x509.Certificate, among [][]*x509.Certificate) *x509.Certificate {
	for _, some := range among {
		for _, one := range some {
			if bytes.Equal(one.Raw, cert.Raw) {
				return one
			}
		}
	}
	return cert // not reached: the chain consists of the given ones
}
