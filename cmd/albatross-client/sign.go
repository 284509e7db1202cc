package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/runtime/durable"
	"albatross/runtime/trust"
	"albatross/sockets/certificate"
)

// The arguments of commands about certificates.
const (
	authorityArgument = "CACERT"
	databaseArgument  = "DB"
	keyArgument       = "KEY"
	requestArgument   = "CSR"
)

func (a *app) signCommand() *cobra.Command {
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
			return a.sign(authority, args[1], args[3], days)
		},
	}
	c.Flags().Var(maybe("DAYS", parsePositive, &days), "days", "how long it is valid (default 365 for a policy, 1 for a command)")
	return c
}

func (a *app) sign(authority *certificate.Authority, db, path string, days messages.Option[int]) error {
	request, err := readPEM(path, certificate.ParseRequest)
	if err != nil {
		return err
	}
	if err := a.print(fmt.Sprintf("signing certificate with subject /CN=%s\nsigning %s", escape(request.Name), commandText(request.Command, a.showsArguments()))); err != nil {
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
	a.warnShorter(chain, lifetime(days, request.Life()))
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

// isPathItself reports whether endpoints take the common name of a command's certificate
// for the path of its signer.
func isPathItself(common string) bool { return common == "" || common == hereIsPath || common == ":" }

// fileName returns the file for the certificate of a request: named after its subject, or
// after the file of the request without a suffix.
func fileName(request certificate.Request, path string) string {
	if label, err := messages.ParseLabel(request.Name); err == nil && label != hereIsPath {
		return string(label)
	}
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

// keep records a certificate in the db file, and then writes it, so that every
// certificate is recorded.
func keep(chain certificate.Chain, db, name string) error {
	if err := isDatabase(db); err != nil {
		return err
	}
	line := hex.EncodeToString(chain[0].SerialNumber.Bytes()) + " " + name + "\n"
	if err := appendFile(db, line); err != nil {
		return fmt.Errorf("cannot write to %s: %w", db, err)
	}
	return durable.Replace(name+".pem", chain.Encode(), 0o644)
}

// isDatabase refuses to append to a file that is no db file, such as after swapped
// arguments.
func isDatabase(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unreadable(path, err)
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxLine)).ReadString('\n')
	if err == io.EOF && line == "" {
		return nil
	}
	serial, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if _, wrong := parseSerial(serial); err != nil || wrong != nil || name == "" {
		return inputError(fmt.Sprintf("%s is no list of serial numbers and names, and is not touched", escape(path)))
	}
	return nil
}

// maxLine is longer than a line of a db file.
const maxLine = 1 << 10

func appendFile(path, text string) error {
	f, err := trust.Append(path, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

const day = 24 * time.Hour

func lifetime(days messages.Option[int], byDefault time.Duration) time.Duration {
	if days.OK {
		return time.Duration(days.Value) * day
	}
	return byDefault
}

// warnShorter warns of a certificate with a shorter life than requested.
func (a *app) warnShorter(chain certificate.Chain, life time.Duration) {
	if until := chain[0].NotAfter; until.Before(time.Now().Add(life - time.Minute)) {
		a.message(warning, "the certificate is valid until "+timeText(until)+" only, as is the one that signs it")
	}
}

// parseFiles refuses arguments that are no files.
func parseFiles(paths map[string]string) error {
	for argument, path := range paths {
		if _, err := parseArgument(argument, parseFile, path); err != nil {
			return err
		}
	}
	return nil
}
