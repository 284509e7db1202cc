package actors_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/store"
	"albatross/test/netns"
)

// withSmallDisk mounts a file system of 12 MB for a world.
func withSmallDisk(w *world) {
	netns.Need(w.t) // a test network also is a namespace of mounts
	require.NoError(w.t, unix.Mount("tmpfs", w.dir, "tmpfs", 0, "size=12m"))
	w.t.Cleanup(func() { require.NoError(w.t, unix.Unmount(w.dir, unix.MNT_DETACH)) })
	require.NoError(w.t, os.Mkdir(w.guests.FIFODir, 0o700)) // the mount hides the first one
}

// fillDisk fills the disk to the last byte, until it is called with false.
func (w *world) fillDisk(full bool) {
	w.t.Helper()
	path := filepath.Join(w.dir, "filler")
	if !full {
		require.NoError(w.t, os.Remove(path))
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(w.t, err)
	_, err = io.Copy(f, endless{})
	require.ErrorIs(w.t, err, unix.ENOSPC)
	require.NoError(w.t, f.Close())
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestOnAFullDisk: what runs continues, restarts, and can be destroyed. New unikernels and policies
// are refused with the reason. All works again when there is room.
func TestOnAFullDisk(t *testing.T) {
	w := newWorld(t, withSmallDisk, withBlocks)
	for i := range 4 {
		w.succeeds("created unikernel", fmt.Sprintf(":u%d", i), create(guest("hello", "--quiet")))
	}
	w.succeeds("created unikernel", ":printer", create(guest("chatty", "100000")))
	require.Equal(t, success("added policy"), w.addPolicy("a:", policy(1, 32)))
	w.succeeds("added block device", ":disk", messages.BlockOldAdd{Size: 1})
	w.fillDisk(true)

	w.succeeds("destroyed unikernel", ":u0", messages.UnikernelDestroy{})
	for name, command := range map[string]messages.Command{
		":image": create(guest("badcall")),
		":other": messages.BlockOldAdd{Size: 1, Data: messages.Some(bytes.Repeat([]byte("x"), 1<<20))},
		":disk":  messages.BlockOldSet{Data: bytes.Repeat([]byte("x"), 1<<20)},
	} {
		require.Contains(t, w.ask(name, command).(messages.Failure).Text, "no space left on device", name)
	}
	require.Equal(t, fails("cannot write state.db: there is no room for anything new: no space left on device"), w.addPolicies())
	w.succeeds("removed policy", "a:", messages.PolicyRemove{})
	w.succeeds("removed block", ":disk", messages.BlockRemove{})
	w.fillDisk(true) // fill also what that has freed

	pid := w.pid(":u1")
	w.succeeds("created unikernel", ":u1", messages.UnikernelRestart{Form: messages.RestartSame})
	require.NotEqual(t, pid, w.pid(":u1"))
	w.kill(":u2")
	w.until("its end is on disk", func() bool { _, there := w.record(":u2"); return !there })
	require.Len(t, w.infos(":"), 3)

	w.restart()
	require.Len(t, w.infos(":"), 3)
	w.succeeds("destroyed unikernel", ":u3", messages.UnikernelDestroy{})
	w.succeeds("destroyed unikernel", ":printer", messages.UnikernelDestroy{})

	w.fillDisk(false)
	w.succeeds("created unikernel", ":new", create(guest("badcall")))
	require.Equal(t, success("added policy"), w.addPolicy("b:", policy(1, 32)))
}

// addPolicies adds policies until one is refused.
func (w *world) addPolicies() (refusal messages.Payload) {
	w.t.Helper()
	for i := range 2000 {
		p := policy(1, 32)
		for b := range 300 {
			p.Bridges = append(p.Bridges, fmt.Sprintf("bridge-%07d", b))
		}
		if answer := w.addPolicy(fmt.Sprintf("p%d:", i), p); answer != success("added policy") {
			return answer
		}
	}
	require.FailNow(w.t, "all policies fit on a full disk")
	return nil
}

// TestRestartsOnAFullDisk: a unikernel that is kept running is started again each time.
func TestRestartsOnAFullDisk(t *testing.T) {
	w := newWorld(t, withSmallDisk)
	config := guest("exit", "3")
	config.Arguments.Fail = messages.FailBehaviour{Restart: true}
	w.succeeds("created unikernel", ":x", create(config))
	w.fillDisk(true)
	before, _ := w.record(":x")
	w.until("it was restarted", func() bool {
		now, _ := w.record(":x")
		return now.Runtime.OK && now.Runtime.Value.Restarts > before.Runtime.Value.Restarts+2
	})
}

// breakDisk makes every write of the database fail until mend is called: it reopens the file for
// reading only.
func (w *world) breakDisk() (mend func()) {
	w.t.Helper()
	path := filepath.Join(w.dir, store.DBFile)
	fd := w.openedAs(path)
	reopen := func(flags int) {
		f, err := os.OpenFile(path, flags, 0)
		require.NoError(w.t, err)
		require.NoError(w.t, unix.Dup3(int(f.Fd()), fd, unix.O_CLOEXEC))
		require.NoError(w.t, f.Close())
	}
	reopen(os.O_RDONLY)
	return func() { reopen(os.O_RDWR) }
}

// openedAs returns the descriptor under which a file is open.
func (w *world) openedAs(path string) int {
	w.t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(w.t, err)
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && target == path {
			fd, err := strconv.Atoi(e.Name())
			require.NoError(w.t, err)
			return fd
		}
	}
	require.FailNow(w.t, "not open: "+path)
	return 0
}

// unstored returns the answer about a unikernel that has ended on a broken disk.
func unstored() messages.Failure {
	return messages.Failure{Text: "the unikernel has ended, but that cannot be stored: cannot write state.db: write state.db: bad file descriptor; this is tried again until it can"}
}

// TestEndsThatCannotBeStored: a client that asks reads them at once, and no unikernel that has
// ended is listed as running. The rest follows when the disk works again.
func TestEndsThatCannotBeStored(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(w *world) { w.log = &log })
	kept := guest("hello", "--quiet")
	kept.Arguments.Fail = messages.FailBehaviour{Restart: true}
	restarting := guest("exit", "3")
	restarting.Arguments.Fail = messages.FailBehaviour{Restart: true}
	w.succeeds("created unikernel", ":destroyed", create(kept))
	w.succeeds("created unikernel", ":replaced", create(kept))
	w.succeeds("created unikernel", ":ended", create(guest("hello", "--quiet")))
	w.succeeds("created unikernel", ":lives", create(kept))
	w.succeeds("created unikernel", ":restarts", create(restarting))
	ended, replaced := w.pid(":ended"), w.pid(":replaced")
	w.untilMarked(":destroyed", ":replaced", ":ended", ":lives")
	mend := w.breakDisk()

	require.Equal(t, unstored(), w.ask(":destroyed", messages.UnikernelDestroy{}))
	require.Equal(t, unstored(), w.ask(":destroyed", messages.UnikernelDestroy{}))
	require.Equal(t, unstored(), w.ask(":destroyed", force(kept)))
	refused := w.ask(":replaced", messages.UnikernelRestart{Form: messages.RestartSame})
	require.Contains(t, refused.(messages.Failure).Text, "the unikernel goes on, because the daemon cannot store that it ends: cannot write state.db")
	require.Equal(t, replaced, w.pid(":replaced"))
	require.NoError(t, unix.Kill(ended, unix.SIGKILL))
	w.until("only two run", func() bool { return len(w.infos(":")) == 2 })
	runs := map[string]bool{":lives": true, ":replaced": true}
	for _, i := range w.infos(":") {
		require.True(t, runs[i.Name.String()], i.Name)
	}
	survey, err := w.actors.Survey(t.Context())
	require.NoError(t, err)
	for _, s := range survey.Status {
		require.Equal(t, runs[s.Name.String()], s.Running, s.Name)
	}
	require.Equal(t, unstored(), w.ask(":ended", create(kept)))
	require.IsType(t, messages.Failure{}, w.addPolicy("a:", policy(1, 32)))
	w.until("it was tried again", func() bool { return w.failedCommits() > 15 })

	mend()
	w.until("all is as it should be", func() bool {
		var names []string
		for _, i := range w.infos(":") {
			names = append(names, i.Name.String())
		}
		_, destroyed := w.record(":destroyed")
		_, ended := w.record(":ended")
		slices.Sort(names)
		return !destroyed && !ended && slices.Equal(names, []string{":lives", ":replaced", ":restarts"})
	})
	require.Equal(t, replaced, w.pid(":replaced"))
	w.shutdown()
	require.Less(t, strings.Count(log.String(), "Cannot store the end"), 10, log.String())
	w.start()
}

