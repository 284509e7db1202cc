package certificate

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Names are compared by RFC 5280, 7.1: the type of a string does not matter, nor
// do case and the amount of white space. Programs write the same name in different
// ways: as a UTF8String (we, the native ones), or as a PrintableString (OpenSSL
// where it is told to, and authorities that former versions of ours have made).

// An attribute and an rdnSET are those of RFC 5280, 4.1.2.4, with values as they
// are written. Package asn1 takes a type for a SET by the end of its name.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

type rdnSET []attribute

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// encodeName returns the DER of a name that has a common name only, and of one
// without attributes where that is empty.
func encodeName(common string) ([]byte, error) {
	if !utf8.ValidString(common) {
		return nil, fmt.Errorf("cannot write the name %q: it is not in UTF-8", common)
	}
	name := []rdnSET{}
	if common != "" {
		name = append(name, rdnSET{{oidCommonName, utf8String(common)}})
	}
	return asn1.Marshal(name)
}

// sameName reports whether two names in DER are the same.
func sameName(a, b []byte) bool { return bytes.Equal(canonical(a), canonical(b)) }

// maxName is how long a name may be, in bytes, to be looked at more closely. Who
// connects may send 16 MB of it.
const maxName = 4096

// canonical returns the DER of a name in the form that it shares with all names
// that are the same. What is no name has no other form, nor does a very long one.
func canonical(der []byte) []byte {
	if len(der) > maxName {
		return der
	}
	var name []rdnSET
	if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
		return der
	}
	for _, rdn := range name {
		for i := range rdn {
			rdn[i].Value = canonicalValue(rdn[i].Value)
		}
	}
	form, err := asn1.Marshal(name) // which sorts the elements of a SET
	if err != nil {
		return der
	}
	return form
}

// canonicalValue returns the form that a string has in any of the types that RFC
// 5280 wants to be compared. Values of other types are the same if their bytes are.
func canonicalValue(v asn1.RawValue) asn1.RawValue {
	var text string
	if rest, err := asn1.Unmarshal(v.FullBytes, &text); err != nil || len(rest) > 0 {
		return v
	}
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String:
		return utf8String(prepare(text))
	}
	return v
}

func utf8String(text string) asn1.RawValue {
	return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(text)}
}

// prepare prepares a string to be compared without regard to case (RFC 4518, 2).
func prepare(text string) string {
	text = strings.Map(mapRune, text)
	text = norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text)))
	return strings.Join(strings.Fields(text), " ")
}

// mapRune makes white space of all that is like it, and leaves out what cannot be
// seen.
func mapRune(r rune) rune {
	switch {
	case unicode.IsSpace(r), unicode.Is(unicode.Z, r):
		return ' '
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Variation_Selector):
		return -1
	}
	return r
}

// withCanonicalNames returns a certificate whose names package x509 compares as
// RFC 5280 wants it: it compares their bytes. All else is as it was signed.
func withCanonicalNames(cert *x509.Certificate) *x509.Certificate {
	c := *cert
	c.RawSubject, c.RawIssuer = canonical(c.RawSubject), canonical(c.RawIssuer)
	return &c
}
