package chaos

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
	for _, program := range []string{"albatrossd", "albatross-tender", "albatross-keeper", "albatross-network"} {
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

// ofKeeper tells whether a point is in the keeper alone.
func ofKeeper(point string) bool { return strings.HasPrefix(point, "keeper/") }

// withoutKeeper is the point at which the daemon itself has made a process.
const withoutKeeper = "tender/forked"

// namedFor are the names of the points that can be come to in a mode.
func namedFor(t *testing.T, m mode) []string {
	t.Helper()
	return slices.DeleteFunc(named(t), func(name string) bool {
		return m == alone && ofKeeper(name) || m == kept && name == withoutKeeper
	})
}

// A moment is when to kill: the nth time that a program comes to a point.
type moment struct {
	scenario int
	keeper   bool // the keeper; otherwise the daemon
	point    string
	nth      int
}

// TestEveryPoint kills the daemon, or its keeper, at every point.
func TestEveryPoint(t *testing.T) { inModes(t, killAtPoints) }

func killAtPoints(t *testing.T, m mode) {
	netns.Need(t)
	_, all := wantedKills(t)
	sum.add(m, points, len(namedFor(t, m)))
	every := explore(t, m)
	requireAllReached(t, m, every)
	moments := every
	if !all {
		moments = chosen(m, moments)
	}
	var killed sync.Map // at these points
	inParallel(t, func(t *testing.T, worker int) {
		h := workingHost(t, m)
		for i := worker; i < len(moments); i += workers {
			if h.crash(moments[i]) {
				killed.Store(moments[i].point, true)
			}
		}
		h.end()
	})
	var missed []string
	for _, m := range moments {
		if _, ok := killed.Load(m.point); !ok && !t.Failed() {
			missed = append(missed, m.point)
		}
	}
	if len(missed) > 0 {
		killLater(t, m, slices.Compact(missed), every)
	}
}

// killLater kills at points whose chosen moments have not come, at other moments.
func killLater(t *testing.T, m mode, missed []string, moments []moment) {
	h := workingHost(t, m)
	for _, point := range missed {
		died := slices.ContainsFunc(moments, func(m moment) bool { return m.point == point && h.crash(m) })
		if !died {
			t.Errorf("nothing has died at %s", point)
		}
	}
	h.end()
}

func workingHost(t *testing.T, m mode) *host {
	h := newHost(t, m)
	h.settleIn()
	return h
}

// explore finds all moments by letting every scenario go on to its end.
func explore(t *testing.T, m mode) (moments []moment) {
	h := workingHost(t, m)
	for i, s := range scenarios {
		place := h
		if s.fresh {
			place = newHost(t, m)
		}
		place.doing = s.name
		place.prepare(s, failpoint.Log+"="+place.path("keeper-points"))
		place.sure = m == kept
		place.launch(failpoint.Log+"="+place.path("points"), s.arguments...)
		c := &caller{h: place, dead: !place.answers()}
		s.do(c)
		if !place.stopping {
			require.False(t, c.dead, "%s: the daemon has died", s.name)
			place.check()
			place.stop()
		}
		moments = append(moments, momentsOf(t, moment{scenario: i}, place.path("points"))...)
		if m == kept {
			place.endKeepers()
			moments = append(moments, momentsOf(t, moment{scenario: i, keeper: true}, place.path("keeper-points"))...)
		}
		place.sure = false
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

// prepare brings a host to where a scenario begins, without a daemon, and with a new keeper
// that has something more in its environment.
func (h *host) prepare(s scenario, keeper string) {
	h.t.Helper()
	if s.before != nil {
		s.before(&caller{h: h})
		h.until("all is on disk", h.allReleased)
	}
	h.kill()
	h.keeperDead = false
	offline := func() {
		if s.offline != nil {
			s.offline(h)
		}
	}
	h.endKeepers()
	if !s.seen {
		offline()
	}
	if h.mode == kept {
		h.launchKeeper(keeper)
	}
	if s.seen {
		offline()
	}
}

// momentsOf reads what a daemon has told, and removes it.
func momentsOf(t *testing.T, of moment, log string) (moments []moment) {
	t.Helper()
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	require.NoError(t, os.Remove(log))
	times := map[string]int{}
	for name := range strings.Lines(string(text)) {
		name = strings.TrimSuffix(name, "\n")
		times[name]++
		of.point, of.nth = name, times[name]
		moments = append(moments, of)
	}
	return moments
}

// requireAllReached: no point is in the source that no scenario comes to.
func requireAllReached(t *testing.T, m mode, moments []moment) {
	t.Helper()
	missing := slices.DeleteFunc(namedFor(t, m), func(name string) bool {
		return slices.ContainsFunc(moments, func(m moment) bool { return m.point == name })
	})
	require.Empty(t, missing, "no scenario comes to these points")
}

// learned are moments at which something has been lost once, though not at the
// first time that the point was come to.
var learned = map[moment]string{
	{scenario: scenarioOf("force-create"), point: "unikernel/launched", nth: 1}: "the image of what was replaced had been removed",
}

func scenarioOf(name string) int {
	return slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
}

// committing is the point at which nothing of a change is on disk: nobody may have
// been told of it.
const committing = "database/committing"

// chosen are a few moments: one for each point, those from which something was
// learned, and all at which something is committed. With a keeper they are those of the
// keeper.
func chosen(m mode, moments []moment) (few []moment) {
	known := map[string]bool{}
	for _, moment := range moments {
		if m == kept && !moment.keeper {
			continue
		}
		if !known[moment.point] || learned[moment] != "" || moment.point == committing {
			few = append(few, moment)
		}
		known[moment.point] = true
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
		fresh := newHost(h.t, h.mode)
		defer fresh.end()
		return fresh.crashIn(s, m)
	}
	defer h.restore()
	return h.crashIn(s, m)
}

func (h *host) crashIn(s scenario, m moment) (died bool) {
	h.t.Helper()
	h.doing = fmt.Sprintf("%s, killed at %s %d", s.name, m.point, m.nth)
	kill := fmt.Sprintf("%s=%s %d", failpoint.Kill, m.point, m.nth)
	if m.keeper {
		return h.crashKeeper(s, kill)
	}
	h.doing = "daemon of " + h.doing
	h.prepare(s, nothing)
	h.sure = h.mode == kept
	h.launch(kill, s.arguments...)
	c := &caller{h: h, dead: !h.answers()}
	s.do(c)
	if died = within(lateness, h.died) && !h.stopped; died {
		sum.add(h.mode, atPoints, 1)
	}
	h.sure = false
	h.kill()
	h.start()
	h.check()
	return died
}

// crashKeeper plays a scenario with a keeper that dies, and looks at what its daemon, and the
// next one, make of that.
func (h *host) crashKeeper(s scenario, kill string) (died bool) {
	h.t.Helper()
	h.doing = "keeper of " + h.doing
	h.prepare(s, kill)
	h.launch(nothing, s.arguments...)
	require.True(h.t, h.answers(), "%s: the daemon does not start", h.doing)
	s.do(&caller{h: h})
	if !h.stopping {
		h.check()
	}
	h.kill()
	if died = within(lateness, h.keeperDied); died {
		sum.add(h.mode, atPoints, 1)
	}
	h.start()
	h.check()
	return died
}
