package commandline_test

import (
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"albatross/cmd/commandline"
)

func TestCheckTexts(t *testing.T) {
	for arg, refusal := range map[string]string{
		"--file=":          "option '--file' is empty: give a value, or leave it out",
		"--file=a\nb":      `option '--file' contains a control character: "a\nb"`,
		"--maybe=a\x00b":   `option '--maybe' contains a control character: "a\x00b"`,
		"--file=a b":       "",
		"--file=/tmp/\xff": "",
		"--maybe=":         "",
		"--many=":          "",
		"--number=7":       "",
	} {
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		flags.StringP("file", "f", "", "")
		flags.String("other", "", "which is not given")
		flags.String("maybe", "", "")
		flags.StringArray("many", nil, "")
		flags.Int("number", 1, "")
		require.NoError(t, flags.Parse([]string{arg}))
		err := commandline.CheckTexts(flags, "maybe")
		if refusal == "" {
			require.NoError(t, err, arg)
			continue
		}
		require.EqualError(t, err, refusal)
	}
}
