package actors_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/store"
	"albatross/test/netns"
)

// withLongTrial sets a trial that no test outlasts.
func withLongTrial(w *world) { w.config.Trial = time.Hour }

// withShortTrial sets a trial that is over at once.
func withShortTrial(w *world) { w.config.Trial = 0 }

// untilProven waits until the former of a unikernel is no longer on record.
func (w *world) untilProven(name string) {
	w.t.Helper()
	w.until("its trial is over", func() bool {
		r, there := w.record(name)
		return there && r.Spec.Former == nil
	})
}

// theOneBefore returns the configuration of the former, with all that it should have again.
func theOneBefore() messages.Config {
	config := guest("hello", "--quiet", "before")
	config.Memory = 32
	config.Fail = messages.FailBehaviour{Restart: true, Codes: []int{9}}
	return config
}

// requireBefore checks that the former runs again as it did.
func (w *world) requireBefore(name string, before messages.NamedInfo) {
	w.t.Helper()
	w.until("the one before runs again", func() bool {
		list := w.infos(name)
		return len(list) == 1 && list[0].Info.Started.After(before.Info.Started) && list[0].Info.Memory == before.Info.Memory
	})
	after := w.infos(name)[0]
	after.Info.Started = before.Info.Started
	require.Equal(w.t, before, after)
	w.until("that is on record", func() bool { r, _ := w.record(name); return r.Runtime.Value.Released })
	w.pid(name)
}

// requireWaits checks that a unikernel is listed as waiting for its start.
func (w *world) requireWaits(name string) {
	w.t.Helper()
	ends := w.ends(name)
	require.Len(w.t, ends, 1)
	require.Contains(w.t, ends[0].Wait.Value.Cause, "it could not be started: ")
}

// TestWhatWasReplacedComesBack where its successor cannot be started, at whichever step the start
// fails.
func TestWhatWasReplacedComesBack(t *testing.T) {
	config := guest("several")
	config.Networks = []messages.Network{{Name: "service", Bridge: messages.Some(bridge)}, {Name: "management", Bridge: messages.Some("br1")}}
	config.Blocks = []messages.BlockDevice{{Name: "storage"}}
	const again = "; the one before was started again"
	const later = "; the one before waits to be started again: it could not be started: "
	for step, tc := range map[string]struct {
		before  any // the message that is handled just after the machine breaks
		broken  func(*world)
		says    string
		outcome string
	}{
		"FIFO":       {messages.UnikernelStart{}, func(w *world) { w.hide(w.guests.FIFODir) }, "cannot create console", later},
		"console":    {messages.ConsoleOpen{}, func(w *world) { require.NoError(w.t, os.Remove(filepath.Join(w.guests.FIFODir, ":x"))) }, "cannot open console", again},
		"cgroup":     {messages.ConsoleOpen{}, func(w *world) { w.breakCgroups() }, "cannot make cgroup :x", later},
		"first tap":  {messages.ConsoleOpen{}, func(w *world) { w.deleteBridge(bridge) }, "cannot make a tap on bridge br0", again},
		"second tap": {messages.ConsoleOpen{}, func(w *world) { w.deleteBridge("br1") }, "cannot make a tap on bridge br1", again},
		"process":    {messages.ConsoleOpen{}, func(w *world) { w.hide(w.guests.Launcher[0]) }, "cannot execute", later},
		"exec":       {"unikernel.launched", func(w *world) { w.hide(w.guests.Tenders.Builtin) }, "cannot execute", later},
		"store":      {"unikernel.launched", nil, "internal error: the daemon failed", again},
	} {
		t.Run(step, func(t *testing.T) {
			sabotage, store := &sabotage{before: tc.before}, &failFirst{}
			if tc.broken == nil {
				tc.broken = func(*world) { store.arm(t, map[string]int{"messages.StoreWrite": 1}) }
			}
			w := newWorld(t, withCgroups, withBlocks, withOwnPrograms, func(w *world) {
				w.makeBridge(bridge)
				w.makeBridge("br1")
				w.config.RootPolicy.Bridges = []string{bridge, "br1"}
				w.fault = func(actor string, message any) {
					sabotage.at(actor, message)
					store.at(actor, message)
				}
			})
			w.succeeds("added block device", ":storage", messages.BlockAdd{Size: 1})
			w.succeeds("created unikernel", ":x", create(theOneBefore()))
			before := w.infos(":x")[0]
			w.requireEvents(":x", "created: the command create", "started: the command create") // no other write follows
			sabotage.arm(t, func() { tc.broken(w) })

			refusal, ok := w.ask(":x", force(config)).(messages.Failure)
			require.True(t, ok)
			require.Contains(t, refusal.Text, tc.says)
			require.Contains(t, refusal.Text, tc.outcome)
			if tc.outcome == later {
				w.requireWaits(":x")
			}
			w.repair()
			w.requireBefore(":x", before)
			require.False(t, w.blocks(":storage")[0].Active)
			require.Empty(t, netns.Ports(t, bridge))
			require.Empty(t, netns.Ports(t, "br1"))
			w.until("only its image is left", func() bool { return w.files("images") == 1 })

			all := theOneBefore()
			all.Memory = w.config.RootPolicy.Memory
			w.succeeds("created unikernel", ":x", force(all))
			w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
			w.requireNothing()
		})
	}
}

