package messages_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// TestEveryCommandHasProperties, once, and all of them are set.
func TestEveryCommandHasProperties(t *testing.T) {
	var named []string
	for _, c := range messages.AllProperties() {
		name := reflect.TypeOf(c.Command).Name()
		named = append(named, name)
		require.NotEmpty(t, c.Word, name)
		require.NotEmpty(t, c.At, name)
		require.Equal(t, metric(name), c.Metric, name)
		require.True(t, c.Remote || !c.Named, "%s is not to be compared with a common name", name)
		found, known := messages.PropertiesOf(c.Command)
		require.True(t, known, name)
		require.Equal(t, c, found)
	}
	slices.Sort(named)
	require.Equal(t, commandTypes(t), named, "each has a row in commands.go")
}

// TestWhatIsNoCommandHasNoProperties.
func TestWhatIsNoCommandHasNoProperties(t *testing.T) {
	for _, p := range []messages.Payload{nil, messages.BadRequest{}, messages.SuccessEmpty{}, messages.Failure{}, messages.DataBlock{}} {
		properties, known := messages.PropertiesOf(p)
		require.False(t, known, "%T", p)
		require.Zero(t, properties)
	}
}

// metric returns the name of a command in Prometheus. A command in an old form has the same.
func metric(name string) string {
	name = strings.Replace(name, "Old", "", 1)
	return strings.ToLower(regexp.MustCompile(`\B[A-Z]`).ReplaceAllString(name, "_$0"))
}

// commandTypes returns the types that embed what makes them commands, as the source has them,
// sorted.
func commandTypes(t *testing.T) (names []string) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			// BadRequest stands for a request that cannot be decoded.
			if s, ok := n.(*ast.TypeSpec); ok && isCommand(s) && s.Name.Name != "BadRequest" {
				names = append(names, s.Name.Name)
			}
			return true
		})
	}
	require.Greater(t, len(names), 20)
	slices.Sort(names)
	return names
}

func isCommand(s *ast.TypeSpec) bool {
	t, ok := s.Type.(*ast.StructType)
	if !ok {
		return false
	}
	return slices.ContainsFunc(t.Fields.List, func(f *ast.Field) bool {
		id, ok := f.Type.(*ast.Ident)
		return ok && len(f.Names) == 0 && id.Name == "isCommand"
	})
}
