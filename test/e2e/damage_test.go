package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/store"
	"albatross/test/hostile"
)

// damageRecord changes one byte at the end of a record, while no daemon runs.
func (h *host) damageRecord(bucket, key string) {
	h.t.Helper()
	db, err := bbolt.Open(h.path("db", store.DBFile), 0o600, nil)
	require.NoError(h.t, err)
	require.NoError(h.t, db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		record := append([]byte{}, b.Get([]byte(key))...)
		require.NotEmpty(h.t, record)
		record[len(record)-1] ^= 1
		return b.Put([]byte(key), record)
	}))
	require.NoError(h.t, db.Close())
}

var small = messages.PolicyAdd{Policy: messages.Policy{Unikernels: 4, CPUIDs: []int{0}, Memory: 200, Block: messages.Some(10)}}

// TestADamagedUnikernel has no effect on others. It runs on, and no other process is started under
// its name, until its process has ended.
func TestADamagedUnikernel(t *testing.T) {
	h := emptyHost(t)
	h.args = []string{"--metrics", "0"}
	h.start()
	h.create("x", guest("hello", "--quiet"))
	h.create("y", guest("hello", "--quiet"))
	x, y := h.pid("x"), h.pid("y")
	h.kill()
	h.damageRecord("specs", ":x")
	for start := range 2 { // the second daemon must find the process by itself, too
		h.start()
		asides, _ := h.scrape().value("albatross_store_records_set_aside", "record=specs")
		require.Equal(t, float64(1-start), asides)
		require.Equal(t, []int{x}, h.processes()["x"], "it runs on")
		require.Equal(t, y, h.pid("y"))
		require.Len(t, h.infos(":"), 1)
		refusal := h.ask("x", create(guest("hello", "--quiet"))).(messages.Failure)
		require.Contains(t, refusal.Text, fmt.Sprintf("end that first (kill %d)", x))
		h.kill()
	}
	require.Contains(t, h.log(), `msg="A record of the database is damaged, and was set aside" record="specs/\":x\"" of=[:x] cause="its checksum is wrong"`)
	h.start()
	require.NoError(t, unix.Kill(x, unix.SIGKILL))
	h.until("it has ended", func() bool { return len(h.processes()["x"]) == 0 })
	h.create("x", guest("hello", "--quiet"))
}

// TestADamagedProcess: the daemon finds it again by its properties.
func TestADamagedProcess(t *testing.T) {
	h := newHost(t)
	h.create("x", guest("hello", "--quiet"))
	x := h.pid("x")
	h.kill()
	h.damageRecord("runtimes", ":x")
	h.start()
	require.Equal(t, x, h.pid("x"))
	require.Len(t, h.infos("x"), 1)
	h.requireLogged(`msg="Unikernel taken over" .*pid=` + fmt.Sprint(x))
}

// TestADamagedPolicy allows nothing until it is added again.
func TestADamagedPolicy(t *testing.T) {
	h := newHost(t)
	h.requireText("added policy", "a:", small)
	h.create("a:x", guest("hello", "--quiet"))
	x := h.pid("x")
	h.kill()
	h.damageRecord("policies", "a:")
	h.start()
	require.Equal(t, x, h.pid("x"))
	const says = "the policy was damaged on disk and allows nothing until it is added again"
	h.requireRefused(says, "a:y", create(guest("hello", "--quiet")))
	h.requireRefused(says, "a:b:y", create(guest("hello", "--quiet")))
	h.requireRefused(says, "a:disk", messages.BlockAdd{Size: 1})
	h.requireRefused(says, "a:b:", small)
	h.requireText("added policy", "a:", small)
	h.create("a:y", guest("hello", "--quiet"))
}

// TestADamagedHeader: it may have the last change. The command in the refusal works.
func TestADamagedHeader(t *testing.T) {
	h := newHost(t)
	h.requireText("added policy", "a:", small)
	require.NoError(t, h.stop())
	path := h.path("db", store.DBFile)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, at := range []int{16 + 50, os.Getpagesize() + 16 + 50} {
		broken := append([]byte{}, whole...)
		broken[at] ^= 4
		require.NoError(t, os.WriteFile(path, broken, 0o600))
		said := h.refuses()
		require.Contains(t, said, "the file is damaged (one of its two headers, which may be that of the last change); it was left as it is: to go on")
		command := regexp.MustCompile(`\((dd .*?)\)`).FindStringSubmatch(said)
		require.NoError(t, exec.Command("/bin/sh", "-c", command[1]).Run())
		h.start()
		require.NoError(t, h.stop())
	}
}