// TestAnIntruderInItsCgroup: the intruder is in the way of the successor and of the former. Both
// wait several times until it has ended.
func TestAnIntruderInItsCgroup(t *testing.T) {
	w := newWorld(t, withCgroups)
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	before := w.infos(":x")[0]
	w.intrude(":x")
	c := w.connect(messages.AtVMMD)
	c.send(":x", force(guest("hello", "--quiet", "next")))
	refusal, ok := c.receiveWithin(6 * deadline).Payload.(messages.Failure)
	require.True(t, ok)
	require.Contains(t, refusal.Text, "cannot make cgroup :x: process ")
	require.Contains(t, refusal.Text, "; the one before waits to be started again: it could not be started: cannot make cgroup :x: process ")
	w.requireWaits(":x")
	w.repair()
	w.requireBefore(":x", before)
}

// files returns how many files a directory of the daemon has.
func (w *world) files(dir string) int {
	entries, err := os.ReadDir(filepath.Join(w.dir, dir))
	require.NoError(w.t, err)
	return len(entries)
}

// TestEventsOfAComeback where the successor cannot be started: the events show what was stopped for
// it, and why it is started again.
func TestEventsOfAComeback(t *testing.T) {
	for title, tc := range map[string]struct {
		command messages.Command
		before  any // the message that is handled just after the tender vanishes
		created []string
	}{
		"before it is recorded":  {force(guest("hello", "--quiet", "next")), messages.ConsoleOpen{}, nil},
		"when it is recorded":    {force(guest("hello", "--quiet", "next")), "unikernel.launched", []string{"created: the command create --force"}},
		"a restart":              {messages.UnikernelRestart{Form: messages.RestartSame}, messages.ConsoleOpen{}, nil},
		"a restart, as recorded": {messages.UnikernelRestart{Form: messages.RestartSame}, "unikernel.launched", nil},
	} {
		t.Run(title, func(t *testing.T) {
			sabotage := &sabotage{before: tc.before}
			w := newWorld(t, withOwnPrograms, func(w *world) { w.fault = sabotage.at })
			w.succeeds("created unikernel", ":x", create(theOneBefore()))
			before := w.infos(":x")[0]
			sabotage.arm(t, func() { w.hide(w.guests.Tenders.Builtin); w.hide(w.guests.Launcher[0]) })
			refusal, ok := w.ask(":x", tc.command).(messages.Failure)
			require.True(t, ok)
			w.repair()
			w.requireBefore(":x", before)
			cause := w.eventsOf(":x")[3+len(tc.created)]
			require.Contains(t, cause, "restarting: what was to replace it could not be started: cannot start ")
			require.Contains(t, refusal.Text, "cannot start ")
			want := append([]string{
				"created: the command create", "started: the command create",
				fmt.Sprintf("exited by signal 15: the command %s", commandName(tc.command)),
			}, tc.created...)
			require.Equal(t, want, w.eventsOf(":x")[:len(want)])
		})
	}
}

