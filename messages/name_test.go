package messages_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/test/vectors"
)

// A nameVector is an operation of native albatross on a text.
type nameVector struct {
	ID      string
	Op      string
	Input   json.RawMessage
	Results map[string]struct {
		OK    json.RawMessage
		Text  string
		Error string
	}
}

// TestNameVectors: names are read as native 2.7.2 does. Its texts are those of 2.5.0 in lower case.
func TestNameVectors(t *testing.T) {
	for _, v := range vectors.LoadAs[nameVector](t, vectors.Name) {
		want := v.Results["2.7.2"]
		got, err := operate(t, v)
		if want.Error == "" {
			require.NoError(t, err, v.ID)
			require.Equal(t, want.Text, got, v.ID)
		} else if v.Op == "name_of_list" {
			require.Error(t, err, v.ID)
		} else {
			require.EqualError(t, err, want.Error, v.ID)
		}
	}
}

// operate carries out the operation of the vector, and returns the text of the result.
func operate(t *testing.T, v nameVector) (string, error) {
	if v.Op == "name_of_list" {
		return nameOfList(t, v)
	}
	var text vectors.Text
	require.NoError(t, json.Unmarshal(v.Input, &text))
	switch v.Op {
	case "name_of_string":
		n, err := messages.ParseName(string(text))
		return n.String(), err
	case "path_of_string":
		p, err := messages.ParsePath(string(text))
		return p.String(), err
	case "label_of_string":
		l, err := messages.ParseLabel(string(text))
		return string(l), err
	case "append_label_to_path_a_b":
		l, err := messages.ParseLabel(string(text))
		return messages.Path("a:b").Append(l).String(), err
	}
	t.Fatalf("%s: unknown operation %s", v.ID, v.Op)
	return "", nil
}

// nameOfList makes a name of labels, the last of which is its own.
func nameOfList(t *testing.T, v nameVector) (string, error) {
	var list []string
	require.NoError(t, json.Unmarshal(v.Input, &list))
	var n messages.Name
	for _, s := range list {
		l, err := messages.ParseLabel(s)
		if err != nil {
			return "", err
		}
		if n.Label != "" {
			n.Path = n.Path.Append(n.Label)
		}
		n.Label = l
	}
	if n.IsPath() {
		return "", errors.New("empty name")
	}
	return n.String(), nil
}

func parse(t testing.TB, s string) messages.Name {
	n, err := messages.ParseName(s)
	require.NoError(t, err, s)
	return n
}

// TestCompare: listings show a node before what is below it, and the labels
// below one node in descending order.
func TestCompare(t *testing.T) {
	want := []string{":", "z:", ":z", "m:", "m:z", "m:n", "m:n:o", ":b", "a:", ":a", "a:b:c", ":0", ":."}
	names := make([]messages.Name, len(want))
	for i, s := range want {
		names[len(want)-1-i] = parse(t, s)
	}
	slices.SortFunc(names, messages.Name.Compare)
	for i, n := range names {
		require.Equal(t, want[i], n.String())
	}
	a, b := messages.Name{Path: "a:b:c", Label: "x"}, messages.Name{Path: "a:b:c", Label: "y"}
	require.Zero(t, testing.AllocsPerRun(10, func() { a.Compare(b) }))
}

func TestRelative(t *testing.T) {
	for _, c := range []struct {
		asked, name string
		want        string // "" if the path does not cover the name
	}{
		{":", ":hello", ":hello"},
		{":", "a:b:hello", "a:b:hello"},
		{":", ":", ":"},
		{"a:", "a:b:hello", "b:hello"},
		{"a:", "a:hello", ":hello"},
		{"a:", "a:", ":"},
		{"a:", ":a", ""},
		{"a:", ":", ""},
		{"a:", "ab:hello", ""},
		{"a:b:", "a:b:c:d", "c:d"},
		{"a:b:", "a:b", ""},
		{"a:b", "a:b", "a:b"},
		{"a:b", "a:b:", ""},
		{"a:b", "a:b:c", ""},
		{":b", "a:b", ""},
	} {
		asked, name := parse(t, c.asked), parse(t, c.name)
		require.Equal(t, c.want != "", asked.Covers(name), "%s covers %s", c.asked, c.name)
		if c.want != "" {
			require.Equal(t, c.want, asked.Relative(name).String(), "%s from %s", c.name, c.asked)
		}
	}
}

func TestParent(t *testing.T) {
	require.Equal(t, messages.Path("a"), messages.Path("a:b").Parent())
	require.Equal(t, messages.Root, messages.Path("a").Parent())
	require.Equal(t, messages.Root, messages.Root.Parent())
}

// anyName draws any name.
func anyName() *rapid.Generator[messages.Name] {
	label := rapid.StringMatching(`[a-zA-Z0-9.][a-zA-Z0-9.-]{0,62}`)
	return rapid.Custom(func(t *rapid.T) messages.Name {
		text := ":" + strings.Join(rapid.SliceOfN(label, 0, 4).Draw(t, "labels"), ":")
		if rapid.Bool().Draw(t, "is path") && text != ":" {
			text += ":"
		}
		n, err := messages.ParseName(text)
		require.NoError(t, err)
		return n
	})
}

// TestNameText: the text of a name is read as the same name.
func TestNameText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := anyName().Draw(t, "name")
		again, err := messages.ParseName(n.String())
		require.NoError(t, err)
		require.Equal(t, n, again)
		require.Equal(t, strings.ToLower(n.String()), n.String())
	})
}

// TestNameOrder: Compare is a total order in which only equals are equal.
func TestNameOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(anyName(), 3, 3).Draw(t, "names")
		a, b, c := names[0], names[1], names[2]
		require.Equal(t, a == b, a.Compare(b) == 0)
		require.Equal(t, a.Compare(b) < 0, b.Compare(a) > 0)
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 {
			require.LessOrEqual(t, a.Compare(c), 0)
		}
	})
}

// TestNameRelative: a relative name, put below the path that it is relative to, is the name itself,
// and the path covers it.
func TestNameRelative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		below := anyName().Draw(t, "below")
		path := messages.Name{Path: anyName().Draw(t, "path").Path}
		whole := messages.Name{Path: path.Path, Label: below.Label}
		for _, l := range below.Path.Labels() {
			whole.Path = whole.Path.Append(l)
		}
		require.True(t, path.Covers(whole))
		require.Equal(t, below, path.Relative(whole))
	})
}

func FuzzName(f *testing.F) {
	for _, v := range vectors.LoadAs[nameVector](f, vectors.Name) {
		var text vectors.Text
		if json.Unmarshal(v.Input, &text) == nil {
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := messages.ParseName(s)
		if err != nil {
			require.Zero(t, n)
			return
		}
		again, err := messages.ParseName(n.String())
		require.NoError(t, err)
		require.Equal(t, n, again)
		for _, l := range append(n.Path.Labels(), n.Label) {
			if l != "" {
				checked, err := messages.ParseLabel(string(l))
				require.NoError(t, err)
				require.Equal(t, l, checked)
			}
		}
		require.Equal(t, strings.Trim(strings.ToLower(s), ":"), strings.Trim(n.String(), ":"))
	})
}
