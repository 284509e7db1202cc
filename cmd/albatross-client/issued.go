package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"strings"
	"time"

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

const authorityFile = "cacert.pem"

// existing returns the contents of a file, or nothing if it does not exist.
func existing[T any](path string, read func(string) (T, error)) (v T, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	return read(path)
}

func otherCertificate(path string) error {
	return inputError(fmt.Sprintf("%s is there, and is another certificate than would take its place: use another directory, "+
		"or move it away", escape(path)))
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

// parseSerial parses a serial number of the db file, or as openssl shows it.
func parseSerial(text string) ([]*big.Int, error) {
	digits := strings.ReplaceAll(text, ":", "")
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	number, err := hex.DecodeString(digits)
	serial := new(big.Int).SetBytes(number)
	if err != nil || serial.Sign() == 0 || len(number) > maxSerial {
		return nil, inputError(fmt.Sprintf("'%s' is neither a file nor a serial number in hexadecimal; a name is looked up with --db", escape(text)))
	}
	return []*big.Int{serial}, nil
}

// maxSerial is the longest serial number, in bytes: RFC 5280 allows 20, and a leading
// zero marks it as positive.
const maxSerial = 21

const day = 24 * time.Hour

func lifetime(days messages.Option[int], byDefault time.Duration) time.Duration {
	if days.OK {
		return time.Duration(days.Value) * day
	}
	return byDefault
}

// warnShorter warns of a certificate with a shorter life than requested.
func warnShorter(out *printer, chain certificate.Chain, life time.Duration) {
	if until := chain[0].NotAfter; until.Before(time.Now().Add(life - time.Minute)) {
		out.message(warning, "the certificate is valid until "+timeText(until)+" only, as is the one that signs it")
	}
}
