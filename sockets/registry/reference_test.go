package registry

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var zeros = "sha256:" + strings.Repeat("0", 64)

func TestReferences(t *testing.T) {
	for text, want := range map[string]Reference{
		"oci://example.org/web":               {"example.org", "web", "latest", ""},
		"oci://example.org:5000/a/b:1.2":      {"example.org:5000", "a/b", "1.2", ""},
		"oci://localhost/web@" + zeros:        {"localhost", "web", "", zeros},
		"oci://[::1]:5000/web:1@" + zeros:     {"[::1]:5000", "web", "1", zeros},
		"oci://127.0.0.1:5000/web:sha256-abc": {"127.0.0.1:5000", "web", "sha256-abc", ""},
	} {
		r, err := ParseReference(text)
		require.NoError(t, err, text)
		require.Equal(t, want, r)
		again, err := ParseReference(r.String())
		require.NoError(t, err)
		require.Equal(t, r, again)
	}
	for text, want := range map[string]string{
		"example.org/web":                               "oci://REGISTRY/REPOSITORY[:TAG|@DIGEST] is expected",
		"oci://":                                        "it begins with the host of a registry",
		"oci://web":                                     "it begins with the host of a registry",
		"oci://team/web":                                "it begins with the host of a registry",
		"oci://example.org":                             "it has no repository",
		"oci://example.org/":                            "it has no repository",
		"oci://example.org/Web":                         "a repository consists of lower-case letters",
		"oci://example.org/a/../b":                      "a repository consists of",
		"oci://example.org/web:":                        "its tag is empty",
		"oci://example.org/web:a b":                     "a tag consists of",
		"oci://example.org/web@":                        "its digest is empty",
		"oci://example.org/web@sha256:abc":              "a digest is sha256: and 64 hexadecimal digits",
		"oci://example.org/web@" + zeros[1:]:            "a digest is sha256:",
		"oci://user@example.org/web":                    "it begins with the host",
		"oci://exa mple.org/web":                        "its host is no host",
		"oci://example.org/" + strings.Repeat("a", 400): "it is too long",
		"oci://example.org/web\x1b[31m":                 "a repository consists of",
	} {
		_, err := ParseReference(text)
		require.ErrorContains(t, err, want, text)
	}
	for _, text := range []string{"oci://example.org", "oci://example.org/web"} {
		r, err := ParsePlace(text)
		require.NoError(t, err)
		require.Equal(t, text, r.String())
	}
	_, err := ParsePlace("oci://example.org/web:1")
	require.ErrorContains(t, err, "give it without a tag or digest")
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "x.localhost:1": true, "127.0.0.1": true, "127.9.9.9:80": true, "[::1]:5000": true, "::1": true,
		"localhost.example.org": false, "10.0.0.1": false, "example.org:5000": false, "127.0.0.1.example.org": false, "[fe80::1]:80": false,
	} {
		require.Equal(t, want, isLoopback(hostname(host)), host)
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("oci://example.org:5000/a/b:1@" + zeros)
	f.Add("oci://[::1]/x")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseReference(text)
		if err != nil {
			return
		}
		again, err := ParseReference(r.String())
		require.NoError(t, err, r.String())
		require.Equal(t, r, again)
	})
}