// TestASignalEndsAStartThatWaits, for instance for the database.
func TestASignalEndsAStartThatWaits(t *testing.T) {
	h := newHost(t)
	require.NoError(t, h.stop())
	path := h.path("db", store.DBFile)
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	h.until("the signal comes while it waits", func() bool { // the start may have given up before
		c := h.command()
		require.NoError(t, c.Start())
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		for !opens(c.Process.Pid, path) {
			select {
			case <-ended:
				return false
			case <-time.After(pause):
			}
		}
		require.NoError(t, c.Process.Signal(unix.SIGTERM))
		return <-ended == nil
	})
	require.Contains(t, h.log(), "Stopping before the start is complete")
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_UN))
	h.start()
}

// opens reports whether a process has a file open.
func opens(pid int, path string) bool {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	for _, fd := range fds {
		if target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())); err == nil && target == path {
			return true
		}
	}
	return false
}

// mostMemory is what a daemon may need beside a damaged database, in bytes.
const mostMemory = 200 << 20

// TestHostileDatabases: a daemon that finds its database damaged logs that and ends, or carries out
// commands, and only what it has logged is missing. Unikernels that run, run on.
func TestHostileDatabases(t *testing.T) {
	h := newHost(t)
	h.requireText("added policy", "a:", small)
	h.requireText("added policy", "b:", small)
	for _, name := range []string{"a:x", "a:y", "b:z"} {
		h.create(name, guest("hello", "--quiet"))
	}
	h.create("b:gone", guest("hello", "--quiet"))
	h.requireText("destroyed unikernel", "b:gone", messages.UnikernelDestroy{})
	before := h.settledProcesses()
	require.Len(t, before, 3)
	require.NoError(t, h.stop())
	h.start() // this keeps a copy
	require.NoError(t, h.stop())
	path := h.path("db", store.DBFile)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	vandal := hostile.NewVandal(t, rand.New(rand.NewPCG(3, 9)), path)
	n, refused := hostile.Choose(12, 300), 0
	for range n {
		what, broken := vandal.Damage()
		require.NoError(t, os.WriteFile(path, broken, 0o600))
		if !h.startsBesideDamage(what) {
			refused++
		}
		require.Equal(t, before, h.processes(), what)
	}
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	h.start()
	require.Len(t, h.infos(":"), 3)
	hostile.Figure(t, "starts of the daemon beside a damaged database", n)
	hostile.Figure(t, "of them that it refused, with what to do", refused)
}

// startsBesideDamage starts the daemon, compares all that it answers with the losses that it has
// logged, and kills it.
func (h *host) startsBesideDamage(what string) bool {
	h.t.Helper()
	c := h.command()
	said, err := os.CreateTemp(h.dir, "said")
	require.NoError(h.t, err)
	defer os.Remove(said.Name())
	defer said.Close()
	c.Stderr = said
	require.NoError(h.t, c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	h.daemon, h.ended = c, ended
	up, refused := false, false
	h.until("the daemon answers, or ends: "+what, func() bool {
		select {
		case err := <-ended:
			refused = true
			require.Error(h.t, err, what)
			return true
		default:
			up = h.answers()
			return up
		}
	})
	if refused {
		h.daemon = nil
		require.Less(h.t, int(c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)<<10, mostMemory, what)
		require.Contains(h.t, read(h.t, said.Name()), "or move it away to start with nothing", what)
		return false
	}
	h.requireToldLosses(what, read(h.t, said.Name()))
	require.Less(h.t, h.peak(), mostMemory, what)
	h.kill()
	return true
}

// requireToldLosses compares what a daemon answers with the losses that it has logged.
func (h *host) requireToldLosses(what, said string) {
	h.t.Helper()
	lost := func(kind, name string) bool {
		return regexp.MustCompile(`record="?` + kind + `.* of="?\[[^]]*\b` + regexp.QuoteMeta(name)).MatchString(said)
	}
	known := map[string]bool{}
	for _, i := range h.infos(":") {
		known[i.Name.String()] = true
	}
	for _, name := range []string{"a:x", "a:y", "b:z"} {
		require.NotEqual(h.t, known[name], lost("specs", name), "%s: %s\n%s", what, name, said)
	}
	for _, p := range h.ask(":", messages.PolicyInfo{}).(messages.SuccessPolicies).List {
		if name := p.Name.String(); name != ":" && !lost("policies", name) {
			require.Equal(h.t, small.Policy, p.Policy, "%s: %s\n%s", what, name, said)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
