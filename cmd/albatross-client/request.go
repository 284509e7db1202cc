package main

import (
	"errors"
	"fmt"

	"albatross/messages"
	"albatross/runtime/durable"
	"albatross/sockets/certificate"
	"albatross/sockets/wire"
)

// errRequested ends a command that was only to write a request.
var errRequested = errors.New("a request has been written")

// writeRequest writes a request for a certificate with a command, and its private key.
func (d *daemon) writeRequest(name messages.Name, command messages.Command) error {
	common, err := requestName(name, command)
	if err != nil {
		return err
	}
	if err := fitsCertificate(command); err != nil {
		return err
	}
	file := common
	if file == hereIsPath { // which is no name for a file
		file = d.command
	}
	key, err := ownKey(d.out, d.destination.keyType, file+".key")
	if err != nil {
		return err
	}
	text, err := certificate.EncodeRequest(common, command, key)
	if err != nil {
		return err
	}
	if err := durable.Replace(file+".req", text, 0o644); err != nil {
		return err
	}
	d.out.message(info, fmt.Sprintf("%s.req is to be signed, %[1]s.key to be kept", file))
	return errRequested
}

// requestName returns the common name in a request. A policy is for the path of its name,
// below that of its signer.
func requestName(name messages.Name, command messages.Command) (string, error) {
	if _, ok := command.(messages.PolicyAdd); !ok {
		if err := mayTravel(name, command); err != nil {
			return "", err
		}
		return commonName(name)
	}
	switch labels := name.Path.Labels(); len(labels) {
	case 1:
		return string(labels[0]), nil
	case 0:
		return "", inputError("the root cannot have a policy of its own in a certificate: give a label")
	}
	return "", inputError("non-empty path: a policy in a certificate is one label below whoever signs it; give the last label only")
}

// maxCommand is the largest command in a certificate, in bytes: TLS can send 16 MB of
// certificates, and this leaves room for those that vouch for it.
const maxCommand = 1<<24 - 1<<17

func fitsCertificate(command messages.Command) error {
	value, err := wire.AppendExtension(nil, command)
	if err == nil && len(value) > maxCommand {
		err = inputError(fmt.Sprintf("an image of %d bytes does not fit into a certificate, which can hold %d;\n"+
			"with --destination it is sent behind the certificate, however large it is", len(value), maxCommand))
	}
	return err
}
