package store_test

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/runtime/store"
)

// The test binary runs itself again as a daemon that is killed while it
// writes.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "writer" {
		write(os.Args[2])
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, dir string) *store.DB {
	t.Helper()
	db, err := store.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func name(t *testing.T, text string) messages.Name {
	t.Helper()
	n, err := messages.ParseName(text)
	require.NoError(t, err)
	return n
}

func spec(memory int) messages.Spec {
	return messages.Spec{Arguments: messages.Arguments{Memory: memory}}
}

func runs(pid int) messages.Runtime {
	return messages.Runtime{Process: messages.Process{PID: pid, StartTime: 7, BootID: "b"}, StartedMillis: 1}
}

func load(t *testing.T, db *store.DB) []messages.Record {
	t.Helper()
	state, err := db.Load()
	require.NoError(t, err)
	return state.Unikernels
}

func TestNewDatabaseIsEmptyAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "db")
	old := unix.Umask(0)
	db, err := store.Open(dir)
	unix.Umask(old)
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	require.Empty(t, load(t, db))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.ModeDir|0o750, info.Mode())
	info, err = os.Stat(filepath.Join(dir, store.DBFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestChangesAreThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	hello, there := name(t, "hello"), name(t, "a:b:there")
	require.NoError(t, db.Apply([]messages.Change{
		messages.PutSpec{Name: hello, Spec: spec(32)},
		messages.PutRuntime{Name: hello, Runtime: runs(5)},
		messages.PutSpec{Name: there, Spec: spec(16)},
	}))
	require.NoError(t, db.Close())
	require.Equal(t, []messages.Record{
		{Name: hello, Spec: spec(32), Runtime: messages.Some(runs(5))},
		{Name: there, Spec: spec(16)},
	}, load(t, open(t, dir)))
}

func TestPoliciesAndEndsAreThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	policy := messages.Policy{Unikernels: 1, CPUIDs: []int{0, 2}, Memory: 32, Block: messages.Some(0), Bridges: []string{"br0"}}
	end := messages.End{Exit: messages.Exit{Known: true, Code: 3}, AtMillis: 5, Restarts: 2}
	require.NoError(t, db.Apply([]messages.Change{
		messages.PutPolicy{Path: messages.Root, Policy: policy},
		messages.PutPolicy{Path: "a:b", Policy: policy},
		messages.PutPolicy{Path: "c", Policy: policy},
		messages.DeletePolicy{Path: "c"},
		messages.PutEnd{Name: name(t, "a:x"), End: end},
		messages.PutEnd{Name: name(t, "a:y"), End: end},
		messages.DeleteEnd{Name: name(t, "a:y")},
	}))
	require.NoError(t, db.Close())
	state, err := open(t, dir).Load()
	require.NoError(t, err)
	require.Equal(t, messages.State{
		Policies: []messages.NamedPolicy{{Name: name(t, ":"), Policy: policy}, {Name: name(t, "a:b:"), Policy: policy}},
		Ends:     []messages.NamedEnd{{Name: name(t, "a:x"), End: end}},
	}, state)
}

func TestNetworksAreThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	network := messages.NetworkSpec{
		Backend: messages.KernelNetwork, Gateway: netip.MustParsePrefix("10.89.0.1/24"),
		Gateway6: netip.MustParsePrefix("fd00::1/64"), MTU: 1500, NAT: true,
	}
	user := messages.NetworkSpec{Backend: messages.UserNetwork, Gateway: netip.MustParsePrefix("10.89.1.1/24"), MTU: 1500}
	onNetwork := spec(32)
	onNetwork.Arguments.Networks = []messages.Network{{
		Name: "service", Bridge: messages.Some("a.net"), IP: messages.Some(netip.MustParseAddr("10.89.0.7")), Static: true, Rate: 1000,
		Leases: []netip.Addr{netip.MustParseAddr("10.89.0.7"), netip.MustParseAddr("fd00::7")},
	}}
	onNetwork.Arguments.Publish = []messages.Publication{{From: 8080, To: 80}, {UDP: true, Host: netip.MustParseAddr("::1"), From: 53, To: 53}}
	require.NoError(t, db.Apply([]messages.Change{
		messages.PutNetwork{Name: name(t, "a:net"), Spec: network},
		messages.PutNetwork{Name: name(t, "user"), Spec: user},
		messages.PutNetwork{Name: name(t, "gone"), Spec: user},
		messages.DeleteNetwork{Name: name(t, "gone")},
		messages.PutSpec{Name: name(t, "x"), Spec: onNetwork},
	}))
	require.NoError(t, db.Close())
	state, err := open(t, dir).Load()
	require.NoError(t, err)
	require.Equal(t, messages.State{
		Unikernels: []messages.Record{{Name: name(t, "x"), Spec: onNetwork}},
		Networks:   []messages.NamedNetwork{{Name: name(t, "user"), Spec: user}, {Name: name(t, "a:net"), Spec: network}},
	}, state)
}

