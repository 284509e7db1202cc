package remote

import (
	"crypto/x509"
	"errors"
	"fmt"

	"albatross/messages"
	"albatross/sockets/certificate"
)

// A Request is what a chain of certificates asks for.
type Request struct {
	Name     messages.Name // the subject of the command
	Policies []messages.NamedPolicy
	Command  messages.Command
	Version  messages.Version // of the command's encoding, and so of the answers
}

var errNoCommand = errors.New("the certificate has no command")

// ReadChain returns what a verified chain of certificates, from the client's own to the
// root, asks for. Policies are in order from the root. With an error, it returns as much
// as it could read, for the answer; the Version is always one for which answers are
// possible.
func ReadChain(chain []*x509.Certificate) (Request, error) {
	r := Request{Version: messages.CurrentVersion}
	if len(chain) < 2 {
		return r, errors.New("internal error: the chain is empty")
	}
	leaf, above := chain[0], chain[1:len(chain)-1]
	var err error
	if r.Name.Path, r.Policies, err = certificate.Delegated(above); err != nil {
		return r, err
	}
	if err := r.readLeaf(leaf); err != nil {
		return r, err
	}
	if len(above)+1 > certificate.MaxChain {
		return r, tooMany(len(above) + 1)
	}
	return r, nil
}

// ReadSession is ReadChain for a session: the name is the path to which it is confined, and there
// is no command. The certificate of the client must say that it is for a client. Without that, the
// endpoint's own would do.
func ReadSession(chain []*x509.Certificate) (Request, error) {
	r := Request{Version: messages.CurrentVersion}
	if len(chain) < 2 {
		return r, errors.New("internal error: the chain is empty")
	}
	above := chain[1 : len(chain)-1]
	var err error
	if r.Name.Path, r.Policies, err = certificate.Delegated(above); err != nil {
		return r, err
	}
	if len(above)+1 > certificate.MaxChain {
		return r, tooMany(len(above) + 1)
	}
	return r, certificate.ForSession(chain[0])
}

func tooMany(n int) error {
	return fmt.Errorf("the chain has %d certificates, and at most %d are allowed", n, certificate.MaxChain)
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
	common, err := certificate.CommonName(leaf)
	if err != nil {
		return fmt.Errorf("cannot use the certificate: %w", err)
	}
	if common != "" && common != "." && common != ":" {
		if r.Name.Label, err = messages.ParseLabel(common); err != nil {
			return fmt.Errorf("cannot use the certificate: %w: %q", err, common)
		}
	}
	return certificate.Allowed(r.Name, command)
}
