package certificate

import (
	"crypto/x509"
	"errors"
	"fmt"

	"albatross/messages"
)

var (
	errNoLabel      = errors.New("its common name is empty")
	errSeveralNames = errors.New("it has several common names")
)

// Delegated returns what the certificates between a client's own and the root, in this
// order, delegate: the path to which they lead, and the policies on the way, from the
// root on. With an error it returns as much as it could read.
func Delegated(above []*x509.Certificate) (path messages.Path, policies []messages.NamedPolicy, err error) {
	for i := len(above) - 1; i >= 0; i-- {
		label, policy, err := step(above[i])
		switch {
		case err != nil:
			return path, policies, fmt.Errorf("cannot use the certificate of %q: %w", above[i].Subject.CommonName, err)
		case policy.OK:
			path = path.Append(label)
			policies = append(policies, messages.NamedPolicy{Name: messages.Name{Path: path}, Policy: policy.Value})
		}
	}
	return path, policies, nil
}

// step returns the label that a certificate between root and leaf adds to the path, and
// its policy. A certificate without a command adds none.
func step(cert *x509.Certificate) (label messages.Label, policy messages.Option[messages.Policy], err error) {
	command, _, present, err := Command(cert)
	if err != nil || !present {
		return label, policy, err
	}
	add, ok := command.(messages.PolicyAdd)
	if !ok {
		return label, policy, errors.New("it has another command than a policy, but others are signed with it")
	}
	common, err := CommonName(cert)
	if err != nil {
		return label, policy, err
	}
	if common == "" {
		return label, policy, errNoLabel
	}
	label, err = messages.ParseLabel(common)
	return label, messages.Some(add.Policy), err
}

// Allowed returns why the certificate of a client must not contain a command about a
// name.
func Allowed(name messages.Name, command messages.Command) error {
	c, _ := messages.PropertiesOf(command)
	switch {
	case !c.Remote:
		return fmt.Errorf("%s is not allowed in a certificate", c.Word)
	case c.Named && name.IsPath():
		return fmt.Errorf("%s needs a name, and the common name of the certificate is none", c.Word)
	}
	return nil
}

var (
	errHasCommand = errors.New("the certificate has a command, and is good for that only")
	errNotClient  = errors.New("the certificate does not say that it is for a client, and for nothing else")
)

// ForSession returns why the certificate of a client must not be used for a session.
func ForSession(leaf *x509.Certificate) error {
	_, _, present, err := Command(leaf)
	switch {
	case err != nil:
		return err
	case present:
		return errHasCommand
	case len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || len(leaf.UnknownExtKeyUsage) > 0:
		return errNotClient
	}
	return nil
}

// CommonName returns the only common name of a certificate; empty: there is none.
func CommonName(cert *x509.Certificate) (string, error) {
	n := 0
	for _, attribute := range cert.Subject.Names {
		if attribute.Type.Equal(oidCommonName) {
			n++
		}
	}
	if n > 1 {
		return "", errSeveralNames
	}
	return cert.Subject.CommonName, nil
}
