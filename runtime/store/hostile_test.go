package store_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/store"
	"albatross/test/hostile"
)

// inhabited returns a directory whose database has some of everything.
func inhabited(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	db := open(t, dir)
	var changes []messages.Change
	for i := range 40 {
		n, s := name(t, fmt.Sprintf("a:b%d:n%d", i%5, i)), spec(32+i)
		s.Arguments.Argv = messages.Some([]string{strings.Repeat("x", 10*i)})
		changes = append(changes, messages.PutSpec{Name: n, Spec: s})
		if i%2 == 0 {
			changes = append(changes, messages.PutRuntime{Name: n, Runtime: runs(100 + i)})
		}
		changes = append(changes,
			messages.PutPolicy{Path: messages.Path(fmt.Sprintf("a:b%d", i)), Policy: messages.Policy{Unikernels: i, CPUIDs: []int{0}, Memory: 64}},
			messages.PutEnd{Name: name(t, fmt.Sprintf("a:gone%d", i)), End: messages.End{AtMillis: int64(i + 1), Exit: messages.Exit{Known: true, Code: i}}},
			messages.PutEvent{Event: messages.Event{Kind: messages.EventCreated, Name: n, AtMillis: int64(i), Cause: messages.Publicf("%s", strings.Repeat("y", i))}})
		if i%10 == 9 {
			require.NoError(t, db.Apply(append(changes, messages.MarkImported{})))
			changes = nil
		}
	}
	require.NoError(t, db.Apply([]messages.Change{messages.DeleteUnikernel{Name: name(t, "a:b0:n0")}}))
	require.NoError(t, db.Close())
	require.NoError(t, open(t, dir).Close()) // this keeps a copy
	return dir
}

// everything returns all that is stored as text, by kind and name.
func everything(t *testing.T, db *store.DB) map[string]string {
	t.Helper()
	state, err := db.Load()
	require.NoError(t, err)
	all := map[string]string{"imported": fmt.Sprint(state.Imported)}
	for _, u := range state.Unikernels {
		all["specs "+u.Name.String()] = fmt.Sprintf("%+v", u.Spec)
		if u.Runtime.OK {
			all["runtimes "+u.Name.String()] = fmt.Sprintf("%+v", u.Runtime.Value)
		}
	}
	for _, p := range state.Policies {
		all["policies "+p.Name.String()] = fmt.Sprintf("%+v", p.Policy)
	}
	for _, e := range state.Ends {
		all["ends "+e.Name.String()] = fmt.Sprintf("%+v", e.End)
	}
	for next := uint64(1); ; {
		list, after, err := db.Events(next, 1000)
		require.NoError(t, err)
		for _, e := range list {
			all[fmt.Sprintf("events %d", e.Number)] = fmt.Sprintf("%+v", e.Event)
		}
		if after == next {
			return all
		}
		next = after
	}
}

// TestHostileDatabase: whatever damages a database, either it is refused unchanged, and the error
// says what to do, or nothing is missing or different except what the store reports to have set
// aside.
func TestHostileDatabase(t *testing.T) {
	dir := inhabited(t)
	path, copied := filepath.Join(dir, store.DBFile), contents(t, filepath.Join(dir, store.CopyFile))
	db := open(t, dir)
	want := everything(t, db)
	require.NoError(t, db.Close())
	require.Greater(t, len(want), 170)
	v := hostile.NewVandal(t, rand.New(rand.NewPCG(5, 5)), path)
	n, counts := hostile.Choose(300, 3_000), map[string]int{}
	for range n {
		what, broken := v.Damage()
		require.NoError(t, os.WriteFile(path, broken, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, store.CopyFile), []byte(copied), 0o600))
		counts[outcome(t, dir, what, want)]++
	}
	t.Logf("%v", counts)
	for _, kind := range []string{"refused", "set aside", "nothing lost"} {
		require.NotZero(t, counts[kind], kind)
	}
	hostile.Figure(t, "damages of a database", n)
	hostile.Figure(t, "of them that were named, and cost one record", counts["set aside"])
}

