package crash

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/runtime/failpoint"
	"albatross/test/netns"
)

// named are the names of all failpoints in the source, in order.
func named(t *testing.T) (names []string) {
	t.Helper()
	for _, room := range []string{"actors", "cmd", "runtime", "sockets"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", "..", room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() == "testdata" {
				return fs.SkipDir
			}
			if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				names = append(names, namedIn(t, path)...)
			}
			return nil
		}))
	}
	slices.Sort(names)
	return names
}

func namedIn(t *testing.T, path string) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Here" && fmt.Sprint(sel.X) == "failpoint" {
			name, err := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			names = append(names, name)
		}
		return true
	})
	return names
}

// TestPointsAreNotInWhatIsInstalled, not even by name.
func TestPointsAreNotInWhatIsInstalled(t *testing.T) {
	for _, program := range []string{"albatrossd", "albatross-tender"} {
		code, err := os.ReadFile(filepath.Join(released, program))
		require.NoError(t, err)
		for _, name := range append(named(t), failpoint.Kill) {
			require.NotContains(t, string(code), name, program)
		}
	}
	code, err := os.ReadFile(filepath.Join(killable, "albatrossd"))
	require.NoError(t, err)
	require.Contains(t, string(code), "tap/kept", "this test looks for them in the right way")
}

func TestPointsHaveDifferentNames(t *testing.T) {
	names := named(t)
	require.GreaterOrEqual(t, len(names), 50)
	require.Equal(t, slices.Compact(slices.Clone(names)), names)
}

// A moment is when to kill: the nth time that a point is come to.
type moment struct {
	scenario int
	point    string
	nth      int
}

// TestEveryPoint kills the daemon at every point.
func TestEveryPoint(t *testing.T) {
	netns.FullBridge(t, fullBridge)
	_, all := wantedKills(t)
	sum.add(points, len(named(t)))
	moments := explore(t)
	requireAllReached(t, moments)
	if !all {
		moments = chosen(moments)
	}
	var killed sync.Map // at these points
	inParallel(t, func(t *testing.T, worker int) {
		h := workingHost(t, fmt.Sprintf("crash%d", worker))
		for i := worker; i < len(moments); i += workers {
			if h.crash(moments[i]) {
				killed.Store(moments[i].point, true)
			}
		}
		h.end()
	})
	for _, name := range named(t) {
		if _, ok := killed.Load(name); !ok && !t.Failed() {
			t.Errorf("no daemon has died at %s", name)
		}
	}
}

// fullBridge is a bridge that nothing can be attached to.
const fullBridge = "full"

func workingHost(t *testing.T, bridge string) *host {
	netns.Bridge(t, bridge)
	h := newHost(t, bridge)
	h.settleIn()
	return h
}

// explore finds all moments by letting every scenario go on to its end.
func explore(t *testing.T) (moments []moment) {
	h := workingHost(t, "crash")
	for i, s := range scenarios {
		place := h
		if s.fresh {
			place = newHost(t, "crash")
		}
		place.doing = s.name
		place.prepare(s)
		place.launch(failpoint.Log+"="+place.path("points"), s.arguments...)
		c := &caller{h: place, dead: !place.answers()}
		s.do(c)
		if !place.stopping {
			require.False(t, c.dead, "%s: the daemon has died", s.name)
			place.check()
			place.stop()
		}
		moments = append(moments, momentsOf(t, i, place.path("points"))...)
		place.start()
		place.check()
		place.restore()
		if s.fresh {
			place.end()
		}
	}
	h.end()
	return moments
}

// prepare brings a host to where a scenario begins, without a daemon.
func (h *host) prepare(s scenario) {
	if s.before != nil {
		s.before(&caller{h: h})
		h.until("all is on disk", h.allReleased)
	}
	h.kill()
	if s.offline != nil {
		s.offline(h)
	}
}

// momentsOf reads what a daemon has told, and removes it.
func momentsOf(t *testing.T, scenario int, log string) (moments []moment) {
	t.Helper()
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	require.NoError(t, os.Remove(log))
	times := map[string]int{}
	for name := range strings.Lines(string(text)) {
		name = strings.TrimSuffix(name, "\n")
		times[name]++
		moments = append(moments, moment{scenario, name, times[name]})
	}
	return moments
}

// requireAllReached: no point is in the source that no scenario comes to.
func requireAllReached(t *testing.T, moments []moment) {
	t.Helper()
	for _, name := range named(t) {
		reached := slices.ContainsFunc(moments, func(m moment) bool { return m.point == name })
		require.True(t, reached, "no scenario comes to the point %s", name)
	}
}

// learned are moments at which something has been lost once, though not at the
// first time that the point was come to.
var learned = map[moment]string{
	{scenarioOf("force-create"), "unikernel/launched", 1}: "the image of what was replaced had been removed",
}

func scenarioOf(name string) int {
	return slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
}

// committing is the point at which nothing of a change is on disk: nobody may have
// been told of it.
const committing = "database/committing"

// chosen are a few moments: one for each point, those from which something was
// learned, and all at which something is committed.
func chosen(moments []moment) (few []moment) {
	known := map[string]bool{}
	for _, m := range moments {
		if !known[m.point] || learned[m] != "" || m.point == committing {
			few = append(few, m)
		}
		known[m.point] = true
	}
	return few
}

// lateness is how long a daemon may take to come to a point when the scenario is
// over.
const lateness = 2 * time.Second

// crash plays a scenario with a daemon that dies at a moment of it, and looks at
// what the next one makes of that. Late moments may not come every time.
func (h *host) crash(m moment) (died bool) {
	s := scenarios[m.scenario]
	if s.fresh {
		fresh := newHost(h.t, h.bridge)
		defer fresh.end()
		return fresh.crashIn(s, m)
	}
	defer h.restore()
	return h.crashIn(s, m)
}

func (h *host) crashIn(s scenario, m moment) (died bool) {
	h.t.Helper()
	h.doing = fmt.Sprintf("%s, killed at %s %d", s.name, m.point, m.nth)
	h.prepare(s)
	h.launch(fmt.Sprintf("%s=%s %d", failpoint.Kill, m.point, m.nth), s.arguments...)
	c := &caller{h: h, dead: !h.answers()}
	s.do(c)
	if died = within(lateness, h.died) && !h.stopped; died {
		sum.add(atPoints, 1)
	}
	h.kill()
	h.start()
	h.check()
	return died
}
