package actors_test

import (
	"bytes"
	"context"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/store"
)

// happened returns all events of a name.
func (w *world) happened(name string) (events []messages.Event) {
	w.t.Helper()
	for next := uint64(1); ; {
		list, after, err := w.config.DB.Events(next, math.MaxInt)
		require.NoError(w.t, err)
		if after == next {
			return events
		}
		for _, e := range list {
			if e.Event.Name.String() == name {
				events = append(events, e.Event)
			}
		}
		next = after
	}
}

// eventsOf returns all events of a name, with their causes.
func (w *world) eventsOf(name string) (texts []string) {
	w.t.Helper()
	for _, e := range w.happened(name) {
		texts = append(texts, eventText(e))
	}
	return texts
}

// usages returns what the ended runs of a name have used.
func (w *world) usages(name string) (list []messages.Option[messages.Usage]) {
	w.t.Helper()
	for _, e := range w.happened(name) {
		if e.Kind == messages.EventExited {
			list = append(list, e.Usage)
		} else {
			require.False(w.t, e.Usage.OK, "of an end only")
		}
	}
	return list
}

func eventText(e messages.Event) string {
	text := string(e.Kind)
	if e.Exit.OK {
		text += " by " + e.Exit.Value.String()
	}
	return text + ": " + string(e.Cause)
}

// requireEvents waits until a name has exactly these events.
func (w *world) requireEvents(name string, want ...string) {
	w.t.Helper()
	var events []string
	for range 2 { // no event follows
		w.until("all events of "+name+" are stored", func() bool { events = w.eventsOf(name); return len(events) >= len(want) })
		require.Equal(w.t, want, events)
		w.infos(":") // the host has finished
	}
}

func TestEventsOfCommands(t *testing.T) {
	hello := guest("hello", "--quiet")
	for title, tc := range map[string]struct {
		do   func(*world)
		want []string
	}{
		"create": {func(w *world) {
			w.succeeds("created unikernel", ":x", create(hello))
		}, []string{"created: the command create", "started: the command create"}},
		"a create that is refused": {func(w *world) {
			w.ask(":x", create(messages.Config{}))
			config := guest("hello")
			config.Image = []byte("no ELF")
			w.ask(":x", create(config))
		}, nil},
		"destroy": {func(w *world) {
			w.succeeds("created unikernel", ":x", create(hello))
			w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
		}, []string{
			"created: the command create", "started: the command create",
			"exited by signal 15: the command destroy", "destroyed: the command destroy",
		}},
		"force": {func(w *world) {
			w.succeeds("created unikernel", ":x", create(hello))
			w.succeeds("created unikernel", ":x", force(hello))
		}, []string{
			"created: the command create", "started: the command create",
			"exited by signal 15: the command create --force",
			"created: the command create --force", "started: the command create --force",
		}},
		"restart": {func(w *world) {
			w.succeeds("created unikernel", ":x", create(hello))
			w.succeeds("created unikernel", ":x", messages.UnikernelRestart{Form: messages.RestartSame})
		}, []string{
			"created: the command create", "started: the command create",
			"exited by signal 15: the command restart", "started: the command restart",
		}},
		"an exit": {func(w *world) {
			w.succeeds("created unikernel", ":x", exiting("3", messages.FailBehaviour{}))
		}, []string{
			"created: the command create", "started: the command create",
			"exited by exit 3: it ended by itself", "destroyed: exit 3 asks for no restart",
		}},
		"a kill": {func(w *world) {
			w.succeeds("created unikernel", ":x", create(hello))
			w.kill(":x")
		}, []string{
			"created: the command create", "started: the command create",
			"exited by signal 9: it ended by itself", "destroyed: signal 9 asks for no restart",
		}},
		"restarts": {func(w *world) {
			w.succeeds("created unikernel", ":x", exiting("3", messages.FailBehaviour{Restart: true}))
			w.until("it was started again", func() bool { return len(w.eventsOf(":x")) >= 5 })
			w.ask(":x", messages.UnikernelDestroy{})
			events := w.eventsOf(":x")
			require.Equal(w.t, []string{
				"created: the command create", "started: the command create",
				"exited by exit 3: it ended by itself", "restarting: exit 3 asks for a restart",
				"started: exit 3 asks for a restart",
			}, events[:5])
			require.Equal(w.t, "destroyed: the command destroy", events[len(events)-1])
			require.Equal(w.t, strings.Count(strings.Join(events, "\n"), "\nstarted"), strings.Count(strings.Join(events, "\n"), "\nexited"))
		}, nil},
		"an argument that is refused": {func(w *world) {
			config := guest("exit", "64", "unless", "--name")
			w.succeeds("created unikernel", ":x", create(config))
		}, []string{
			"created: the command create", "started: the command create",
			"exited by exit 64: it ended by itself", "restarting: exit 64 refuses the argument --name",
			"started: exit 64 refuses the argument --name",
			"exited by exit 64: it ended by itself", "destroyed: exit 64 asks for no restart",
		}},
		"an argument that cmdliner refuses": {func(w *world) {
			w.succeeds("created unikernel", ":x", create(guest("exit", "124", "unless", "--name")))
		}, []string{
			"created: the command create", "started: the command create",
			"exited by exit 124: it ended by itself", "restarting: exit 124 refuses the argument --name",
			"started: exit 124 refuses the argument --name",
			"exited by exit 124: it ended by itself", "destroyed: exit 124 asks for no restart",
		}},
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t)
			tc.do(w)
			if tc.want != nil || len(w.eventsOf(":x")) == 0 {
				w.requireEvents(":x", tc.want...)
			}
		})
	}
}

