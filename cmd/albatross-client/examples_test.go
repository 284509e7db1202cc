package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// shellOperator separates the commands of a line of a shell, and what these read and write.
var shellOperator = regexp.MustCompile(`&&|[|;&<>]`)

// exampleFiles are the files in examples that must exist.
var exampleFiles = []string{"db", "images"}

// TestExamples: the examples in the help are understood, and one at least is of the command itself.
func TestExamples(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range exampleFiles {
		require.NoError(t, os.WriteFile(name, nil, 0o600))
	}
	shown := 0
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		own := c.Example == ""
		for line := range strings.Lines(c.Example) {
			for _, part := range shellOperator.Split(line, -1) {
				words := strings.Fields(part)
				if len(words) == 0 || words[0] != "albatross-client" {
					continue
				}
				shown++
				own = understood(t, words[1:]) == c.CommandPath() || own
			}
		}
		require.True(t, own, "%s: the examples are of other commands", c.CommandPath())
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newProgram(nil, nil, nil).root())
	require.Greater(t, shown, 30)
}

// understood returns the command that is meant.
func understood(t *testing.T, words []string) string {
	root := newProgram(nil, nil, nil).root() // options keep their values
	c, args, err := root.Find(words)
	require.NoError(t, err, "%q", words)
	require.NoError(t, c.ParseFlags(args), "%q", words)
	require.NoError(t, c.ValidateArgs(c.Flags().Args()), "%q", words)
	require.NoError(t, c.ValidateRequiredFlags(), "%q", words)
	return c.CommandPath()
}
