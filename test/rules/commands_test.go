package rules

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// clientFiles are the parsed files of the client, by their names.
func clientFiles(t *testing.T) (map[string]*ast.File, *token.FileSet) {
	paths, err := filepath.Glob("../../cmd/albatross-client/*.go")
	require.NoError(t, err)
	files, set := map[string]*ast.File{}, token.NewFileSet()
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files[filepath.Base(path)] = file
	}
	return files, set
}

// constructor returns the name of the function that makes the command of a file: addPolicyCommand for
// add_policy.go.
func constructor(file string) string {
	words := strings.Split(strings.TrimSuffix(file, ".go"), "_")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "") + "Command"
}

// commands returns the functions of a file that make a command.
func commands(file *ast.File) (names []string) {
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !strings.HasSuffix(f.Name.Name, "Command") || f.Type.Results == nil {
			continue
		}
		if star, ok := f.Type.Results.List[0].Type.(*ast.StarExpr); ok {
			if made, ok := star.X.(*ast.SelectorExpr); ok && made.Sel.Name == "Command" {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}

// nothingImported lets only what the package itself declares be looked up.
type nothingImported struct{}

func (nothingImported) Import(string) (*types.Package, error) { return nil, errors.New("not needed") }

// uses returns which identifiers of a package mean what, as far as it declares that.
func uses(files map[string]*ast.File, set *token.FileSet) map[*ast.Ident]types.Object {
	list := slices.Collect(maps.Values(files))
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: nothingImported{}, Error: func(error) {}} // such as about what is imported
	_, _ = config.Check("client", set, list, &info)
	return info.Uses
}

// TestCommandsStandAlone: each command of the client is in a file of its name. Nothing in that is used
// elsewhere, except the command itself, and the rest by files whose names begin with that of the command.
func TestCommandsStandAlone(t *testing.T) {
	files, set := clientFiles(t)
	made := 0
	for name, file := range files {
		if list := commands(file); len(list) > 0 {
			require.Equal(t, []string{constructor(name)}, list, "the commands in %s", name)
			made++
		}
	}
	require.Greater(t, made, 40)
	across := 0
	for ident, object := range uses(files, set) {
		if !object.Pos().IsValid() { // a word of the language
			continue
		}
		by, of := filepath.Base(set.Position(ident.Pos()).Filename), filepath.Base(set.Position(object.Pos()).Filename)
		if by == of {
			continue
		}
		across++
		if len(commands(files[of])) > 0 && !strings.HasPrefix(by, strings.TrimSuffix(of, ".go")+"_") {
			require.Equal(t, constructor(of), object.Name(), "%s uses what is in %s", by, of)
		}
	}
	require.Greater(t, across, 1000)
}