func outcome(t *testing.T, dir, what string, want map[string]string) string {
	t.Helper()
	db, err := store.Open(dir)
	if err != nil {
		require.ErrorContains(t, err, "the file is damaged (", what)
		require.ErrorContains(t, err, "or move it away to start with nothing", what)
		require.ErrorContains(t, err, "(cp -a ", what)
		return "refused"
	}
	have := everything(t, db)
	for _, a := range db.Aside {
		require.NotEmpty(t, a.Lost())
		forgive(t, a, want, have)
	}
	events := 0
	for key, value := range want {
		if strings.HasPrefix(key, "events ") && have[key] == "" {
			events++
			continue
		}
		if !forgiven(db.Aside, key) {
			require.Equal(t, value, have[key], "%s: %s", what, key)
		}
	}
	for key := range have {
		require.True(t, want[key] != "" || forgiven(db.Aside, key), "%s: %s is new", what, key)
	}
	require.LessOrEqual(t, events, asides(db.Aside, "events"), what)
	requireGoesOn(t, db, dir, what)
	if len(db.Aside) > 0 {
		require.FileExists(t, filepath.Join(dir, store.KeptFile), what)
		return "set aside"
	}
	return "nothing lost"
}

// requireGoesOn checks that what is written now is there at the next start, which finds nothing
// wrong.
func requireGoesOn(t *testing.T, db *store.DB, dir, what string) {
	t.Helper()
	n := name(t, "a:b2:n22")
	require.NoError(t, db.Apply([]messages.Change{messages.PutSpec{Name: n, Spec: spec(500)}, messages.PutEvent{}}), what)
	want := everything(t, db)
	require.Contains(t, want["specs a:b2:n22"], "Memory:500")
	require.NoError(t, db.Close())
	db, err := store.Open(dir)
	require.NoError(t, err, what)
	require.Empty(t, db.Aside, what)
	require.Equal(t, want, everything(t, db), what)
	require.NoError(t, db.Close())
}

// forgive checks that a loss is as it should be: a policy that was lost allows nothing.
func forgive(t *testing.T, a store.Aside, want, have map[string]string) {
	t.Helper()
	if a.Kind == "policies" {
		require.True(t, slices.ContainsFunc(a.Names, func(n messages.Name) bool {
			return have["policies "+n.String()] == fmt.Sprintf("%+v", messages.Policy{Damaged: true})
		}), "%v", a)
	}
}

// forgiven reports whether the store has reported a loss.
func forgiven(list []store.Aside, key string) bool {
	return slices.ContainsFunc(list, func(a store.Aside) bool {
		return slices.ContainsFunc(a.Names, func(n messages.Name) bool {
			own := key == a.Kind+" "+n.String()
			return own || a.Kind == "specs" && (key == "runtimes "+n.String() || key == "ends "+n.String())
		})
	})
}

func asides(list []store.Aside, kind string) (n int) {
	for _, a := range list {
		if a.Kind == kind {
			n++
		}
	}
	return n
}

// TestWhatBboltWritesIsSound: the pages are as the checks expect them, whatever has been written
// and removed.
func TestWhatBboltWritesIsSound(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(7, 7))
	for range 25 {
		db := open(t, dir)
		require.Empty(t, db.Aside)
		for range 8 {
			var changes []messages.Change
			for range random.IntN(200) {
				changes = append(changes, anyChange(t, random))
			}
			require.NoError(t, db.Apply(changes))
		}
		require.NoError(t, db.Close())
	}
}

func anyChange(t *testing.T, random *rand.Rand) messages.Change {
	n, s := name(t, fmt.Sprintf("a%d:n%d", random.IntN(20), random.IntN(40))), spec(1)
	s.Arguments.Argv = messages.Some([]string{strings.Repeat("x", 1<<random.IntN(14))})
	switch random.IntN(6) {
	case 0, 1:
		return messages.PutSpec{Name: n, Spec: s}
	case 2:
		return messages.PutEnd{Name: n}
	case 3:
		return messages.DeleteEnd{Name: n}
	case 4:
		return messages.PutEvent{}
	}
	return messages.DeleteUnikernel{Name: n}
}