// TestWhatNobodyWaitsForIsStoredLater: that a unikernel runs, and what has become of a block
// device, is stored once, with its events, when the disk works again.
func TestWhatNobodyWaitsForIsStoredLater(t *testing.T) {
	var once sync.Once
	mends := make(chan func(), 1)
	w := newWorld(t, withBlocks, func(w *world) {
		w.fault = func(_ string, message any) {
			if fmt.Sprintf("%T", message) == "unikernel.released" {
				once.Do(func() { mends <- w.breakDisk() })
			}
		}
	})
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	w.succeeds("added block device", ":disk", messages.BlockOldAdd{Size: 1})
	w.until("it was tried", func() bool { return w.failedCommits() > 1 })
	r, _ := w.record(":x")
	require.False(t, r.Runtime.Value.Released)
	(<-mends)()
	w.untilMarked(":x")
	stored := func() (kinds []string) {
		list, _, err := w.config.DB.Events(1, 100)
		require.NoError(t, err)
		for _, e := range list {
			kinds = append(kinds, string(e.Event.Kind))
		}
		slices.Sort(kinds)
		return kinds
	}
	want := []string{"block-created", "created", "daemon-started", "started"}
	w.until("all events are stored", func() bool { return len(stored()) == len(want) })
	require.Equal(t, want, stored())
}