func TestTheImportIsMarkedWithWhatWasImported(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	state, err := db.Load()
	require.NoError(t, err)
	require.False(t, state.Imported)
	orphan := messages.PutRuntime{Name: name(t, "hello"), Runtime: runs(5)}
	require.Error(t, db.Apply([]messages.Change{messages.MarkImported{}, orphan}))
	state, err = db.Load()
	require.NoError(t, err)
	require.False(t, state.Imported, "all or nothing")
	require.NoError(t, db.Apply([]messages.Change{messages.MarkImported{}}))
	require.NoError(t, db.Close())
	state, err = open(t, dir).Load()
	require.NoError(t, err)
	require.Equal(t, messages.State{Imported: true}, state)
}

// A unikernel with the name of one that was deleted does not get its process.
func TestDeletedUnikernelLeavesNoRuntime(t *testing.T) {
	db := open(t, t.TempDir())
	hello := name(t, "hello")
	require.NoError(t, db.Apply([]messages.Change{
		messages.PutSpec{Name: hello, Spec: spec(32)},
		messages.PutRuntime{Name: hello, Runtime: runs(5)},
		messages.DeleteUnikernel{Name: hello},
		messages.PutSpec{Name: hello, Spec: spec(16)},
	}))
	require.Equal(t, []messages.Record{{Name: hello, Spec: spec(16)}}, load(t, db))
}

func TestFailedChangesLeaveNothing(t *testing.T) {
	db := open(t, t.TempDir())
	hello := name(t, "hello")
	put := messages.PutSpec{Name: hello, Spec: spec(1)}
	for want, bad := range map[string]messages.Change{
		"internal error: unknown change store_test.odd":      odd{},
		"internal error: unknown change <nil>":               nil,
		"internal error: runtime without a spec: :elsewhere": messages.PutRuntime{Name: name(t, "elsewhere")},
	} {
		require.ErrorContains(t, db.Apply([]messages.Change{put, bad}), want)
		require.Empty(t, load(t, db))
	}
}

// An odd is a change that the store does not know.
type odd struct{ messages.PutSpec }

func TestSecondOpenerIsTold(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	_, err := store.Open(dir)
	require.EqualError(t, err, "cannot open "+dir+"/state.db: in use by another albatrossd")
	require.NoError(t, first.Apply([]messages.Change{messages.PutSpec{Name: name(t, "a"), Spec: spec(1)}}))
	require.NoError(t, first.Close())
	require.Len(t, load(t, open(t, dir)), 1)
}

// contents returns the bytes of a file, to see whether it was changed.
func contents(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

// refused opens a database that must not be opened, nor changed, nor kept locked.
func refused(t *testing.T, dir string) error {
	t.Helper()
	path := filepath.Join(dir, store.DBFile)
	before := contents(t, path)
	_, err := store.Open(dir)
	require.Error(t, err)
	require.ErrorContains(t, err, "cannot open "+path+": ")
	require.Equal(t, before, contents(t, path), "changed")
	f, openErr := os.Open(path)
	require.NoError(t, openErr)
	defer func() { _ = f.Close() }()
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), "still locked")
	return err
}

// alter changes a database without the store.
func alter(t *testing.T, dir string, change func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, store.DBFile), 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(change))
	require.NoError(t, db.Close())
}

func TestNewerDatabaseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, open(t, dir).Close())
	alter(t, dir, func(tx *bbolt.Tx) error {
		return store.PutVersion(tx, "12")
	})
	require.ErrorContains(t, refused(t, dir), "written by a newer albatrossd (version 12 of the format, this one knows 7): run that one")
}

func TestForeignDatabaseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	alter(t, dir, func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("somebody else's"))
		return err
	})
	require.ErrorContains(t, refused(t, dir), "not a database of albatrossd")
}

func TestDatabaseOfNoVersionIsDamaged(t *testing.T) {
	for _, version := range []string{"", "x", "0", "-1", "5", "8", "12"} {
		dir := t.TempDir()
		require.NoError(t, open(t, dir).Close())
		alter(t, dir, func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("schema")).Put([]byte("version"), []byte(version))
		})
		require.ErrorContains(t, refused(t, dir), "the file is damaged")
	}
}

// filled returns a directory with a database of some size.
func filled(t *testing.T) (dir string, records []messages.Record) {
	t.Helper()
	dir = t.TempDir()
	db := open(t, dir)
	for i := range 20 {
		var changes []messages.Change
		for j := range 20 {
			s := spec(i)
			s.Arguments.Argv = messages.Some([]string{strings.Repeat("x", 300)})
			changes = append(changes, messages.PutSpec{Name: name(t, fmt.Sprintf("a:n%d-%d", i, j)), Spec: s})
		}
		require.NoError(t, db.Apply(changes))
	}
	records = load(t, db)
	require.NoError(t, db.Close())
	return dir, records
}

