package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
)

// A source says where contents are, and what they are.
type source struct {
	File   string         `yaml:"file,omitempty"` // relative to the directory of the manifest
	URL    urlValue       `yaml:"url,omitempty"`
	OCI    referenceValue `yaml:"oci,omitempty"`    // in a registry; for images only
	SHA256 digestValue    `yaml:"sha256,omitempty"` // of the uncompressed contents
	runs   digestValue    // the hash of what runs, if that is one of the images in the registry
}

// check refuses a source that says nothing, or two things.
func (s source) check(what string) error {
	switch {
	case len(s.places()) > 1:
		return inputError(fmt.Sprintf("%s has %s: give one of them", what, strings.Join(s.places(), " and ")))
	case s.URL != "" && s.SHA256 == "":
		return inputError(what + " has a url, and no sha256 to check it by")
	case len(s.places()) == 0 && s.SHA256 == "":
		return inputError(what + " has neither file, url, oci nor sha256")
	}
	return nil
}

// String names a source.
func (s source) String() string {
	switch {
	case s.File != "":
		return escape(s.File)
	case s.URL != "":
		return escape(string(s.URL))
	case s.OCI != "":
		return escape(string(s.OCI))
	}
	return "the image that runs"
}

// find completes a source with the hash of its file, or compares it.
func (s *source) find() error {
	if s.File == "" {
		return nil
	}
	digest, err := s.digest()
	s.SHA256 = digest
	return err
}

// digest returns the hash of the file of a source, which must be the one that it says.
func (s source) digest() (digestValue, error) {
	f, err := os.Open(s.File)
	if err != nil {
		return "", unreadable(s.File, err)
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", unreadable(s.File, err)
	}
	return digestValue(hex.EncodeToString(h.Sum(nil))), s.is(h.Sum(nil))
}

// matches returns an error for other contents than those of a source.
func (s source) matches(data []byte) error {
	sum := sha256.Sum256(data)
	return s.is(sum[:])
}

func (s source) is(sum []byte) error {
	want, _ := hex.DecodeString(string(s.SHA256)) // it was checked
	if len(want) > 0 && !bytes.Equal(want, sum) {
		return inputError(fmt.Sprintf("%s has the SHA-256 %x, and should have %x", s, sum, want))
	}
	return nil
}

// parseSource parses the address of contents.
func parseSource(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("expected a URL, such as https://builds.example.org/hello.hvt")
	}
	return u, nil
}

// shortDigest returns the beginning of a digest, for people.
func shortDigest(digest string) string { return digest[:min(12, len(digest))] }