func commandName(command messages.Command) string {
	if _, restart := command.(messages.UnikernelRestart); restart {
		return "restart"
	}
	return "create --force"
}

// TestABridgeThatIsFull: the failure appears only when a tap is made.
func TestABridgeThatIsFull(t *testing.T) {
	netns.FullBridge(t, bridge)
	w := newWorld(t, func(w *world) { w.config.RootPolicy.Bridges = []string{bridge} })
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	before := w.infos(":x")[0]
	refusal, ok := w.ask(":x", force(echo())).(messages.Failure)
	require.True(t, ok)
	require.Contains(t, refusal.Text, "cannot make a tap on bridge br0")
	require.Contains(t, refusal.Text, "; the one before was started again")
	w.requireBefore(":x", before)
}

// refusing returns a guest that exits as a tender does that refuses its image.
func refusing() messages.Config {
	config := guest("exit", "1")
	config.AddName = false
	return config
}

// TestARefusalBringsBackTheOneBefore: no check has foreseen the refusal.
func TestARefusalBringsBackTheOneBefore(t *testing.T) {
	w := newWorld(t, withLongTrial)
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	before := w.infos(":x")[0]
	w.succeeds("created unikernel", ":x", force(refusing()))
	w.requireBefore(":x", before)
	w.requireEvents(":x", "created: the command create", "started: the command create",
		"exited by signal 15: the command create --force",
		"created: the command create --force", "started: the command create --force",
		"exited by exit 1: it ended by itself", "restarting: what had replaced it refused to run: exit 1",
		"started: what had replaced it refused to run: exit 1")
	w.until("only its image is left", func() bool { return w.files("images") == 1 })
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.requireNothing()
}

// TestARefusalOfItsName does not count: only the exit without the name does.
func TestARefusalOfItsName(t *testing.T) {
	w := newWorld(t, withLongTrial)
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	before := w.infos(":x")[0]
	w.succeeds("created unikernel", ":x", force(guest("exit", "1", "0", "refuse-name")))
	w.requireBefore(":x", before)
}

// TestOtherEndsBringNothingBack: a unikernel that has run, or was stopped, has not been refused.
func TestOtherEndsBringNothingBack(t *testing.T) {
	for title, end := range map[string]func(*world){
		"exit 0":   func(w *world) { w.succeeds("created unikernel", ":x", force(guest("exit", "0"))) },
		"an abort": func(w *world) { w.succeeds("created unikernel", ":x", force(guest("abort"))) },
		"a destroy at once": func(w *world) {
			w.succeeds("created unikernel", ":x", force(guest("hello")))
			w.ask(":x", messages.UnikernelDestroy{})
		},
		"nothing was before": func(w *world) {
			w.ask(":x", messages.UnikernelDestroy{})
			w.succeeds("created unikernel", ":x", force(refusing()))
		},
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t, withLongTrial)
			w.succeeds("created unikernel", ":x", create(theOneBefore()))
			end(w)
			w.until("it is gone", func() bool { _, there := w.record(":x"); return !there })
			w.requireNothing()
		})
	}
}

// TestATrialEnds: a unikernel that exits with 1 after its trial does not bring back its former.
func TestATrialEnds(t *testing.T) {
	w := newWorld(t, withShortTrial, tenderScript(t, "while ! [ -e $0.end ]; do sleep 0.02; done; exit 1\n"))
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	other := guest("exit")
	other.Argv = theOneBefore().Argv
	w.succeeds("created unikernel", ":x", force(other))
	w.untilProven(":x")
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "solo5-spt.end"), nil, 0o600))
	w.until("it is gone", func() bool { _, there := w.record(":x"); return !there })
	w.requireNothing()
}

