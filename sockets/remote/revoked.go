package remote

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"albatross/sockets/certificate"
)

const (
	// maxCRL is the largest size of the file: some 400,000 certificates.
	maxCRL = 16 << 20
	// crlEvery is the interval of checks for open connections. Each new connection causes
	// a check of its own.
	crlEvery = time.Second
)

// Revocations are the revoked certificates: those on the lists (RFC 5280) in a file of
// concatenated PEM. A list counts for the certificates that its signer has signed: our
// root, or a CA below it, whose certificates up to the root must be in the file, too.
//
// The file is read again after a change. A file that cannot be read, or that contains an
// error, revokes everything; so does a list that has expired, or that was made in the
// future. Replace the file by renaming another one.
type Revocations struct {
	path string
	root *x509.Certificate
	now  func() time.Time
	log  *slog.Logger

	mu    sync.Mutex
	seen  stamp
	lists lists
	err   error // why there are none
}

// Lists are sorted by the key that has signed them.
type lists map[string][]*certificate.Revocations

// A stamp changes whenever a file does.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
	missing      bool
}

// OpenRevocations reads the file. An error in it is an error only now; later, every
// client gets it as a refusal.
func OpenRevocations(path string, root *x509.Certificate, now func() time.Time, log *slog.Logger) (*Revocations, error) {
	r := &Revocations{path: path, root: root, now: now, log: log}
	r.refresh()
	return r, r.usable()
}

var errNoRevoked = errors.New("the endpoint cannot find out which certificates are revoked, and so accepts none: its operator has to look after the list")

// check returns why a chain, from the leaf to the root, must not be used. Without
// Revocations every chain may be.
func (r *Revocations) check(chain []*x509.Certificate) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	if r.usable() != nil {
		return errNoRevoked
	}
	for i, cert := range chain[:len(chain)-1] {
		if r.lists.have(chain[i+1], cert) {
			return fmt.Errorf("the certificate of %q (serial %s) %w", cert.Subject.CommonName, cert.SerialNumber.Text(16), certificate.ErrRevoked)
		}
	}
	return nil
}

// refresh reads the file if it has changed.
func (r *Revocations) refresh() {
	now := stampOf(r.path)
	if now == r.seen {
		return
	}
	r.seen = now
	r.lists, r.err = r.load()
	if err := r.usable(); err != nil {
		r.log.Error("Cannot find out which certificates are revoked; nobody is let in", "error", err)
	} else {
		r.log.Info("The list of revoked certificates has been read", "file", r.path)
	}
}

// usable returns why the lists are not valid now. A list from the future becomes valid
// later.
func (r *Revocations) usable() error {
	if r.err != nil {
		return r.err
	}
	if err := r.lists.inTime(r.now()); err != nil {
		return fmt.Errorf("cannot use %s: %w", r.path, err)
	}
	return nil
}

func (l lists) have(signer, cert *x509.Certificate) bool {
	return slices.ContainsFunc(l[string(signer.RawSubjectPublicKeyInfo)], func(list *certificate.Revocations) bool {
		return list.Has(cert.SerialNumber)
	})
}

func (l lists) inTime(now time.Time) error {
	for _, some := range l {
		for _, list := range some {
			if err := list.InTime(now); err != nil {
				return err
			}
		}
	}
	return nil
}

func stampOf(path string) stamp {
	var s unix.Stat_t
	if unix.Stat(path, &s) != nil {
		return stamp{missing: true}
	}
	return stamp{dev: uint64(s.Dev), ino: s.Ino, size: s.Size, mtime: s.Mtim, ctime: s.Ctim}
}

func (r *Revocations) load() (lists, error) {
	contents, err := readAtMost(r.path, maxCRL)
	if err != nil {
		return nil, fmt.Errorf("cannot read the list of revoked certificates in %s: %w", r.path, err)
	}
	found, cas, err := parseLists(contents)
	if err != nil {
		return nil, fmt.Errorf("cannot read the list of revoked certificates in %s: %w", r.path, err)
	}
	signers := signersBelow(r.root, cas)
	all := lists{}
	for _, list := range found {
		signer, err := signerOf(list, signers)
		if err != nil {
			return nil, fmt.Errorf("cannot use the list of revoked certificates of %s in %s: %w", list.Issuer(), r.path, err)
		}
		key := string(signer.RawSubjectPublicKeyInfo)
		all[key] = append(all[key], list)
	}
	return all, nil
}

func readAtMost(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	contents, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(contents)) > max {
		err = fmt.Errorf("it is larger than %d bytes", max)
	}
	return contents, err
}

// parseLists parses everything in the file except for text for people.
func parseLists(contents []byte) (found []*certificate.Revocations, cas []*x509.Certificate, err error) {
	left := bytes.Count(contents, []byte("-----BEGIN "))
	for block, rest := pem.Decode(contents); block != nil; block, rest = pem.Decode(rest) {
		left--
		switch block.Type {
		case "X509 CRL":
			list, err := certificate.ParseRevocations(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			found = append(found, list)
		case "CERTIFICATE":
			ca, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			cas = append(cas, ca)
		default:
			return nil, nil, fmt.Errorf("there is a %s in it", block.Type)
		}
	}
	switch {
	case left != 0: // PEM skips what is damaged
		return nil, nil, errors.New("it is damaged")
	case len(found) == 0:
		return nil, nil, errors.New("there is none in it")
	}
	return found, cas, nil
}

// signersBelow returns the root and all CAs that it, or one of these, has signed. Expired
// ones count: their lists admit nobody.
func signersBelow(root *x509.Certificate, cas []*x509.Certificate) []*x509.Certificate {
	signers := []*x509.Certificate{root}
	for found := true; found; {
		found = false
		for i, ca := range cas {
			if ca != nil && ca.IsCA && signedByAny(ca, signers) {
				signers, cas[i], found = append(signers, ca), nil, true
			}
		}
	}
	return signers
}

func signedByAny(ca *x509.Certificate, signers []*x509.Certificate) bool {
	for _, s := range signers {
		if ca.CheckSignatureFrom(s) == nil {
			return true
		}
	}
	return false
}

var errStranger = errors.New("it is neither by our CA nor by one whose certificates, up to ours, are in the file")

func signerOf(list *certificate.Revocations, signers []*x509.Certificate) (*x509.Certificate, error) {
	err := errStranger
	for _, s := range signers {
		if !list.By(s) {
			continue
		}
		if err = list.Verify(s); err == nil {
			return s, nil
		}
	}
	return nil, err
}
