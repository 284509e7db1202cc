package messages

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOrigins(t *testing.T) {
	digest := strings.Repeat("0123456789abcdef", 4)
	for _, s := range []string{"oci://example.org/web@sha256:" + digest, "oci://localhost:5000/a/b:1.2@sha256:" + digest} {
		o, err := ParseOrigin(s)
		require.NoError(t, err, s)
		require.Equal(t, Origin(s), o)
	}
	for _, s := range []string{
		"", "example.org/web@sha256:" + digest, "oci://example.org/web:1", "oci://example.org/web@sha256:" + digest + "0",
		"oci://example.org/web@sha256:" + strings.ToUpper(digest), "oci://example.org/\x1b[31m@sha256:" + digest, "oci://example.org/\xff@sha256:" + digest,
		"oci://example.org/" + strings.Repeat("x", maxOrigin) + "@sha256:" + digest,
	} {
		_, err := ParseOrigin(s)
		require.Error(t, err, "%q", s)
	}
}

// TestAnOldRecordHasNoOrigin: records of daemons that knew none are read as they were.
func TestAnOldRecordHasNoOrigin(t *testing.T) {
	old, err := Encode(Spec{Arguments: Arguments{Memory: 32}})
	require.NoError(t, err)
	var spec Spec
	require.NoError(t, Decode(old, &spec))
	require.False(t, spec.Arguments.Origin.OK)
	spec.Arguments.Origin = Some(Origin("oci://x"))
	more, err := Encode(spec)
	require.NoError(t, err)
	require.Greater(t, len(more), len(old), "what has no origin is written as before")
}