// TestASecondSuccessorInATrial: what comes back is the unikernel that was replaced last.
func TestASecondSuccessorInATrial(t *testing.T) {
	w := newWorld(t, withLongTrial)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet", "first")))
	w.succeeds("created unikernel", ":x", force(theOneBefore()))
	before := w.infos(":x")[0]
	w.succeeds("created unikernel", ":x", force(refusing()))
	w.requireBefore(":x", before)
	r, _ := w.record(":x")
	require.Nil(t, r.Spec.Former)
	w.succeeds("created unikernel", ":x", messages.UnikernelRestart{Form: messages.RestartSame})
	r, _ = w.record(":x")
	require.Equal(t, theOneBefore().Argv, r.Spec.Former.Spec.Arguments.Argv)
	require.Nil(t, r.Spec.Former.Spec.Former)
}

// TestARefusalWhileASuccessorIsChecked: the successor then replaces the former.
func TestARefusalWhileASuccessorIsChecked(t *testing.T) {
	checked := &sabotage{before: messages.UnikernelPrepare{}}
	w := newWorld(t, withLongTrial, tenderScript(t, "case \"$*\" in *refuse*) while ! [ -e $0.end ]; do sleep 0.02; done; exit 1;; esac; exec sleep 1000\n"),
		func(w *world) { w.fault = checked.at })
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	w.succeeds("created unikernel", ":x", force(guest("hello", "refuse")))
	checked.arm(t, func() {
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, "solo5-spt.end"), nil, 0o600))
		w.until("it has ended", func() bool { return len(w.eventsOf(":x")) >= 6 })
	})
	w.succeeds("created unikernel", ":x", force(guest("hello", "third")))
	require.Equal(t, []string{"third"}, w.infos(":x")[0].Info.Argv.Value)
	w.until("all the others are gone", func() bool { r, _ := w.record(":x"); return r.Runtime.Value.Released })
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.requireNothing()
}

// TestAComebackOutlivesTheDaemon, whichever part of a trial the daemon has not seen.
func TestAComebackOutlivesTheDaemon(t *testing.T) {
	for title, ended := range map[string]bool{"while it runs": false, "while no daemon is there": true} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t, withLongTrial)
			w.succeeds("created unikernel", ":x", create(theOneBefore()))
			before := w.infos(":x")[0]
			w.succeeds("created unikernel", ":x", force(guest("chatty", "10")))
			r, _ := w.record(":x")
			require.NotNil(t, r.Spec.Former, "it is on trial")
			w.shutdown()
			if ended {
				w.killAndReap(r.Runtime.Value.Process.PID)
			} else {
				w.config.Trial = 0
			}
			w.start()
			if ended {
				w.requireBefore(":x", before)
				return
			}
			w.untilProven(":x")
			require.Equal(t, []string{"10"}, w.infos(":x")[0].Info.Argv.Value)
		})
	}
}

// TestATrialEndsWhereTheClockWasSetBack: by that clock, what runs will be started in some hours.
func TestATrialEndsWhereTheClockWasSetBack(t *testing.T) {
	w := newWorld(t, withLongTrial)
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	w.succeeds("created unikernel", ":x", force(guest("hello", "--quiet", "other")))
	r, _ := w.record(":x")
	require.NotNil(t, r.Spec.Former, "it is on trial")
	w.shutdown()
	db, err := store.Open(w.dir)
	require.NoError(t, err)
	r.Runtime.Value.StartedMillis += (6 * time.Hour).Milliseconds()
	require.NoError(t, db.Apply([]messages.Change{messages.PutRuntime{Name: r.Name, Runtime: r.Runtime.Value}}))
	require.NoError(t, db.Close())
	withShortTrial(w)
	w.start()
	w.untilProven(":x")
}