func TestEventsOfTheDaemon(t *testing.T) {
	w := newWorld(t)
	w.requireEvents(":", "daemon-started: ")
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	w.succeeds("created unikernel", ":y", create(guest("hello", "--quiet")))
	again := guest("hello", "--quiet")
	again.Fail = messages.FailBehaviour{Restart: true}
	w.succeeds("created unikernel", ":z", create(again))
	y, z := w.pid(":y"), w.pid(":z")
	w.shutdown()
	w.killAndReap(y)
	w.killAndReap(z)
	w.start()
	w.requireEvents(":", "daemon-started: ", "daemon-started: ")
	begin := []string{"created: the command create", "started: the command create"}
	w.requireEvents(":x", append(begin, "adopted: the daemon started")...)
	w.requireEvents(":y", append(begin, "exited by exit unknown: it ended while no daemon saw it", "destroyed: exit unknown asks for no restart")...)
	w.requireEvents(":z", append(begin, "exited by exit unknown: it ended while no daemon saw it",
		"restarting: exit unknown asks for a restart", "started: exit unknown asks for a restart")...)

	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	require.NoError(t, w.actors.Halt(ctx))
	w.restart()
	w.requireEvents(":x", append(begin, "adopted: the daemon started",
		"exited by signal 15: the daemon stops with its unikernels", "started: the daemon started")...)
}

