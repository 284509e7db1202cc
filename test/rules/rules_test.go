// Package rules checks the rules of the tree as a whole: which room may import which, and which
// parts of libraries must not be used.
package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "albatross/"

// mayImport are the rooms that each room may import besides itself, except in tests. A room that is
// not a key may import all.
var mayImport = map[string][]string{
	"messages": {},
	"runtime":  {"messages"},
	"sockets":  {"messages"},
	"actors":   {"messages", "runtime"},
}

// actorMayImport are the packages of the same room that each package of actors may import. No actor
// imports another one, except the host, which makes its children.
var actorMayImport = map[string][]string{
	"actors":           {"events", "host", "meter", "session", "store", "supervise"},
	"actors/block":     {"supervise"},
	"actors/console":   {"supervise"},
	"actors/events":    {"supervise"},
	"actors/host":      {"block", "console", "ledger", "meter", "network", "stats", "supervise", "unikernel"},
	"actors/ledger":    {},
	"actors/meter":     {"supervise"},
	"actors/network":   {"supervise"},
	"actors/session":   {"meter", "supervise"},
	"actors/stats":     {"supervise"},
	"actors/store":     {"meter", "supervise"},
	"actors/supervise": {},
	"actors/unikernel": {"meter", "supervise"},
}

// forbidden are identifiers of protoactor-go that race, spin or lose messages
// in the version that is used.
var forbidden = map[string]string{
	"SetReceiveTimeout":             "it races; use supervise.Context.After",
	"CancelReceiveTimeout":          "see SetReceiveTimeout",
	"BoundedDropping":               "it uses up a CPU; mailboxes are those of supervise",
	"Bounded":                       "it spins; mailboxes are those of supervise",
	"Stash":                         "it is replayed at a restart only; keep a slice",
	"WithDefaultPrometheusProvider": "it opens a port to everybody",
	"ReenterAfter":                  "it outlives the incarnation; use a request and an answer",
	"RequestFuture":                 "a caller that waits for it blocks",
	"PipeTo":                        "it skips the incarnation",
}

// source is one file of the tree.
type source struct {
	path string // relative to the root, with slashes
	file *ast.File
	set  *token.FileSet
}

func sources(t *testing.T) (list []source) {
	root := filepath.Join("..", "..")
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		rel, _ := filepath.Rel(root, path)
		list = append(list, source{filepath.ToSlash(rel), file, set})
		return err
	}))
	require.NotEmpty(t, list)
	return list
}

// room returns the first directory of a path.
func room(path string) string {
	r, _, _ := strings.Cut(path, "/")
	return r
}

func TestRoomsKnowOnlyWhatIsBelow(t *testing.T) {
	for _, s := range sources(t) {
		allowed, limited := mayImport[room(s.path)]
		if !limited {
			continue
		}
		for _, i := range s.file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			inner, ours := strings.CutPrefix(path, module)
			if ours && room(inner) != room(s.path) {
				require.Contains(t, allowed, room(inner), "%s imports %s", s.path, path)
			}
		}
	}
}

func TestNoActorReachesIntoAnother(t *testing.T) {
	for _, s := range sources(t) {
		if room(s.path) != "actors" {
			continue
		}
		allowed, known := actorMayImport[path.Dir(s.path)]
		require.True(t, known, "%s: say in actorMayImport what it may know", path.Dir(s.path))
		for _, i := range s.file.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			if inner, ours := strings.CutPrefix(imported, module+"actors/"); ours {
				require.Contains(t, allowed, inner, "%s imports %s", s.path, imported)
			}
		}
	}
}

func TestOnlyWhatIsSafeOfProtoactorIsUsed(t *testing.T) {
	for _, s := range sources(t) {
		for _, i := range s.file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			if strings.HasPrefix(path, "github.com/asynkron/protoactor-go/") {
				require.Equal(t, "github.com/asynkron/protoactor-go/actor", path, s.path)
				require.Equal(t, "actors", room(s.path), "%s knows actors", s.path)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				why, bad := forbidden[sel.Sel.Name]
				require.False(t, bad, "%s uses %s: %s", s.set.Position(sel.Pos()), sel.Sel.Name, why)
			}
			return true
		})
	}
}

// TestProtoactorIsKnownInOneRoom: all other packages use supervise.Context, and of protoactor only
// the addresses of actors.
func TestProtoactorIsKnownInOneRoom(t *testing.T) {
	for _, s := range sources(t) {
		if strings.HasPrefix(s.path, "actors/supervise/") {
			continue
		}
		for _, sel := range selectedFrom(s, "github.com/asynkron/protoactor-go/actor") {
			require.Equal(t, "PID", sel.Sel.Name, "%s uses protoactor", s.set.Position(sel.Pos()))
		}
	}
}

// selectedFrom returns the uses of a package in a file.
func selectedFrom(s source, path string) (uses []*ast.SelectorExpr) {
	for _, i := range s.file.Imports {
		if i.Path.Value != strconv.Quote(path) {
			continue
		}
		name := filepath.Base(path)
		if i.Name != nil {
			name = i.Name.Name
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && isNamed(sel.X, name) {
				uses = append(uses, sel)
			}
			return true
		})
	}
	return uses
}

func isNamed(x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name
}

func TestEveryPackageTellsWhatItOwns(t *testing.T) {
	docs := map[string]bool{}
	for _, s := range sources(t) {
		dir := filepath.Dir(s.path)
		docs[dir] = docs[dir] || s.file.Doc != nil
	}
	for dir, has := range docs {
		require.True(t, has, "package %s has no doc", dir)
	}
}

// TestPublicTextIsReduced: no code converts a string to messages.Public, except package messages,
// and packages that decode the texts of others. Constants may be converted.
func TestPublicTextIsReduced(t *testing.T) {
	for _, s := range sources(t) {
		if strings.HasSuffix(s.path, "_test.go") || strings.HasPrefix(s.path, "sockets/wire/") || strings.HasPrefix(s.path, "sockets/control/") || strings.HasPrefix(s.path, "test/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			fun, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || fun.Sel.Name != "Public" || !isNamed(fun.X, "messages") {
				return true
			}
			if _, constant := call.Args[0].(*ast.BasicLit); !constant {
				t.Errorf("%s converts to messages.Public: use PublicError or Publicf", s.path)
			}
			return true
		})
	}
}
