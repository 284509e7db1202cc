package remote

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"albatross/sockets/certificate"
)

// maxSent is how many sent certificates are used: a chain, the root, and what some
// clients send in addition.
const maxSent = 16

var (
	errLeafCA   = errors.New("the client's certificate is one of a CA, which must not give commands itself")
	errManySent = fmt.Errorf("more than %d certificates were sent", maxSent)
)

// verify finds the chain from the first of the certificates that a client has sent to the
// root, which is its last. The chain may use the other sent ones. No extended key usage
// is required: some clients have certificates without any.
//
// If several chains lead to the root, it returns the first. All of them are the client's,
// which can send just one of them.
func verify(sent []*x509.Certificate, root *x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	switch {
	case len(sent) == 0:
		return nil, errors.New("the client has no certificate")
	case len(sent) > maxSent:
		return nil, errManySent
	case sent[0].IsCA:
		return nil, errLeafCA
	}
	chain, err := certificate.Verify(sent, []*x509.Certificate{root}, now, x509.ExtKeyUsageAny)
	if err != nil {
		return nil, err
	}
	if len(chain) < 2 { // the root itself, if it were no CA
		return nil, errLeafCA
	}
	return chain, nil
}