// TestAStartIsToldOnce: the event comes from the daemon that gets to it, however far the one before
// has come.
func TestAStartIsToldOnce(t *testing.T) {
	x := messages.Name{Label: "x"}
	begin := []string{"created: the command create", "started: the command create"}
	for title, tc := range map[string]struct {
		runs   bool // the tender that is on record
		stored bool // its event is on record
		want   []string
	}{
		"killed when it was replaced":     {true, true, []string{"adopted: the daemon started"}},
		"killed before its event":         {true, false, []string{"started: a former daemon started it", "adopted: the daemon started"}},
		"killed when it had been stopped": {false, true, []string{"exited by exit unknown: the daemon ended while it started or replaced it", "restarting: the daemon ended while it started or replaced it", "started: the daemon ended while it started or replaced it"}},
		"killed before both":              {false, false, []string{"restarting: the daemon ended while it started or replaced it", "started: the daemon ended while it started or replaced it"}},
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t)
			w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
			pid := w.pid(":x")
			w.requireEvents(":x", begin...)
			r, _ := w.record(":x")
			w.shutdown()
			db, err := store.Open(w.dir)
			require.NoError(t, err)
			r.Runtime.Value.Released, r.Runtime.Value.StartTold = false, tc.stored
			require.NoError(t, db.Apply([]messages.Change{messages.PutRuntime{Name: x, Runtime: r.Runtime.Value}}))
			require.NoError(t, db.Close())
			if !tc.runs {
				w.killAndReap(pid)
			}
			w.start()
			w.requireEvents(":x", append(begin, tc.want...)...)
			w.until("that is on record", func() bool { r, _ := w.record(":x"); return r.Runtime.Value.StartTold })
		})
	}
}

// TestEventsOfAStartThatFails: the unikernel was on record, and is not any more.
func TestEventsOfAStartThatFails(t *testing.T) {
	gone := &sabotage{before: messages.StoreWritten{}} // the process is on record
	w := newWorld(t, withOwnPrograms, func(w *world) { w.fault = gone.at })
	gone.arm(t, func() { require.NoError(t, os.Remove(w.guests.Tenders.Builtin)) })
	refusal, ok := w.ask(":x", create(guest("hello", "--quiet"))).(messages.Failure)
	require.True(t, ok)
	w.requireEvents(":x", "created: the command create", "destroyed: it could not be started: "+string(refusal.Text))
}

// TestEventsOfARestartOfWhatHasEnded: the unikernel ends by itself while its successor is checked,
// and is gone.
func TestEventsOfARestartOfWhatHasEnded(t *testing.T) {
	checked := &sabotage{before: messages.UnikernelPrepared{}}
	w := newWorld(t, func(w *world) { w.fault = checked.at })
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	checked.arm(t, func() {
		w.kill(":x")
		w.until("its end is on record", func() bool { _, there := w.record(":x"); return !there })
	})
	w.succeeds("created unikernel", ":x", messages.UnikernelRestart{Form: messages.RestartSame})
	w.requireEvents(":x", "created: the command create", "started: the command create",
		"exited by signal 9: it ended by itself", "destroyed: signal 9 asks for no restart",
		"created: the command restart", "started: the command restart")
}

func TestEventsOfPolicies(t *testing.T) {
	w := newWorld(t)
	w.addPolicy("a:", policy(2, 64))
	w.addPolicy("a:", policy(2, 64))
	w.addPolicy("a:label", policy(3, 64))
	w.addPolicy("b:", policy(-1, 64))
	w.succeeds("removed policy", "a:", messages.PolicyRemove{})
	w.ask("a:", messages.PolicyRemove{})
	w.requireEvents("a:", "policy-added: the command add-policy", "policy-changed: the command add-policy", "policy-removed: the command remove-policy")
	w.requireEvents("a:label")
}

func TestEventsOfBlockDevices(t *testing.T) {
	w := newWorld(t, withBlocks)
	w.succeeds("added block device", ":d", messages.BlockAdd{Size: 1})
	w.ask(":d", messages.BlockAdd{Size: 1})
	require.Equal(t, success("set block device"), w.set(":d", false, bytes.NewReader([]byte("x"))))
	require.Equal(t, fails("stream exceeds size"), w.set(":d", false, bytes.NewReader(make([]byte, 2*megabyte))))
	w.dump(":d", 0)
	w.succeeds("set block device", ":d", messages.BlockOldSet{Data: []byte("y")})
	w.succeeds("removed block", ":d", messages.BlockRemove{})
	w.succeeds("added block device", ":d", messages.BlockOldAdd{Size: 1})
	w.requireEvents(":d",
		"block-created: the command create-block", "block-set: the command set-block", "block-set: the command set-block",
		"block-removed: the command destroy-block", "block-created: the command create-block")
}
