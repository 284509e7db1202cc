package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/certificate"
)

func signCommand(out *printer) *cobra.Command {
	var days messages.Option[int]
	c := &cobra.Command{
		Use:   "sign " + authorityArgument + " " + databaseArgument + " " + keyArgument + " " + requestArgument,
		Short: "Sign a request that was written with --csr",
		Long: `Sign a request that was written with --csr. The certificate is written to NAME.pem, with
those behind it that vouch for it, and its serial number and name are added to the file
DB, by which it can be revoked.

A request to add a policy makes an authority that can sign others, within that policy.
Nothing is signed that goes beyond a policy in CACERT.`,
		Example: `  albatross-client add-policy alice 3 --mem=128 --csr
  albatross-client sign cacert.pem db ca.key alice.req`,
		Args: positional(authorityArgument, databaseArgument, keyArgument, requestArgument),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := parseFiles(map[string]string{authorityArgument: args[0], keyArgument: args[2], requestArgument: args[3]}); err != nil {
				return err
			}
			authority, err := readAuthority(args[0], args[2])
			if err != nil {
				return err
			}
			return sign(out, authority, args[1], args[3], days)
		},
	}
	c.Flags().Var(maybe("DAYS", parsePositive, &days), "days", "how long it is valid (default 365 for a policy, 1 for a command)")
	return c
}

func sign(out *printer, authority *certificate.Authority, db, path string, days messages.Option[int]) error {
	request, err := readPEM(path, certificate.ParseRequest)
	if err != nil {
		return err
	}
	if err := out.print(fmt.Sprintf("signing certificate with subject /CN=%s\nsigning %s", escape(request.Name), commandText(request.Command, out.showsArguments()))); err != nil {
		return err
	}
	if err := mayBeSigned(authority.Chain, request); err != nil {
		return err
	}
	if err := maySign(authority.Chain, fileName(request, path)+".pem", request); err != nil {
		return err
	}
	chain, err := authority.Issue(request, time.Now(), lifetime(days, request.Life()))
	if err != nil {
		return inputError("error while signing: " + escape(err.Error()))
	}
	warnShorter(out, chain, lifetime(days, request.Life()))
	return keep(chain, db, fileName(request, path))
}

// mayBeSigned judges a request, whose name anybody may have chosen.
func mayBeSigned(chain certificate.Chain, request certificate.Request) error {
	label, err := messages.ParseLabel(request.Name)
	_, policy := request.Command.(messages.PolicyAdd)
	switch {
	case policy && err != nil:
		return inputError(fmt.Sprintf("error while signing: '%s' is not the name of a policy: %v", escape(request.Name), err))
	case policy:
	case isPathItself(request.Name):
		label = ""
	case err != nil:
		return inputError(fmt.Sprintf("error while signing: '%s' is not a name: %v", escape(request.Name), err))
	}
	if !policy {
		if err := mayTravel(messages.Name{Label: label}, request.Command); err != nil {
			return err
		}
	}
	return judge(chain, messages.Name{Label: label}, request.Command)
}

// maySign refuses to replace a certificate unless it is an earlier one for such a
// request: the requester has chosen the name, which may be that of an authority or of an
// endpoint.
func maySign(chain certificate.Chain, path string, request certificate.Request) error {
	old, err := existing(path, readChain)
	if err != nil || old == nil {
		return err
	}
	_, _, command, _ := certificate.Command(old[0])
	if !command || old[0].Subject.CommonName != request.Name || old[0].CheckSignatureFrom(chain[0]) != nil {
		return otherCertificate(path)
	}
	return nil
}

// fileName returns the file for the certificate of a request: named after its subject, or
// after the file of the request without a suffix.
func fileName(request certificate.Request, path string) string {
	if label, err := messages.ParseLabel(request.Name); err == nil && label != hereIsPath {
		return string(label)
	}
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}
