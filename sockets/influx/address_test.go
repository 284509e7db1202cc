package influx

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAddresses(t *testing.T) {
	for given, want := range map[string]string{
		"192.0.2.1":          "192.0.2.1:8094",
		"192.0.2.1:1":        "192.0.2.1:1",
		"::1":                "[::1]:8094",
		"[::1]":              "[::1]:8094",
		"[::1]:1":            "[::1]:1",
		"db.example.org":     "db.example.org:8094",
		"db.example.org:123": "db.example.org:123",
	} {
		got, err := Address(given)
		require.NoError(t, err, given)
		require.Equal(t, want, got)
	}
	for _, given := range []string{"", ":", ":1", "x:", "x:1:2", "[::1", "::1]:8094:"} {
		_, err := Address(given)
		require.Error(t, err, "%q", given)
	}
}
