package main

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"albatross/runtime/durable"
	"albatross/sockets/certificate"
)

// maxPEM bounds files of certificates and keys. They are small; those with an image have
// 16 MB.
const maxPEM = 64 << 20

// readPEM reads a file and parses it.
func readPEM[T any](path string, parse func([]byte) (T, error)) (v T, err error) {
	data, err := readLimited(path)
	if err != nil {
		return v, unreadable(path, err)
	}
	if v, err = parse(data); err != nil {
		return v, inputError(fmt.Sprintf("cannot use %s: %s", escape(path), escape(err.Error())))
	}
	return v, nil
}

var errTooLarge = errors.New("it is too large")

func readLimited(path string) ([]byte, error) {
	if stat, err := os.Stat(path); err == nil && stat.Size() > maxPEM {
		return nil, errTooLarge
	}
	return os.ReadFile(path)
}

func readChain(path string) (certificate.Chain, error) { return readPEM(path, certificate.ParseChain) }

func readKey(path string) (crypto.Signer, error) {
	if err := certificate.CheckPrivate(path); err != nil {
		return nil, inputError(escape(err.Error()))
	}
	return readPEM(path, certificate.ParseKey)
}

// readAuthority reads the certificates and the key of an authority.
func readAuthority(chainPath, keyPath string) (*certificate.Authority, error) {
	chain, err := readChain(chainPath)
	if err != nil {
		return nil, err
	}
	key, err := readKey(keyPath)
	if err != nil {
		return nil, err
	}
	authority, err := certificate.NewAuthority(chain, key)
	if err != nil {
		return nil, inputError(fmt.Sprintf("cannot sign with %s and %s: %s", escape(chainPath), escape(keyPath), escape(err.Error())))
	}
	return authority, nil
}

// ownKey returns the private key in a file, and creates one of a kind if necessary. It keeps an
// existing key, whose certificates would be lost with it.
func ownKey(out *printer, kind certificate.KeyType, path string) (crypto.Signer, error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		out.message(info, "using the private key that is in "+path)
		return readKey(path)
	}
	key, err := kind.Generate()
	if err != nil {
		return nil, err
	}
	text, err := certificate.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	return key, durable.Create(path, text, 0o600) // only its owner may read it
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
