package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/runtime/durable"
	"albatross/sockets/certificate"
)

func generateCommand(out *printer, keyType *certificate.KeyType) *cobra.Command {
	var days, serverDays messages.Option[int]
	var hosts []string
	server := "server"
	c := &cobra.Command{
		Use:   "generate NAME " + databaseArgument,
		Short: "Make a certificate authority, and the certificate of an endpoint",
		Long: `Make a certificate authority, whose private key goes to NAME.key and whose certificate goes
to cacert.pem, and the certificate of an endpoint, in server.key and server.pem. Private
keys that are there already are used again, and certificates are renewed where they are
of the same authority; those of another one are not touched. The serial number of the endpoint's
certificate is added to the file DB.

With --server-host, the endpoint's certificate tells at which names and addresses it is
reached, and clients of ours take it there only. Where none is given, one that is renewed
keeps those that it has, and a --server with a dot in it, such as host.example, is one.
A certificate that tells of none is taken at any, as native ones are.

An endpoint is started with cacert.pem, server.pem and server.key. NAME.key is needed to
sign only, and better kept where nobody else gets it.`,
		Example: `  albatross-client generate ca db --server-host=host.example --server-host=192.0.2.1`,
		Args:    positional("NAME", databaseArgument),
		RunE: func(_ *cobra.Command, args []string) error {
			e := endpoint{server, hosts, lifetime(serverDays, certificate.ServerLife)}
			return generator{out, *keyType}.generate(args[0], args[1], lifetime(days, certificate.RootLife), e)
		},
	}
	c.Flags().Var(maybe("DAYS", parsePositive, &days), "days", "how long the authority is valid (default 3650)")
	c.Flags().Var(one("NAME", parseText, &server), "server", "the name of the endpoint, and of its files")
	c.Flags().Var(many("HOST", parseHost, &hosts), "server-host", "a name or address at which the endpoint is reached; may be repeated")
	c.Flags().Var(maybe("DAYS", parsePositive, &serverDays), "server-days", "how long the endpoint's certificate is valid (default 365)")
	return c
}

// parseHost reads the name or address of a host.
func parseHost(s string) (string, error) {
	host, err := certificate.ParseHost(s)
	if err != nil {
		return "", fmt.Errorf("invalid value '%s', expected the name or address of a host", escape(s))
	}
	return host, nil
}

// An endpoint gets a certificate together with an authority.
type endpoint struct {
	name  string   // also that of its files
	hosts []string // its hosts, if they are given
	life  time.Duration
}

// reached returns the hosts of an endpoint, which an existing certificate may contain.
func (e endpoint) reached() ([]string, error) {
	old, err := existing(e.name+".pem", readChain)
	switch {
	case err != nil || len(e.hosts) > 0:
		return e.hosts, err
	case old != nil:
		return kept(e.name+".pem", certificate.Hosts(old[0]))
	}
	if host, err := certificate.ParseHost(e.name); err == nil && strings.ContainsAny(host, ".:") {
		return []string{host}, nil
	}
	return nil, nil
}

// kept returns the hosts of a certificate that is renewed, if our client accepts them.
func kept(path string, hosts []string) ([]string, error) {
	for _, host := range hosts {
		if _, err := certificate.ParseHost(host); err != nil {
			return nil, inputError(fmt.Sprintf("cannot renew %s with the names that it has: %s: give others with --server-host",
				escape(path), escape(err.Error())))
		}
	}
	return hosts, nil
}

// A generator makes the certificates and keys of an authority and an endpoint.
type generator struct {
	out     *printer
	keyType certificate.KeyType // of new keys
}

func (g generator) generate(name, db string, life time.Duration, e endpoint) error {
	for _, n := range []string{name, e.name} {
		if n == "" || n == hereIsPath || n == ".." || n != filepath.Base(n) {
			return usageError(fmt.Sprintf("'%s' cannot be the name of a file", escape(n)))
		}
	}
	if name == e.name {
		return usageError("the authority and the endpoint must not have the same name, and so the same private key")
	}
	if err := mayGenerate(name+".key", e.name+".pem"); err != nil {
		return err
	}
	if err := isDatabase(db); err != nil {
		return err
	}
	hosts, err := e.reached()
	if err != nil {
		return err
	}
	e.hosts = hosts
	key, err := ownKey(g.out, g.keyType, name+".key")
	if err != nil {
		return err
	}
	root, err := certificate.NewRoot(name, key, time.Now(), life)
	if err != nil {
		return err
	}
	if err := durable.Replace(authorityFile, root.Chain.Encode(), 0o644); err != nil {
		return err
	}
	return g.generateEndpoint(root, db, e)
}

// generateEndpoint makes the certificate of an endpoint, or renews it.
func (g generator) generateEndpoint(root *certificate.Authority, db string, e endpoint) error {
	key, err := ownKey(g.out, g.keyType, e.name+".key")
	if err != nil {
		return err
	}
	chain, err := root.IssueServer(e.name, key.Public(), time.Now(), e.life, e.hosts...)
	if err != nil {
		return err
	}
	warnShorter(g.out, chain, e.life)
	g.printHosts(e.hosts)
	return keep(chain, db, e.name)
}

// printHosts says for which hosts clients accept the certificate of an endpoint.
func (g generator) printHosts(hosts []string) {
	where := "any host: --server-host restricts it"
	if len(hosts) > 0 {
		where = strings.Join(hosts, ", ")
	}
	g.out.message(info, "the certificate of the endpoint is for "+where)
}

// mayGenerate refuses to replace the certificate of another authority, or one that it has
// signed. It allows to renew a certificate with the same private key.
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

// noneIn refuses an existing certificate.
func noneIn(path string) error {
	old, err := existing(path, readChain)
	if err == nil && old != nil {
		err = otherCertificate(path)
	}
	return err
}
