package messages_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestNamesOfInterfaces(t *testing.T) {
	for name, why := range map[string]string{
		"":                 "it is empty",
		"sixteen--letters": "it has more than 15 bytes",
		".":                "it is that of a directory",
		"..":               "it is that of a directory",
		"a/b":              "it contains '/' or ':'",
		"br0:1":            "it contains '/' or ':'",
		" br0":             "it contains a space or a control character",
		"br 0":             "it contains a space or a control character",
		"br0\n":            "it contains a space or a control character",
		"br0\x00":          "it contains a space or a control character",
		"br\x1b[31m":       "it contains a space or a control character",
		"br\u00a0":         "it contains a space or a control character",
		"br\u009b":         "it contains a space or a control character",
	} {
		require.ErrorContains(t, messages.CheckInterface(name), "cannot be the name of an interface: "+why, "%q", name)
	}
	long := strings.Repeat("b", 4000)
	require.EqualError(t, messages.CheckInterface(long), `"`+long[:40]+`..." cannot be the name of an interface: it has more than 15 bytes`)
	for _, name := range []string{"br0", "fifteen-letters", "brücke", "br\xff", "...", "-", "br%d", "'\"$;`", "vmmtap0"} {
		require.NoError(t, messages.CheckInterface(name), "%q", name)
	}
}
