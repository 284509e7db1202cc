package certificate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// MaxChain is how many certificates may lead from a command to the authority that an
// endpoint trusts, excluding that one.
const MaxChain = 9

var (
	errNoCertificate  = errors.New("it holds no certificate in PEM")
	errBadCertificate = errors.New("it holds something that is no certificate")
)

// A Chain is a certificate and those that vouch for it: each is signed by the next one.
// The trusted one at the end may be missing.
type Chain []*x509.Certificate

const typeCertificate = "CERTIFICATE"

// ParseChain parses the chain in a PEM file.
func ParseChain(data []byte) (Chain, error) {
	certs, err := ParseCertificates(data)
	if err != nil {
		return nil, err
	}
	chain := Chain(certs)
	return chain, chain.check()
}

// ParseCertificates parses the certificates of a PEM file, at least one.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != typeCertificate {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBadCertificate, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errNoCertificate
	}
	return certs, nil
}

// check returns where the chain is broken.
func (c Chain) check() error {
	for i := range c[1:] {
		if err := c[i].CheckSignatureFrom(c[i+1]); err != nil {
			return fmt.Errorf("its certificate for %q is not signed by the one behind it, for %q: %w",
				c[i].Subject.CommonName, c[i+1].Subject.CommonName, err)
		}
	}
	return nil
}

// Encode returns the chain as PEM.
func (c Chain) Encode() []byte {
	var b bytes.Buffer
	for _, cert := range c {
		// Writes to a buffer never fail.
		_ = pem.Encode(&b, &pem.Block{Type: typeCertificate, Bytes: cert.Raw})
	}
	return b.Bytes()
}

// Presented returns the chain without a self-signed certificate at its end: whoever
// trusts that one has it.
func (c Chain) Presented() Chain {
	if last := len(c) - 1; last >= 0 && SelfSigned(c[last]) {
		return c[:last]
	}
	return c
}

// SelfSigned reports whether a certificate is signed by its own key.
func SelfSigned(cert *x509.Certificate) bool {
	return sameName(cert.RawIssuer, cert.RawSubject) && cert.CheckSignatureFrom(cert) == nil
}
