package certificate

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"albatross/messages"
	"albatross/sockets/wire"
)

// OID identifies the extension that holds a command.
var OID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 49836, 42}

var errSeveral = errors.New("the certificate has several extensions with a command")

// Extension returns the extension for a command. It is not critical: whoever does not
// know it may ignore it.
func Extension(command messages.Command) (pkix.Extension, error) {
	value, err := wire.AppendExtension(nil, command)
	if err != nil {
		return pkix.Extension{}, err
	}
	return pkix.Extension{Id: OID, Value: value}, nil
}

// Command returns the command in a certificate, if there is one, and the version of its
// encoding. The caller must check that the extension is not critical, and who has signed
// the certificate.
func Command(cert *x509.Certificate) (command messages.Command, version messages.Version, present bool, err error) {
	return commandIn(cert.Extensions)
}

func commandIn(extensions []pkix.Extension) (command messages.Command, version messages.Version, present bool, err error) {
	for _, e := range extensions {
		if !e.Id.Equal(OID) {
			continue
		}
		if present {
			return nil, 0, true, errSeveral
		}
		present = true
		x, err := wire.DecodeExtension(e.Value)
		if err != nil {
			return nil, 0, true, fmt.Errorf("cannot read the command in the certificate: %w", err)
		}
		command, version = x.Command, x.Version
	}
	return command, version, present, nil
}
