package commandline

import (
	"slices"

	"github.com/spf13/cobra"
)

const (
	// maxEdits is how many letters of a word may be wrong for it to be taken for another one.
	maxEdits = 2
	// maxMeant bounds how many words are suggested.
	maxMeant = 3
)

// Meant returns the known words that a word may have been meant for: cobra compares them as it
// does commands.
func Meant(word string, known []string) []string {
	list := &cobra.Command{SuggestionsMinimumDistance: maxEdits}
	for _, k := range slices.Compact(slices.Sorted(slices.Values(known))) {
		list.AddCommand(&cobra.Command{Use: k, Run: func(*cobra.Command, []string) {}})
	}
	meant := list.SuggestionsFor(word)
	return meant[:min(len(meant), maxMeant)]
}
