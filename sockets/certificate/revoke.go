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

// RevocationLife is how long a list of revocations is to be believed where nobody
// says otherwise. It lies beside the endpoint that reads it, so that an old one
// is not a sign of somebody in between; past its time it is refused all the same.
const RevocationLife = 3650 * day

// maxSkew is by how much the clock of who makes a list may be ahead.
const maxSkew = 5 * time.Minute

var (
	errNotOnlyList    = errors.New("it holds more than one list of revocations")
	errNoRevocations  = errors.New("it holds no list of revocations")
	errForeignList    = errors.New("the list of revocations is not by this authority")
	errFutureList     = errors.New("the list of revocations is from the future: are the clocks right?")
	errOldList        = errors.New("the list of revocations is out of date: make it anew")
	errCriticalInList = errors.New("the list of revocations says something critical that is not understood")
)

// ErrRevoked ends the text that an endpoint tells a client whose certificate, or one
// above it, is revoked.
var ErrRevoked = errors.New("is revoked")

const typeRevocations = "X509 CRL"

// Revocations is a list of certificates that an authority has signed and that
// are not valid any more (a CRL, RFC 5280).
type Revocations struct {
	list    *x509.RevocationList
	serials map[string]bool // by the bytes of the number
}

// ParseRevocations reads a list, from PEM or DER. Whose it is, is not judged. A
// file with more than one thing in it is refused: who writes it again with only
// the list in it would lose the rest.
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

// Has reports whether the certificate of that serial number has been revoked.
func (r *Revocations) Has(serial *big.Int) bool { return r.serials[string(serial.Bytes())] }

// Len returns how many certificates have been revoked.
func (r *Revocations) Len() int { return len(r.serials) }

// By reports whether the list bears the name of an authority.
func (r *Revocations) By(authority *x509.Certificate) bool {
	return sameName(r.list.RawIssuer, authority.RawSubject)
}

// InTime tells why the list is not to be believed at this time: it was made later,
// or there should be a newer one by now.
func (r *Revocations) InTime(now time.Time) error {
	if r.list.ThisUpdate.After(now.Add(maxSkew)) {
		return errFutureList
	}
	if !r.list.NextUpdate.IsZero() && now.After(r.list.NextUpdate) {
		return errOldList
	}
	return nil
}

// Issuer returns whose list it claims to be.
func (r *Revocations) Issuer() string { return r.list.Issuer.String() }

// Verify tells why the list is not to be believed as that of an authority, at any
// time.
func (r *Revocations) Verify(authority *x509.Certificate) error {
	if !r.By(authority) {
		return errForeignList
	}
	if err := r.list.CheckSignatureFrom(authority); err != nil {
		return fmt.Errorf("%w: %w", errForeignList, err)
	}
	return r.understood()
}

// understood refuses lists that are not all of an authority's: those say so in
// extensions that must not be passed over.
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

// oidReasonCode says why, which makes no difference.
var oidReasonCode = asn1.ObjectIdentifier{2, 5, 29, 21}

func critical(extensions []pkix.Extension) bool {
	for _, e := range extensions {
		if e.Critical && !e.Id.Equal(oidReasonCode) {
			return true
		}
	}
	return false
}

// Revoke returns a list of what was revoked before, if there is an old list, and of
// these serial numbers.
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
