package main

import (
	"albatross/actors/ledger"
	"albatross/messages"
	"albatross/sockets/certificate"
)

// hereIsPath is the common name of a certificate whose command is about the path
// itself.
const hereIsPath = "."

// commonName returns the name of what a command is about in a certificate that says
// it. The path follows from the certificates that vouch for it.
func commonName(name messages.Name) (string, error) {
	switch {
	case name.Path != messages.Root:
		return "", inputError("non-empty path: from afar, the path is that of the certificate which signs ours; give the last label only")
	case name.IsPath():
		return hereIsPath, nil
	}
	return string(name.Label), nil
}

// mayTravel tells why an endpoint is not going to pass on a command.
func mayTravel(name messages.Name, command messages.Command) error {
	if _, ok := command.(messages.PolicyAdd); ok {
		return inputError("a policy cannot be added from afar: write it into a certificate, with --csr and 'sign', and ask with that")
	}
	if err := certificate.Allowed(name, command); err != nil {
		return inputError(err.Error() + ": from afar, it cannot be given")
	}
	return nil
}

// judge tells why a command goes beyond what the policies in a chain of
// certificates allow. The label is that of what it is about. What is there
// already is not known here: block devices, for one, are the daemon's to check.
func judge(chain certificate.Chain, label messages.Label, command messages.Command) error {
	path, policies, err := certificate.Delegated(chain.Presented())
	if err != nil {
		return inputError(escape(err.Error()))
	}
	l := ledger.New()
	for _, p := range policies {
		l.HoldPolicy(p.Name.Path, p.Policy)
	}
	name := messages.Name{Path: path, Label: label}
	switch c := command.(type) {
	case messages.PolicyAdd:
		_, err = l.ProposePolicy(path.Append(label), c.Policy)
	case messages.UnikernelCreate:
		err = l.Reserve(name, withoutBlocks(c.Config.Arguments))
	case messages.UnikernelRestart:
		if c.Args.OK {
			err = l.Reserve(name, withoutBlocks(c.Args.Value))
		}
	}
	if err != nil {
		return inputError("error while signing: " + escape(err.Error()))
	}
	return nil
}

func withoutBlocks(args messages.Arguments) messages.Arguments {
	args.Blocks = nil
	return args
}
