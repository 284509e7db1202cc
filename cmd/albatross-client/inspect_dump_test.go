package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/test/vectors"
)

// TestInspectDumpShowsWhatNativeShows: except for where lines end. Native wraps them at 80 columns.
func TestInspectDumpShowsWhatNativeShows(t *testing.T) {
	type dump struct {
		vectors.Vector
		Text vectors.Text `json:"inspect_text"`
	}
	shown := 0
	for _, v := range vectors.LoadAs[dump](t, vectors.State) {
		if v.Native != "2.7.2" || v.Text == "" || !onlyWordsAreUpper(string(v.Text)) {
			continue
		}
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "state"), v.Bytes(t), 0o600))
		var out strings.Builder
		p := newProgram(nil, &out, t.Output())
		require.Equal(t, exitSuccess, p.run(t.Context(), []string{"inspect-dump", "--dbdir=" + dir}), v.ID)
		require.Equal(t, strings.Fields(string(v.Text)), strings.Fields(out.String()), v.ID)
		shown++
	}
	require.Greater(t, shown, 40)
}

// onlyWordsAreUpper reports whether all upper case is that of native's own words: names in upper
// case are shown in lower case by ours.
func onlyWordsAreUpper(text string) bool {
	text = strings.NewReplacer("CPUids", "", "MB", "").Replace(text)
	return text == strings.ToLower(text)
}
