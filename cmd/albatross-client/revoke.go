package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/durable"
	"albatross/sockets/certificate"
)

const listArgument = "CRL"

func revokeCommand(out *printer) *cobra.Command {
	var (
		days messages.Option[int]
		db   string
	)
	c := &cobra.Command{
		Use:   "revoke " + authorityArgument + " " + keyArgument + " " + listArgument + " [SERIAL|CERTIFICATE|NAME]...",
		Short: "Take back certificates that were signed with 'sign'",
		Long: `Take back certificates that were signed with 'sign' and the same CACERT and KEY. They are
added to the file CRL, which is made if it is not there, and which endpoints refuse them by.

Each is given by its serial number in hexadecimal, by the file that it is in, or, with
--db, by the name that the file DB has for it: all of that name are revoked. If none is
given, the list is made anew with what is in it.

The list is that of one authority. An endpoint takes several in one file, with the
certificates of those below its own: cat root.crl alice.crl alice.pem >crl

A list is believed for 3650 days, or as long as --days says, but no longer than CACERT is
valid. An endpoint accepts nobody by one that is older.`,
		Example: `  albatross-client revoke cacert.pem ca.key revoked.crl alice.pem
  albatross-client revoke cacert.pem ca.key revoked.crl --db=db alice`,
		Args: atLeast(authorityArgument, keyArgument, listArgument),
		RunE: func(_ *cobra.Command, args []string) error {
			authority, err := readAuthority(args[0], args[1])
			if err != nil {
				return err
			}
			serials, err := findSerials(authority, args[3:], db)
			if err != nil {
				return err
			}
			return revoke(out, authority, args[2], serials, lifetime(days, certificate.RevocationLife))
		},
	}
	c.Flags().Var(maybe("DAYS", parsePositive, &days), "days", "how long the list is believed (default 3650)")
	c.Flags().Var(one("FILE", parseFile, &db), "db", "look for names in this file, which 'sign' writes")
	return c
}

// revoke adds serial numbers to a list of revocations. It does not change a list that it
// cannot read.
func revoke(out *printer, authority *certificate.Authority, path string, serials []*big.Int, life time.Duration) error {
	unlock, err := lockDirectory(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("cannot lock the directory of %s: %w", path, err)
	}
	defer unlock()
	var old *certificate.Revocations
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if old, err = readPEM(path, certificate.ParseRevocations); err != nil {
			return err
		}
	}
	list, err := authority.Revoke(old, serials, time.Now(), life)
	if err != nil {
		return inputError(fmt.Sprintf("cannot add to %s: %s", escape(path), escape(err.Error())))
	}
	if err := durable.Replace(path, list.Encode(), 0o644); err != nil {
		return err
	}
	return out.print(fmt.Sprintf("%d certificates are revoked", list.Len()))
}

// lockDirectory prevents concurrent changes of a list, which would lose revocations. The
// list itself is replaced, and so cannot carry the lock.
func lockDirectory(path string) (unlock func(), err error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		dir.Close()
		return nil, err
	}
	return func() { dir.Close() }, nil
}

func findSerials(authority *certificate.Authority, args []string, db string) (serials []*big.Int, err error) {
	for _, arg := range args {
		var found []*big.Int
		switch _, missing := os.Stat(arg); {
		case missing == nil:
			found, err = serialIn(authority, arg)
		case db != "":
			found, err = serialsOf(db, arg)
		default:
			found, err = parseSerial(arg)
		}
		if err != nil {
			return nil, err
		}
		serials = append(serials, found...)
	}
	return serials, nil
}

// serialIn returns the serial number of the first certificate in a file, if the authority
// has signed it.
func serialIn(authority *certificate.Authority, path string) ([]*big.Int, error) {
	chain, err := readChain(path)
	if err != nil {
		return nil, err
	}
	if err := chain[0].CheckSignatureFrom(authority.Chain[0]); err != nil {
		return nil, inputError(fmt.Sprintf("the certificate in %s was not signed by this authority, and only its own can revoke it", escape(path)))
	}
	return []*big.Int{chain[0].SerialNumber}, nil
}

// serialsOf returns the serial numbers of a name in a db file.
func serialsOf(db, name string) (serials []*big.Int, err error) {
	f, err := os.Open(db)
	if err != nil {
		return nil, unreadable(db, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		serial, of, _ := strings.Cut(lines.Text(), " ")
		if of != name {
			continue
		}
		found, err := parseSerial(serial)
		if err != nil {
			return nil, err
		}
		serials = append(serials, found...)
	}
	if err := lines.Err(); err != nil {
		return nil, unreadable(db, err)
	}
	if len(serials) == 0 {
		return nil, inputError(fmt.Sprintf("%s has no certificate called '%s', and no file is called so", escape(db), escape(name)))
	}
	return serials, nil
}
