package launcher

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/confine"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"--cpus=0,2", "--", "/bin/solo5-spt", "--mem=16", "--", "image"})
	require.NoError(t, err)
	require.Equal(t, order{cpus: []int{0, 2}, argv: []string{"/bin/solo5-spt", "--mem=16", "--", "image"}}, o)
	o, err = parse([]string{"--join=/a/tasks", "--join=/b/tasks", "--cpus=1", "--", "/bin/true"})
	require.NoError(t, err)
	require.Equal(t, order{tasks: []string{"/a/tasks", "/b/tasks"}, cpus: []int{1}, argv: []string{"/bin/true"}}, o)
	o, err = parse([]string{"--join=/a/tasks", "--confine=user", "--root=/an empty,dir", "--cpus=1", "--", "/bin/true"})
	require.NoError(t, err)
	require.Equal(t, order{
		tasks: []string{"/a/tasks"}, confine: &confine.Order{User: true, Root: "/an empty,dir"}, cpus: []int{1}, argv: []string{"/bin/true"},
	}, o)
	o, err = parse([]string{"--confine", "--cpus=1", "--", "/bin/true"})
	require.NoError(t, err)
	require.Equal(t, &confine.Order{}, o.confine)
	o, err = parse([]string{"--pass=2", "--confine=user", "--void=7", "--cpus=1", "--", "/bin/true"})
	require.NoError(t, err)
	require.Equal(t, order{pass: 2, confine: &confine.Order{User: true, Void: 7}, cpus: []int{1}, argv: []string{"/bin/true"}}, o)
	o, err = parse([]string{"--cpus=", "--", "/bin/true"})
	require.NoError(t, err)
	require.Empty(t, o.cpus)
}

func TestParseRefuses(t *testing.T) {
	for _, arguments := range [][]string{
		nil,
		{"--cpus=0", "--"},
		{"--cpus=0", "/bin/true", "x"},
		{"0", "--", "/bin/true"},
		{"--cpus=0", "--join=/a/tasks", "--", "/bin/true"},
		{"--join=/a/tasks"},
		{"--confine=root", "--cpus=0", "--", "/bin/true"},
		{"--root=/x", "--cpus=0", "--", "/bin/true"},
		{"--void=5", "--cpus=0", "--", "/bin/true"},
		{"--confine", "--void=x", "--cpus=0", "--", "/bin/true"},
		{"--cpus=0,", "--", "/bin/true"},
		{"--cpus=-1", "--", "/bin/true"},
		{"--cpus=65537", "--", "/bin/true"},
		{"--cpus=x", "--", "/bin/true"},
	} {
		_, err := parse(arguments)
		require.ErrorContains(t, err, "cannot launch: ", "%q", arguments)
	}
}
