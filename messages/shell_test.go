package messages_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestShellQuoted(t *testing.T) {
	require.Equal(t, "/var/lib/albatross", messages.ShellQuoted("/var/lib/albatross"))
	for _, path := range []string{"", "/a b", "it's", "$HOME", "`id`", "a\nb", `\`, "-*", "é"} {
		said, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "printf %s "+messages.ShellQuoted(path)).Output()
		require.NoError(t, err)
		require.Equal(t, path, string(said))
	}
}
