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

// Names are compared by RFC 5280, 7.1, which ignores the type of a string, case and the
// amount of white space. Programs encode the same name in different ways: as a UTF8String
// (we, the native ones), or as a PrintableString (OpenSSL on request, and older versions
// of ours).

// An attribute and an rdnSET are those of RFC 5280, 4.1.2.4, with values as they are
// encoded. Package asn1 recognises a SET by the end of the type's name.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

type rdnSET []attribute

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// encodeName returns the DER of a name with a common name only; if that is empty, without
// attributes.
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

// sameName reports whether two names in DER are equal.
func sameName(a, b []byte) bool { return bytes.Equal(canonical(a), canonical(b)) }

// maxName is the longest name, in bytes, that is compared in this way. A client may send
// 16 MB of it.
const maxName = 4096

// canonical returns the DER of the form that all equal names share. It returns an invalid
// or very long name as it is.
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

// canonicalValue returns the common form of a string of any type that RFC 5280 compares.
// Values of other types are equal if their bytes are.
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

// prepare prepares a string for a comparison without case (RFC 4518, 2).
func prepare(text string) string {
	text = strings.Map(mapRune, text)
	text = norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text)))
	return strings.Join(strings.Fields(text), " ")
}

// mapRune maps all kinds of white space to a space, and removes invisible characters.
func mapRune(r rune) rune {
	switch {
	case unicode.IsSpace(r), unicode.Is(unicode.Z, r):
		return ' '
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Variation_Selector):
		return -1
	}
	return r
}

// withCanonicalNames returns a certificate with canonical names, since package x509
// compares names by their bytes. All else is as it was signed.
func withCanonicalNames(cert *x509.Certificate) *x509.Certificate {
	c := *cert
	c.RawSubject, c.RawIssuer = canonical(c.RawSubject), canonical(c.RawIssuer)
	return &c
}