// TestWhatHasBeenGivenToSomebodyElse: a comeback does not take it away again.
func TestWhatHasBeenGivenToSomebodyElse(t *testing.T) {
	stopped, ended := &sabotage{before: messages.UnikernelGone{}}, &sabotage{before: "unikernel.exited"}
	w := newWorld(t, withLongTrial, func(w *world) {
		w.fault = func(actor string, message any) {
			stopped.at(actor, message)
			ended.at(actor, message)
		}
	})
	w.succeeds("created unikernel", ":x", create(theOneBefore()))
	other := guest("hello", "--quiet")
	other.Memory = w.config.RootPolicy.Memory - 16 // the successor has these 16 MB
	stopped.arm(t, func() {
		ended.arm(t, func() { w.succeeds("created unikernel", ":other", create(other)) })
	})
	w.succeeds("created unikernel", ":x", force(refusing()))
	w.until("it is gone", func() bool { _, there := w.record(":x"); return !there })
	events := w.eventsOf(":x")
	require.Equal(t, "destroyed: exit 1 asks for no restart; the one before cannot come back: "+
		"maximum allowed memory (256, used 240) would be exceeded (requesting 32)", events[len(events)-1])
	w.succeeds("destroyed unikernel", ":other", messages.UnikernelDestroy{})
	w.requireNothing()
}

// TestAnAutomaticRestartThatCannotBe is tried again until it succeeds, and the unikernel is listed
// as waiting meanwhile.
func TestAnAutomaticRestartThatCannotBe(t *testing.T) {
	for step, broken := range map[string]func(*world){
		"check": func(w *world) { w.deleteBridge(bridge) },
		"FIFO":  func(w *world) { w.hide(w.guests.FIFODir) },
		"exec":  func(w *world) { w.hide(w.guests.Launcher[0]) },
	} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, withOwnPrograms, func(w *world) {
				w.makeBridge(bridge)
				w.config.RootPolicy.Bridges = []string{bridge}
			})
			config := echo()
			config.Fail = messages.FailBehaviour{Restart: true}
			w.succeeds("created unikernel", ":x", create(config))
			pid := w.pid(":x")
			w.shutdown()
			w.killAndReap(pid)
			broken(w)
			w.start()
			w.until("it has failed twice", func() bool { return len(w.eventsOf(":x")) >= 6 })
			require.Contains(t, w.eventsOf(":x")[5], "restarting: it could not be started: ")
			w.requireWaits(":x")
			w.repair()
			w.until("it runs", func() bool { r, _ := w.record(":x"); return r.Runtime.OK && r.Runtime.Value.Released })
		})
	}
}

// TestDestroyInATrialThatIsCutOff: the daemon dies while it destroys a unikernel on trial. The
// former does not come back.
func TestDestroyInATrialThatIsCutOff(t *testing.T) {
	w := newWorld(t, withLongTrial, tenderScript(t, "case \"$*\" in *two*) trap '' TERM;; esac\n"+forEver),
		func(w *world) { w.config.Grace = time.Hour })
	w.succeeds("created unikernel", ":x", create(guest("hello", "one")))
	w.lines(":x", 1) // it can print before it is replaced
	w.succeeds("created unikernel", ":x", force(guest("hello", "two")))
	w.lines(":x", 2)
	pid := w.pid(":x")
	c := w.connect(messages.AtVMMD)
	c.send(":x", messages.UnikernelDestroy{})
	w.until("it is on record that it is destroyed", func() bool {
		r, _ := w.record(":x")
		return r.Spec.Former == nil
	})
	c.Close()
	w.shutdown()
	w.killAndReap(pid)
	w.start()
	w.until("it is gone", func() bool { _, there := w.record(":x"); return !there })
	w.requireNothing()
}
