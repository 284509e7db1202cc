package main

import (
	"crypto"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/sockets/certificate"
)

// silent returns a printer for nobody.
func silent() *printer { return newPrinter(io.Discard, io.Discard) }

func requireMode(t *testing.T, path string, mode os.FileMode) {
	stat, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, mode, stat.Mode())
}

func TestOwnKey(t *testing.T) {
	dir := t.TempDir()
	for _, kind := range certificate.KeyTypes {
		path := filepath.Join(dir, string(kind)+".key")
		made, err := ownKey(silent(), kind, path)
		require.NoError(t, err)
		requireMode(t, path, 0o600)
		again, err := ownKey(silent(), certificate.Ed25519, path)
		require.NoError(t, err)
		// Keys of RSA that are the same may differ in what crypto/rsa has computed in advance.
		same := made.(interface{ Equal(crypto.PrivateKey) bool }).Equal(again)
		require.True(t, same, "it is used again, whatever kind is asked for")
	}
	requireParts(t, dir, len(certificate.KeyTypes))
}

func requireParts(t *testing.T, dir string, files int) {
	all, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, all, files, "something half is left")
}

// TestKeysReplaceNothing, not even a link that leads nowhere.
func TestKeysReplaceNothing(t *testing.T) {
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"empty":    func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"dangling": func(path string) error { return os.Symlink(filepath.Join(dir, "elsewhere"), path) },
		"dir":      func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, make(path))
		before, err := os.Lstat(path)
		require.NoError(t, err)
		_, err = ownKey(silent(), certificate.Ed25519, path)
		require.Error(t, err, name)
		after, err := os.Lstat(path)
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after), name)
	}
	require.NoFileExists(t, filepath.Join(dir, "elsewhere"))
	requireParts(t, dir, 3)
}

func TestANewKeyIsItsOwnersOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	_, err := ownKey(silent(), certificate.Ed25519, path)
	require.NoError(t, err)
	requireMode(t, path, 0o600)
}

func TestFilesThatCannotBeWritten(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nowhere", "key")
	_, err := ownKey(silent(), certificate.Ed25519, nowhere)
	require.ErrorContains(t, err, "cannot write "+nowhere)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestErrorsAboutKeysTellNothing about the contents of the file.
func TestErrorsAboutKeysTellNothing(t *testing.T) {
	const secret = "c2VjcmV0c2VjcmV0c2VjcmV0"
	path := filepath.Join(t.TempDir(), "key")
	for _, text := range []string{
		secret,
		"-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n",
		"-----BEGIN EC PRIVATE KEY-----\n" + secret + "\n-----END EC PRIVATE KEY-----\n",
		"-----BEGIN PRIVATE KEY-----\n" + secret,
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := readKey(path)
		require.ErrorContains(t, err, "cannot use "+path)
		require.NotContains(t, err.Error(), secret[:6])
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestFilesThatAreTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, maxPEM+1))
	_, err := readChain(path)
	require.ErrorContains(t, err, "it is too large")
}

func TestDestinations(t *testing.T) {
	for given, want := range map[string]string{
		"host":                "host:1025",
		"host:1":              "host:1",
		"192.0.2.1":           "192.0.2.1:1025",
		"[2001:db8::1]:65535": "[2001:db8::1]:65535",
		"[2001:db8::1]":       "[2001:db8::1]:1025",
		"2001:db8::1":         "[2001:db8::1]:1025",
	} {
		got, err := parseDestination(given)
		require.NoError(t, err, given)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"", ":", ":1025", "host:", "host:0", "host:65536", "host:x", "host:-1"} {
		_, err := parseDestination(bad)
		require.ErrorContains(t, err, "expected HOST or HOST:PORT", bad)
	}
}

func TestSerialNumbers(t *testing.T) {
	for given, want := range map[string]string{"01": "1", "00ff": "255", "FF": "255", "a:b": "171", strings.Repeat("f", 40): ""} {
		got, err := parseSerial(given)
		require.NoError(t, err)
		if want != "" {
			require.Equal(t, want, got[0].String())
		}
	}
	for _, bad := range []string{"", "0", "-1", "+1", "xyz", " 1", "0x1", "1_0", strings.Repeat("f", 43)} {
		_, err := parseSerial(bad)
		require.Error(t, err, bad)
	}
}