// TestAStateThatCannotBeRead: a client reads why, and all works once the state can be read.
func TestAStateThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	require.NoError(t, w.config.DB.Apply([]messages.Change{
		messages.PutPolicy{Path: "a", Policy: messages.Policy{Bridges: []string{"damaged-one"}}},
	}))
	w.shutdown()
	w.opened = func() { w.overwrite("damaged-one", "damaged-too") } // the check for damage is over
	w.start()
	refusal, ok := w.ask(":", messages.UnikernelInfo{Form: 6}).(messages.Failure)
	require.True(t, ok)
	require.Contains(t, refusal.Text, "cannot understand what is stored of a:")
	require.Equal(t, refusal, w.ask(":x", messages.UnikernelDestroy{}))
	require.NoError(t, w.config.DB.Apply([]messages.Change{messages.DeletePolicy{Path: "a"}}))
	w.until("it is read", func() bool { return w.ask(":x", messages.UnikernelInfo{Form: 6}) != messages.Payload(refusal) })
	w.pid(":x")
}

// overwrite changes bytes of the open database.
func (w *world) overwrite(text, by string) {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.dir, store.DBFile), os.O_RDWR, 0)
	require.NoError(w.t, err)
	defer f.Close()
	data, err := io.ReadAll(f)
	require.NoError(w.t, err)
	for at := 0; ; at += len(text) {
		next := bytes.Index(data[at:], []byte(text))
		if next < 0 {
			require.NotZero(w.t, at)
			return
		}
		at += next
		_, err := f.WriteAt([]byte(by), int64(at))
		require.NoError(w.t, err)
	}
}

// TestARecordThatCannotBeRead: a unikernel whose actor fails and finds its record damaged runs on.
// A client that waits for it reads why. Others do not notice.
func TestARecordThatCannotBeRead(t *testing.T) {
	var armed atomic.Bool
	w := newWorld(t, func(w *world) {
		w.fault = func(_ string, message any) {
			if _, ok := message.(messages.UnikernelStop); ok && armed.Swap(false) {
				panic("injected")
			}
		}
	})
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet", "damaged-one")))
	w.succeeds("created unikernel", ":y", create(guest("hello", "--quiet")))
	w.untilMarked(":x", ":y")
	x := w.pid(":x")
	w.overwrite("damaged-one", "damaged-too")
	armed.Store(true)
	w.until("the client that waits has its answer", func() bool {
		refusal, _ := w.ask(":x", messages.UnikernelDestroy{}).(messages.Failure)
		return strings.Contains(string(refusal.Text), "cannot understand what is stored of :x: its checksum is wrong")
	})
	armed.Store(true)
	w.until("the other one ends", func() bool {
		return w.ask(":y", messages.UnikernelDestroy{}) == messages.Payload(messages.SuccessText{Text: "destroyed unikernel"})
	})
	require.NoError(t, unix.Kill(x, 0), "it runs on")
	w.overwrite("damaged-too", "damaged-one")
	w.until("it is read, and ends", func() bool { return len(w.infos(":")) == 0 && unix.Kill(x, 0) != nil })
}

// untilMarked waits until the records say that unikernels run. No client waits for that.
func (w *world) untilMarked(names ...string) {
	w.t.Helper()
	w.until("they are marked", func() bool {
		return !slices.ContainsFunc(names, func(n string) bool { r, _ := w.record(n); return !r.Runtime.Value.Released })
	})
}

// failedCommits returns how many commits have failed.
func (w *world) failedCommits() (n int) {
	w.t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(w.config.Meter)
	families, err := registry.Gather()
	require.NoError(w.t, err)
	for _, f := range families {
		if f.GetName() == "albatross_store_commit_failures_total" {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	require.FailNow(w.t, "nobody counts commits that fail")
	return 0
}
