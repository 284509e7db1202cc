package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/certificate"
)

func (a *app) generateCommand() *cobra.Command {
	var days, serverDays messages.Option[int]
	server := "server"
	c := &cobra.Command{
		Use:   "generate NAME " + databaseArgument,
		Short: "Make a certificate authority, and the certificate of an endpoint",
		Long: `Make a certificate authority, whose private key goes to NAME.key and whose certificate goes
to cacert.pem, and the certificate of an endpoint, in server.key and server.pem. Private
keys that are there already are used again, and certificates are renewed where they are
of the same authority; those of another one are not touched. The serial number of the endpoint's
certificate is added to the file DB.

An endpoint is started with cacert.pem, server.pem and server.key. NAME.key is needed to
sign only, and better kept where nobody else gets it.`,
		Args: positional("NAME", databaseArgument),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.generate(args[0], args[1], server, lifetime(days, certificate.RootLife), lifetime(serverDays, certificate.ServerLife))
		},
	}
	c.Flags().Var(maybe("DAYS", parsePositive, &days), "days", "how long the authority is valid (default 3650)")
	c.Flags().Var(one("NAME", parseText, &server), "server", "the name of the endpoint, and of its files")
	c.Flags().Var(maybe("DAYS", parsePositive, &serverDays), "server-days", "how long the endpoint's certificate is valid (default 365)")
	return c
}

const authorityFile = "cacert.pem"

func (a *app) generate(name, db, server string, life, serverLife time.Duration) error {
	for _, n := range []string{name, server} {
		if n == "" || n == hereIsPath || n == ".." || n != filepath.Base(n) {
			return usageError(fmt.Sprintf("'%s' cannot be the name of a file", escape(n)))
		}
	}
	if name == server {
		return usageError("the authority and the endpoint must not have the same name, and so the same private key")
	}
	if err := mayGenerate(name+".key", server+".pem"); err != nil {
		return err
	}
	if err := isDatabase(db); err != nil {
		return err
	}
	key, err := a.ownKey(name + ".key")
	if err != nil {
		return err
	}
	now := time.Now()
	root, err := certificate.NewRoot(name, key, now, life)
	if err != nil {
		return err
	}
	if err := replaceFile(authorityFile, root.Chain.Encode(), 0o644); err != nil {
		return err
	}
	serverKey, err := a.ownKey(server + ".key")
	if err != nil {
		return err
	}
	chain, err := root.IssueServer(server, serverKey.Public(), now, serverLife)
	if err != nil {
		return err
	}
	a.tellShorter(chain, serverLife)
	return keep(chain, db, server)
}

// mayGenerate refuses to replace the certificate of another authority, or one that it
// has signed. A certificate of the same one is renewed: it has the same private key.
func mayGenerate(keyPath, server string) error {
	old, err := existing(authorityFile, readChain)
	if err != nil || old == nil {
		return errors.Join(err, noneIn(server))
	}
	key, err := existing(keyPath, readKey)
	if err != nil {
		return err
	}
	if key == nil || !certificate.Matches(old[0], key) {
		return inputError(fmt.Sprintf("%s is there, and belongs to another authority than %s: use another directory, "+
			"or move away what is there with all that it has signed", authorityFile, escape(keyPath)))
	}
	signed, err := existing(server, readChain)
	if err != nil || signed == nil {
		return err
	}
	if _, _, command, _ := certificate.Command(signed[0]); command || signed[0].IsCA || signed[0].CheckSignatureFrom(old[0]) != nil {
		return otherCertificate(server)
	}
	return nil
}

// noneIn refuses a certificate that is there.
func noneIn(path string) error {
	old, err := existing(path, readChain)
	if err == nil && old != nil {
		err = otherCertificate(path)
	}
	return err
}

func otherCertificate(path string) error {
	return inputError(fmt.Sprintf("%s is there, and is another certificate than would take its place: use another directory, "+
		"or move it away", escape(path)))
}

// existing is what is in a file, and nothing where there is none.
func existing[T any](path string, read func(string) (T, error)) (v T, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	return read(path)
}
