package certificate

import (
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"albatross/messages"
)

const day = 24 * time.Hour

// The default lifetimes of certificates.
const (
	RootLife    = 3650 * day
	ServerLife  = 365 * day
	PolicyLife  = 365 * day
	CommandLife = day
	OnceLife    = 300 * time.Second // of a certificate for immediate use
)

// backdate is by how much clocks may differ.
const backdate = time.Minute

var (
	errNotItsKey    = errors.New("the private key is not that of the certificate")
	errNoAuthority  = errors.New("the certificate must not be used to sign others")
	errExpired      = errors.New("the certificate that is to sign has expired")
	errChainTooLong = fmt.Errorf("the chain of certificates would be longer than %d", MaxChain)
)

// An Authority can sign certificates: it has a certificate that allows it, those that
// vouch for it, and its key.
type Authority struct {
	Chain Chain
	key   crypto.Signer
}

// NewAuthority checks that chain and key belong together.
func NewAuthority(chain Chain, key crypto.Signer) (*Authority, error) {
	switch own := chain[0]; {
	case !Matches(own, key):
		return nil, errNotItsKey
	case !own.IsCA || own.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errNoAuthority
	}
	return &Authority{Chain: chain, key: key}, nil
}

// NewRoot makes an authority with a self-signed certificate.
func NewRoot(name string, key crypto.Signer, now time.Time, life time.Duration) (*Authority, error) {
	t := authority(name, now, life)
	cert, err := sign(t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{Chain: Chain{cert}, key: key}, nil
}

// Life returns the default lifetime of the requested certificate.
func (r Request) Life() time.Duration {
	if _, ok := r.Command.(messages.PolicyAdd); ok {
		return PolicyLife
	}
	return CommandLife
}

// Issue signs the requested certificate, and returns the chain from it on. If the command
// adds a policy, it is an authority below this one, else a client that may give this
// command only. It does not outlive the authority.
func (a *Authority) Issue(r Request, now time.Time, life time.Duration) (Chain, error) {
	extension, err := Extension(r.Command)
	if err != nil {
		return nil, err
	}
	t := client(r.Name, now, life)
	if _, ok := r.Command.(messages.PolicyAdd); ok {
		t = authority(r.Name, now, life)
	}
	t.ExtraExtensions = []pkix.Extension{extension}
	return a.issue(t, r.Key)
}

// IssueSession signs a certificate for a session, whose commands are limited by the authority only.
func (a *Authority) IssueSession(key crypto.PublicKey, now time.Time, life time.Duration) (Chain, error) {
	return a.issue(client(sessionName, now, life), key)
}

// sessionName is the common name of such a certificate. It says something to people only.
const sessionName = "session"

// IssueServer signs a certificate for an endpoint with these names or addresses. Without
// any, clients accept it at every host.
func (a *Authority) IssueServer(name string, key crypto.PublicKey, now time.Time, life time.Duration, hosts ...string) (Chain, error) {
	t := client(name, now, life)
	if err := addHosts(t, hosts); err != nil {
		return nil, err
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return a.issue(t, key)
}

func (a *Authority) issue(t *x509.Certificate, key crypto.PublicKey) (Chain, error) {
	above := a.Chain.Presented()
	if len(above) >= MaxChain {
		return nil, errChainTooLong
	}
	own := a.Chain[0]
	if own.NotAfter.Before(t.NotAfter) {
		t.NotAfter = own.NotAfter
	}
	if t.NotAfter.Before(t.NotBefore) {
		return nil, errExpired
	}
	cert, err := sign(t, own, key, a.key)
	if err != nil {
		return nil, err
	}
	return append(Chain{cert}, above...), nil
}

func authority(name string, now time.Time, life time.Duration) *x509.Certificate {
	t := template(name, now, life)
	t.IsCA = true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	return t
}

func client(name string, now time.Time, life time.Duration) *x509.Certificate {
	t := template(name, now, life)
	t.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return t
}

// template returns what all certificates have in common. The library adds a serial
// number.
func template(name string, now time.Time, life time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(life),
		BasicConstraintsValid: true,
	}
}

// sign signs a certificate for a public key. It encodes the name as native programs do,
// and adds the identifiers that they compute, since their roots have none.
func sign(t, issuer *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	var err error
	if t.RawSubject, err = encodeName(t.Subject.CommonName); err != nil {
		return nil, err
	}
	if t.SubjectKeyId, err = identifier(public); err != nil {
		return nil, err
	}
	if t.AuthorityKeyId, err = identifier(key.Public()); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, withIdentifier(issuer, t.AuthorityKeyId), public, key)
	if err != nil {
		return nil, fmt.Errorf("cannot sign the certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("internal error: %w", err)
	}
	return cert, nil
}

// withIdentifier returns a certificate as if it contained the identifier of its key.
func withIdentifier(cert *x509.Certificate, id []byte) *x509.Certificate {
	c := *cert
	c.SubjectKeyId = id
	return &c
}

// identifier identifies a public key by its SHA-1 (RFC 5280, 4.2.1.2, method 1). It only
// helps to find certificates; no decision depends on it.
func identifier(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("cannot use the public key: %w", err)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("internal error: %w", err)
	}
	sum := sha1.Sum(info.Key.RightAlign())
	return sum[:], nil
}
