package main

import (
	"fmt"
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
keys that are there already are used again. The serial number of the endpoint's
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