func TestTruncatedDatabaseIsLeftAlone(t *testing.T) {
	dir, _ := filled(t)
	require.NoError(t, open(t, dir).Close()) // this keeps a copy
	path := filepath.Join(dir, store.DBFile)
	whole := contents(t, path)
	for _, size := range []int{1, 100, 4096, 8192, 12288, 16384, 20000, 40960, len(whole) / 4 * 3} {
		if size >= used(t, path) {
			continue
		}
		require.NoError(t, os.WriteFile(path, []byte(whole[:size]), 0o600))
		err := refused(t, dir)
		require.ErrorContains(t, err, "the file is damaged (it ", "%d bytes", size)
		require.ErrorContains(t, err, "restore it from the copy of ")
		require.ErrorContains(t, err, ", which lacks what has changed since (cp -a "+dir+"/state.db.copy "+path+"), or move it away to start with nothing")
		require.NoError(t, os.WriteFile(path, []byte(whole), 0o600))
	}
	require.NoError(t, open(t, dir).Close())
}

// used returns how much of the file is more than room to grow.
func used(t *testing.T, path string) (size int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.View(func(tx *bbolt.Tx) error { size = int(tx.Size()); return nil }))
	require.NoError(t, db.Close())
	return size
}

// A damaged database is refused and stays unchanged, or the damage does not matter: then all
// records are there, except for values that are damaged inside.
func TestDamagedDatabaseIsRefusedOrHarmless(t *testing.T) {
	dir, _ := filled(t)
	path := filepath.Join(dir, store.DBFile)
	whole := contents(t, path)
	size := used(t, path)
	rapid.Check(t, func(rt *rapid.T) {
		broken := []byte(whole)
		at := rapid.IntRange(0, size-1).Draw(rt, "at")
		length := rapid.SampledFrom([]int{1, 16, 512, 4096}).Draw(rt, "length")
		value := rapid.Byte().Draw(rt, "value")
		for i := at; i < min(at+length, size); i++ {
			broken[i] ^= value
		}
		require.NoError(rt, os.WriteFile(path, broken, 0o600))
		db, err := store.Open(dir)
		if err != nil {
			require.ErrorContains(rt, err, "cannot open")
			require.Equal(rt, string(broken), contents(t, path))
			return
		}
		_, _ = db.Load() // must not panic, nor end the program
		require.NoError(rt, db.Close())
	})
}

func TestWhatIsNoDatabaseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, store.DBFile)
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("native state\n", 1000)), 0o600))
	require.ErrorContains(t, refused(t, dir), "the file is damaged (it does not begin as a database does); it was left as it is: restore a copy of it, or move it away")
}

func TestOpenTellsErrorsOfTheSystem(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, store.DBFile)
	require.NoError(t, os.Mkdir(path, 0o700))
	_, err := store.Open(dir)
	require.ErrorIs(t, err, unix.EISDIR)
	require.NotContains(t, err.Error(), "damaged")

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Symlink("elsewhere", path))
	_, err = store.Open(dir)
	require.ErrorIs(t, err, unix.ELOOP)
	require.NoFileExists(t, filepath.Join(dir, "elsewhere"))

	_, err = store.Open(filepath.Join(path, "below"))
	require.ErrorContains(t, err, "cannot open ")
}

func TestClosedDatabaseTellsSo(t *testing.T) {
	db := open(t, t.TempDir())
	require.NoError(t, db.Close())
	require.ErrorContains(t, db.Apply(nil), "not open")
	_, err := db.Load()
	require.ErrorContains(t, err, "not open")
}

// Whatever is done, the store loads what a map holds, reopened or not.
func TestStoreIsAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "db")
		require.NoError(rt, err)
		db, err := store.Open(dir)
		require.NoError(rt, err)
		defer func() { _ = db.Close() }()
		model := map[messages.Name]messages.Record{}
		for range rapid.IntRange(1, 8).Draw(rt, "transactions") {
			changes := rapid.SliceOfN(change, 0, 6).Draw(rt, "changes")
			after, ok := applied(model, changes)
			err := db.Apply(changes)
			if ok {
				require.NoError(rt, err)
				model = after
			} else {
				require.ErrorContains(rt, err, "internal error")
			}
			if rapid.Bool().Draw(rt, "reopen") {
				require.NoError(rt, db.Close())
				db, err = store.Open(dir)
				require.NoError(rt, err)
			}
			state, err := db.Load()
			require.NoError(rt, err)
			require.Equal(rt, sorted(model), state.Unikernels)
		}
	})
}

