package remote

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"albatross/sockets/certificate"
)

// maxSent is how many certificates are looked at: a chain, the root, and what some
// clients send along.
const maxSent = 16

var (
	errLeafCA   = errors.New("the client's certificate is one of a CA, which must not give commands itself")
	errManySent = fmt.Errorf("more than %d certificates were sent", maxSent)
)

// verify finds the chain from the first of the certificates that a client has
// sent to the root, which is the last of the chain then. The others are used where
// they are part of it. No extended key usage is asked for: clients have
// certificates without any.
//
// Where several chains lead to the root, it is the first that is found. All of
// them are the client's, who can leave away the others.
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
