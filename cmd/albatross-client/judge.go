package main

import (
	"albatross/actors/ledger"
	"albatross/messages"
	"albatross/sockets/certificate"
)

// hereIsPath is the common name of a certificate whose command is about the path itself.
const hereIsPath = "."

// commonName returns the common name of a certificate for a command about a name. The
// certificates that vouch for it determine the path.
func commonName(name messages.Name) (string, error) {
	switch {
	case name.Path != messages.Root:
		return "", inputError("non-empty path: from afar, the path is that of the certificate which signs ours; give the last label only")
	case name.IsPath():
		return hereIsPath, nil
	}
	return string(name.Label), nil
}

// mayTravel returns why an endpoint will not pass on a command.
func mayTravel(name messages.Name, command messages.Command) error {
	if _, ok := command.(messages.PolicyAdd); ok {
		return inputError("a policy cannot be added from afar: write it into a certificate, with --csr and 'sign', and ask with that")
	}
	if err := certificate.Allowed(name, command); err != nil {
		return inputError(err.Error() + ": from afar, it cannot be given")
	}
	return nil
}

// judgeAfar is judge for a command that an endpoint is to be given.
func (d *daemon) judgeAfar(name messages.Name, command messages.Command) error {
	authority, err := readAuthority(d.destination.ca, d.destination.caKey)
	if err != nil {
		return err
	}
	return judge(authority.Chain, name, command)
}

// judge returns why a command exceeds the policies in a chain of certificates. The name is relative
// to its path. What exists already, such as block devices and networks, is left to the daemon.
func judge(chain certificate.Chain, relative messages.Name, command messages.Command) error {
	path, policies, err := certificate.Delegated(chain.Presented())
	if err != nil {
		return inputError(escape(err.Error()))
	}
	l := ledger.New()
	for _, p := range policies {
		l.HoldPolicy(p.Name.Path, p.Policy)
	}
	name := path.InFull(relative)
	switch c := command.(type) {
	case messages.PolicyAdd:
		_, err = l.ProposePolicy(path.Append(name.Label), c.Policy)
	case messages.UnikernelCreate:
		err = l.Reserve(name, withoutOthers(c.Config.Arguments))
	case messages.UnikernelRestart:
		if c.Args.OK {
			err = l.Reserve(name, withoutOthers(c.Args.Value))
		}
	}
	if err != nil {
		return inputError("error while signing: " + escape(err.Error()))
	}
	return nil
}

// withoutOthers returns arguments without what depends on other things than policies.
func withoutOthers(args messages.Arguments) messages.Arguments {
	args.Blocks, args.Publish = nil, nil
	return args
}

// isPathItself reports whether endpoints take the common name of a command's certificate
// for the path of its signer.
func isPathItself(common string) bool { return common == "" || common == hereIsPath || common == ":" }
