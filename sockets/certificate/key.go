package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// A KeyType is a kind of private key.
type KeyType string

// The kinds that can be made.
const (
	Ed25519 KeyType = "ed25519"
	RSA2048 KeyType = "rsa2048"
	RSA4096 KeyType = "rsa4096"
	P256    KeyType = "p256"
	P384    KeyType = "p384"
	P521    KeyType = "p521"
)

// KeyTypes lists them all.
var KeyTypes = []KeyType{Ed25519, RSA2048, RSA4096, P256, P384, P521}

// Errors about keys never quote what was read: it may be a secret that is not quite a
// key.
var (
	errNoKey      = errors.New("it holds no private key in PEM")
	errBadKey     = errors.New("its private key cannot be read")
	errForeignKey = errors.New("its private key is of a kind that cannot sign")
	errSealedKey  = errors.New("its private key is encrypted, which is not supported")
)

// Generate makes a private key.
func (k KeyType) Generate() (crypto.Signer, error) {
	switch k {
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case P521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	}
	return nil, fmt.Errorf("internal error: there is no key type %q", string(k))
}

const (
	typeKey     = "PRIVATE KEY"
	typeRSAKey  = "RSA PRIVATE KEY"
	typeECKey   = "EC PRIVATE KEY"
	typeSealed  = "ENCRYPTED PRIVATE KEY"
	sealedField = "DEK-Info" // of the other kinds
)

// EncodeKey returns the key as PEM (PKCS #8), as native does.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("internal error: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: typeKey, Bytes: der}), nil
}

// ParseKey parses the first private key in a PEM file: PKCS #8, PKCS #1 or SEC 1.
func ParseKey(data []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			return nil, errNoKey
		}
		var key any
		var err error
		switch block.Type {
		case typeKey:
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case typeRSAKey:
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case typeECKey:
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case typeSealed:
			return nil, errSealedKey
		default: // such as EC PARAMETERS, which openssl writes before a key
			continue
		}
		signer, ok := key.(crypto.Signer)
		switch {
		case block.Headers[sealedField] != "":
			return nil, errSealedKey
		case err != nil:
			return nil, errBadKey
		case !ok:
			return nil, errForeignKey
		}
		return signer, nil
	}
}

// Matches reports whether a certificate is for the public half of the key.
func Matches(cert *x509.Certificate, key crypto.Signer) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}