var change = rapid.Custom(func(rt *rapid.T) messages.Change {
	n, err := messages.ParseName(rapid.SampledFrom([]string{"a", "..", "a:b", "a:b:"}).Draw(rt, "name"))
	require.NoError(rt, err)
	switch rapid.IntRange(0, 3).Draw(rt, "kind") {
	case 0:
		return messages.PutRuntime{Name: n, Runtime: runs(rapid.Int().Draw(rt, "pid"))}
	case 1:
		return messages.DeleteRuntime{Name: n}
	case 2:
		return messages.DeleteUnikernel{Name: n}
	}
	s := spec(rapid.Int().Draw(rt, "memory"))
	s.Arguments.Argv = messages.Some([]string{string(rapid.SliceOf(rapid.Byte()).Draw(rt, "argument"))})
	return messages.PutSpec{Name: n, Spec: s}
})

// applied returns the model after changes; not ok if one must be refused.
func applied(before map[messages.Name]messages.Record, changes []messages.Change) (after map[messages.Name]messages.Record, ok bool) {
	after = map[messages.Name]messages.Record{}
	for n, r := range before {
		after[n] = r
	}
	for _, c := range changes {
		switch c := c.(type) {
		case messages.PutSpec:
			after[c.Name] = messages.Record{Name: c.Name, Spec: c.Spec, Runtime: after[c.Name].Runtime}
		case messages.PutRuntime:
			r, there := after[c.Name]
			if !there {
				return nil, false
			}
			r.Runtime = messages.Some(c.Runtime)
			after[c.Name] = r
		case messages.DeleteRuntime:
			if r, there := after[c.Name]; there {
				r.Runtime = messages.Option[messages.Runtime]{}
				after[c.Name] = r
			}
		case messages.DeleteUnikernel:
			delete(after, c.Name)
		}
	}
	return after, true
}

func sorted(model map[messages.Name]messages.Record) []messages.Record {
	var records []messages.Record
	for _, r := range model {
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b messages.Record) int {
		return strings.Compare(a.Name.String(), b.Name.String())
	})
	return records
}

// write stores numbers as long as it lives, and prints each when Apply has returned.
func write(dir string) {
	db, err := store.Open(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(98)
	}
	for i := 1; ; i++ {
		n := messages.Name{Label: messages.Label(fmt.Sprint("n", i%7))}
		err := db.Apply([]messages.Change{
			messages.PutSpec{Name: n, Spec: spec(i)},
			messages.PutRuntime{Name: n, Runtime: runs(i)},
			messages.PutSpec{Name: messages.Name{Label: "last"}, Spec: spec(i)},
			at(int64(i)),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(97)
		}
		fmt.Println(i)
	}
}

func TestKilledWriterLeavesWholeChangesAndAllItTold(t *testing.T) {
	dir := t.TempDir()
	for range 10 {
		printed := killWriter(t, dir)
		db := open(t, dir)
		records := load(t, db)
		newest, _ := events(t, db, last(t, db), 1)
		require.NoError(t, db.Close())
		last := 0
		for _, r := range records {
			if r.Name.Label == "last" {
				last = r.Spec.Arguments.Memory
			}
		}
		require.GreaterOrEqual(t, last, printed)
		require.Equal(t, int64(last), newest[0].Event.AtMillis, "the event of another change")
		for _, r := range records {
			if r.Name.Label == "last" {
				continue
			}
			require.Equal(t, r.Spec.Arguments.Memory, r.Runtime.Value.Process.PID, "half a change")
		}
	}
}

// killWriter kills a writer amid its work, and returns the last number that it printed.
func killWriter(t *testing.T, dir string) (printed int) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "writer", dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		_, err := fmt.Sscan(lines.Text(), &printed)
		require.NoError(t, err)
		if printed == 20 {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait())
	require.GreaterOrEqual(t, printed, 20)
	return printed
}

func TestFullDiskLosesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"))
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	db := open(t, dir)
	stored := 0
	var err error
	for err == nil && stored < 1000 {
		n := name(t, fmt.Sprintf("n%d", stored))
		s := spec(1)
		s.Arguments.Argv = messages.Some([]string{strings.Repeat("x", 4096)})
		if err = db.Apply([]messages.Change{messages.PutSpec{Name: n, Spec: s}}); err == nil {
			stored++
		}
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.Len(t, load(t, db), stored)
	require.NoError(t, db.Close())
	db = open(t, dir)
	require.Len(t, load(t, db), stored)
	require.NoError(t, db.Close())
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"))
	db = open(t, dir)
	require.NoError(t, db.Apply([]messages.Change{messages.DeleteUnikernel{Name: name(t, "n0")}}))
	require.Len(t, load(t, db), stored-1)
}
