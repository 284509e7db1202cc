// Overlay prepares a build in which TLS accepts certificates up to 16 MB, the maximum of
// the protocol. A native client puts the image of a unikernel into its certificate, and
// package crypto/tls refuses more than 256 KiB of certificates by a constant.
//
// Its arguments are the root of the Go installation that builds, and a directory. There
// it writes a copy of the file with the constant, and overlay.json, for the flag -overlay
// of the go command.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "overlay: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: overlay GOROOT DIR")
	}
	dir, err := filepath.Abs(args[1])
	if err != nil {
		return err
	}
	return prepare(filepath.Join(args[0], "src", "crypto", "tls", "common.go"), dir)
}

// prepare writes both files, unless they are right already.
func prepare(original, dir string) error {
	source, err := os.ReadFile(original)
	if err != nil {
		return fmt.Errorf("cannot read the source of crypto/tls: %w", err)
	}
	raised, err := raise(source)
	if err != nil {
		return fmt.Errorf("cannot raise the limit in %s: %w", original, err)
	}
	// This name keeps other tools from taking it for a file of a package.
	replacement := filepath.Join(dir, "common.go.raised")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: replacement}})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := write(replacement, raised); err != nil {
		return err
	}
	return write(filepath.Join(dir, "overlay.json"), overlay)
}

// limit matches the constant: how many bytes of certificates are accepted.
var limit = regexp.MustCompile(`(?m)^(\s*maxHandshakeCertificateMsg\s*=\s*)\d+\b`)

// raise replaces it by the maximum length of a handshake message.
func raise(source []byte) ([]byte, error) {
	if n := len(limit.FindAll(source, -1)); n != 1 {
		return nil, fmt.Errorf("maxHandshakeCertificateMsg is there %d times instead of once; this version of Go is not known", n)
	}
	return limit.ReplaceAll(source, []byte("${1}1 << 24")), nil
}

// write replaces a file as a whole, for other builds may be reading it.
func write(path string, contents []byte) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == string(contents) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // if it has not been renamed
	_, err = f.Write(contents)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if err := os.Chmod(f.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
