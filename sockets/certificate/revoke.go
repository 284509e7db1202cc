package certificate

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// RevocationLife is the default lifetime of a revocation list. The list is a file of the
// endpoint, so an old one does not indicate an attacker in between; an expired one is
// refused all the same.
const RevocationLife = 3650 * day

// maxSkew is by how much the clock of a list's author may be ahead.
const maxSkew = 5 * time.Minute

var (
	errNotOnlyList    = errors.New("it holds more than one list of revocations")
	errNoRevocations  = errors.New("it holds no list of revocations")
	errForeignList    = errors.New("the list of revocations is not by this authority")
	errFutureList     = errors.New("the list of revocations is from the future: are the clocks right?")
	errOldList        = errors.New("the list of revocations is out of date: make it anew")
	errCriticalInList = errors.New("the list of revocations says something critical that is not understood")
)

// ErrRevoked ends the text for a client whose certificate, or one above it, is revoked.
var ErrRevoked = errors.New("is revoked")

const typeRevocations = "X509 CRL"

// Revocations lists certificates of one authority that are no longer valid (a CRL, RFC
// 5280).
type Revocations struct {
	list    *x509.RevocationList
	serials map[string]bool // by the bytes of the number
}

// ParseRevocations parses a list, from PEM or DER, without checking its signature. It
// refuses a file with anything else in it: writing only the list back would lose the
// rest.
func ParseRevocations(data []byte) (*Revocations, error) {
	if block, _ := pem.Decode(data); block != nil {
		switch {
		case bytes.Count(data, []byte("-----BEGIN ")) > 1:
			return nil, errNotOnlyList
		case block.Type != typeRevocations:
			return nil, errNoRevocations
		}
		data = block.Bytes
	}
	list, err := x509.ParseRevocationList(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoRevocations, err)
	}
	return newRevocations(list), nil
}

func newRevocations(list *x509.RevocationList) *Revocations {
	r := &Revocations{list: list, serials: map[string]bool{}}
	for _, e := range list.RevokedCertificateEntries {
		r.serials[string(e.SerialNumber.Bytes())] = true
	}
	return r
}

// Encode returns the list as PEM.
func (r *Revocations) Encode() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typeRevocations, Bytes: r.list.Raw})
}

// Has reports whether the certificate with that serial number is revoked.
func (r *Revocations) Has(serial *big.Int) bool { return r.serials[string(serial.Bytes())] }

// Len returns how many certificates are revoked.
func (r *Revocations) Len() int { return len(r.serials) }

// By reports whether the list bears the name of an authority.
func (r *Revocations) By(authority *x509.Certificate) bool {
	return sameName(r.list.RawIssuer, authority.RawSubject)
}

// InTime returns why the list is not valid at this time: it was made later, or has
// expired.
func (r *Revocations) InTime(now time.Time) error {
	if r.list.ThisUpdate.After(now.Add(maxSkew)) {
		return errFutureList
	}
	if !r.list.NextUpdate.IsZero() && now.After(r.list.NextUpdate) {
		return errOldList
	}
	return nil
}

// Issuer returns the authority that the list names.
func (r *Revocations) Issuer() string { return r.list.Issuer.String() }

// Verify returns why the list is not one of an authority, at any time.
func (r *Revocations) Verify(authority *x509.Certificate) error {
	if !r.By(authority) {
		return errForeignList
	}
	if err := r.list.CheckSignatureFrom(authority); err != nil {
		return fmt.Errorf("%w: %w", errForeignList, err)
	}
	return r.understood()
}

// understood refuses a list that covers only a part of an authority's certificates. Such
// a list has critical extensions.
func (r *Revocations) understood() error {
	if critical(r.list.Extensions) {
		return errCriticalInList
	}
	for _, e := range r.list.RevokedCertificateEntries {
		if critical(e.Extensions) {
			return errCriticalInList
		}
	}
	return nil
}

// oidReasonCode identifies the reason of a revocation, which makes no difference.
var oidReasonCode = asn1.ObjectIdentifier{2, 5, 29, 21}

func critical(extensions []pkix.Extension) bool {
	for _, e := range extensions {
		if e.Critical && !e.Id.Equal(oidReasonCode) {
			return true
		}
	}
	return false
}

// Revoke returns a list of these serial numbers, and of those in the old list, if there
// is one.
func (a *Authority) Revoke(old *Revocations, serials []*big.Int, now time.Time, life time.Duration) (*Revocations, error) {
	own := a.Chain[0]
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(life)}
	if own.NotAfter.Before(list.NextUpdate) {
		list.NextUpdate = own.NotAfter
	}
	had := func(*big.Int) bool { return false }
	if old != nil {
		if err := old.Verify(own); err != nil {
			return nil, err
		}
		list.RevokedCertificateEntries = old.list.RevokedCertificateEntries
		if old.list.Number != nil {
			list.Number.Add(list.Number, old.list.Number)
		}
		had = old.Has
	}
	for _, s := range serials {
		if !had(s) {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: s, RevocationTime: now})
		}
	}
	return a.signList(list)
}

func (a *Authority) signList(list *x509.RevocationList) (*Revocations, error) {
	id, err := identifier(a.key.Public())
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, withIdentifier(a.Chain[0], id), a.key)
	if err != nil {
		return nil, fmt.Errorf("cannot sign the list of revocations: %w", err)
	}
	signed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("internal error: %w", err)
	}
	return newRevocations(signed), nil
}
