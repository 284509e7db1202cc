package remote

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"albatross/messages"
	"albatross/sockets/certificate"
)

// A Request is what a chain of certificates asks for.
type Request struct {
	Name     messages.Name // what the command is about
	Policies []messages.NamedPolicy
	Command  messages.Command
	Version  messages.Version // that the command is written with, and answers are
}

var (
	errNoCommand = errors.New("the certificate has no command")
	errNoLabel   = errors.New("its common name is empty")
	errSeveral   = errors.New("it has several common names")
)

// ReadChain tells what a verified chain of certificates, from the client's own to
// the root, asks for. Policies are in order from the root. Where there is an error,
// the request is as much as could be read, for the answer; its Version always is
// one that answers can be given in.
func ReadChain(chain []*x509.Certificate) (Request, error) {
	r := Request{Version: messages.CurrentVersion}
	if len(chain) < 2 {
		return r, errors.New("internal error: the chain is empty")
	}
	leaf, above := chain[0], chain[1:len(chain)-1]
	if err := r.descendAll(above); err != nil {
		return r, err
	}
	if err := r.readLeaf(leaf); err != nil {
		return r, err
	}
	if len(above)+1 > certificate.MaxChain {
		return r, fmt.Errorf("the chain has %d certificates, and at most %d are allowed", len(above)+1, certificate.MaxChain)
	}
	return r, nil
}

// Delegated is what the certificates between a client's own and the root, in this
// order, delegate: the path they lead to, and policies on the way there.
func Delegated(above []*x509.Certificate) (messages.Path, []messages.NamedPolicy, error) {
	var r Request
	err := r.descendAll(above)
	return r.Name.Path, r.Policies, err
}

// descendAll takes the steps of all certificates between a client's and the root.
func (r *Request) descendAll(above []*x509.Certificate) error {
	for i := len(above) - 1; i >= 0; i-- {
		if err := r.descend(above[i]); err != nil {
			return fmt.Errorf("cannot use the certificate of %q: %w", above[i].Subject.CommonName, err)
		}
	}
	return nil
}

// descend takes the step that a certificate between root and leaf is.
func (r *Request) descend(cert *x509.Certificate) error {
	command, _, present, err := certificate.Command(cert)
	if err != nil || !present {
		return err
	}
	add, ok := command.(messages.PolicyAdd)
	if !ok {
		return errors.New("it has another command than a policy, but others are signed with it")
	}
	common, err := commonName(cert)
	if err != nil {
		return err
	}
	if common == "" {
		return errNoLabel
	}
	label, err := messages.ParseLabel(common)
	if err != nil {
		return err
	}
	r.Name.Path = r.Name.Path.Append(label)
	r.Policies = append(r.Policies, messages.NamedPolicy{Name: messages.Name{Path: r.Name.Path}, Policy: add.Policy})
	return nil
}

// readLeaf reads the certificate of the client itself.
func (r *Request) readLeaf(leaf *x509.Certificate) error {
	command, version, present, err := certificate.Command(leaf)
	switch {
	case err != nil:
		return err
	case !present:
		return errNoCommand
	}
	r.Command, r.Version = command, version
	common, err := commonName(leaf)
	if err != nil {
		return fmt.Errorf("cannot use the certificate: %w", err)
	}
	if common != "" && common != "." && common != ":" {
		if r.Name.Label, err = messages.ParseLabel(common); err != nil {
			return fmt.Errorf("cannot use the certificate: %w: %q", err, common)
		}
	}
	return Allowed(r.Name, command)
}

// Allowed tells why a command about a name must not be in the certificate of a
// client.
func Allowed(name messages.Name, command messages.Command) error {
	c := conductOf(command)
	switch {
	case !c.Afar:
		return fmt.Errorf("%s is not allowed in a certificate", c.Word)
	case c.Named && name.IsPath():
		return fmt.Errorf("%s needs a name, and the common name of the certificate is none", c.Word)
	}
	return nil
}

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// commonName is the only one of a certificate, and empty where there is none.
func commonName(cert *x509.Certificate) (string, error) {
	n := 0
	for _, attribute := range cert.Subject.Names {
		if attribute.Type.Equal(oidCommonName) {
			n++
		}
	}
	if n > 1 {
		return "", errSeveral
	}
	return cert.Subject.CommonName, nil
}
