package certificate

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"

	"albatross/messages"
)

// A Request asks for a certificate that allows a command.
type Request struct {
	Name    string // the common name, which the requester chose: any text
	Command messages.Command
	Key     crypto.PublicKey
}

var (
	errNoRequest  = errors.New("it holds no certificate request in PEM")
	errBadRequest = errors.New("its certificate request cannot be read")
	errNoCommand  = errors.New("the certificate request is for no command")
)

const typeRequest = "CERTIFICATE REQUEST"

// EncodeRequest returns the request, signed by its own key, as PEM.
func EncodeRequest(name string, command messages.Command, key crypto.Signer) ([]byte, error) {
	extension, err := Extension(command)
	if err != nil {
		return nil, err
	}
	subject, err := encodeName(name)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		RawSubject:      subject,
		ExtraExtensions: []pkix.Extension{extension},
	}, key)
	if err != nil {
		return nil, fmt.Errorf("cannot sign the certificate request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: typeRequest, Bytes: der}), nil
}

// ParseRequest parses a PEM request, and checks that its author has the key. It does not
// judge what the request asks for.
func ParseRequest(data []byte) (Request, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != typeRequest {
		return Request{}, errNoRequest
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return Request{}, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	if err := r.CheckSignature(); err != nil {
		return Request{}, fmt.Errorf("the certificate request is not signed by the key that it is for: %w", err)
	}
	command, _, present, err := commandIn(r.Extensions)
	if err != nil {
		return Request{}, err
	}
	if !present {
		return Request{}, errNoCommand
	}
	return Request{Name: r.Subject.CommonName, Command: command, Key: r.PublicKey}, nil
}
