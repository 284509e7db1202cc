package man

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"albatross/test/programs"
)

// TestManPages makes the pages of the programs whose help is one text.
func TestManPages(t *testing.T) {
	sections := map[string]string{"albatross-tender": Commands, "albatross-keeper": Daemons, "albatross-network": Daemons}
	dir := t.TempDir()
	for name, section := range sections {
		require.NoError(t, programs.Build(dir, name))
		help, err := exec.CommandContext(t.Context(), filepath.Join(dir, name), "--help").Output()
		require.NoError(t, err)
		OfText(t, name, section, string(help))
	}
}

// TestNothingIsLostOnTheWay: the texts of a command are no Markdown.
func TestNothingIsLostOnTheWay(t *testing.T) {
	c := &cobra.Command{
		Use: "x <A_B> [C*D]...", Short: "Show `x` & <y> in *all* cases_of_it", Run: func(*cobra.Command, []string) {},
		Long:    "One \\ two_three_ [four](five) <six>\n.dot 'quote'\n\n    kept  *as* it is",
		Example: "  x --y '*' # \\z",
	}
	c.Flags().StringSlice("name_of_it", nil, "a `NAME` with * and _ twice_, and [brackets]")
	OfCommand(t, c, Commands)
}
