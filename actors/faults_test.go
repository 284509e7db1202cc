package actors_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
)

// TestAPanicAnywhereIsAnsweredAndHealed makes one actor fail once, before or after each message
// that it handles in the course of a few commands. It checks that every command is answered, that
// each answer is true, and that the daemon works as before afterwards.
func TestAPanicAnywhereIsAnsweredAndHealed(t *testing.T) {
	for title, tc := range map[string]struct {
		actors   []string
		commands func(*world) // each is answered, with a success or a failure that is true
		after    func(*world) // checks that everything works
	}{
		"unikernels": {[]string{"host", "unikernel", "console", "store"}, unikernelCommands, afterUnikernels},
		"comebacks":  {[]string{"host", "unikernel", "store"}, comebackCommands, afterUnikernels},
		"stops":      {[]string{"host", "unikernel", "store"}, stopCommands, afterUnikernels},
		"renames":    {[]string{"host", "unikernel", "store"}, renameCommands, afterRenames},
		"consoles":   {[]string{"host", "console"}, consoleCommands, afterConsoles},
		"blocks":     {[]string{"host", "block"}, blockCommands, afterBlocks},
		"policies":   {[]string{"host", "store"}, policyCommands, afterPolicies},
		"networks":   {[]string{"host", "network", "store"}, networkCommands, afterNetworks},
		"owners":     {[]string{"host", "unikernel", "store"}, ownerCommands, afterOwners},
		"events":     {[]string{"events", "store", "host"}, eventCommands, afterEvents},
		"statistics": {[]string{"host", "stats"}, statsCommands, afterStats},
	} {
		for _, actor := range tc.actors {
			for when, fault := range map[string]supervise.Fault{"before": supervise.CrashBefore, "after": supervise.CrashAfter} {
				t.Run(title+"/"+actor+"/"+when, func(t *testing.T) {
					for n := 1; n <= mostMessages && failsOnceAt(t, fault, actor, n, tc.commands, tc.after); n++ {
					}
				})
			}
		}
	}
}

// mostMessages is more than any actor handles in the course of the commands.
const mostMessages = 60

// failsOnceAt runs commands with a failure before or after the nth message of an actor, and reports
// whether the actor has handled that many.
func failsOnceAt(t *testing.T, fault supervise.Fault, actor string, n int, commands, after func(*world)) bool {
	reached := true // assumed of a test that -run has not selected
	t.Run(fmt.Sprint(n), func(t *testing.T) {
		faults := crashOnce(fault, actor, n)
		w := newWorld(t, withBlocks, withNetworks, func(w *world) { w.faults = faults })
		commands(w)
		reached = faults.Injected() > 0
		faults.Set()
		after(w)
	})
	return reached
}

func unikernelCommands(w *world) {
	w.t.Helper()
	hello := func(text string) messages.Config { return guest("hello", "--quiet", text) }
	if w.ask(":x", create(hello("one"))) == success("created unikernel") {
		w.pid(":x")
	}
	if w.ask(":x", force(hello("two"))) == success("created unikernel") {
		w.pid(":x")
	}
	w.ask(":x", messages.UnikernelRestart{Form: messages.RestartSame})
	c := w.connect(messages.AtConsole)
	c.send(":x", messages.ConsoleSubscribe{Count: messages.Some(1)})
	c.receive()
	c.Close()
	if w.ask(":x", messages.UnikernelDestroy{}) == success("destroyed unikernel") {
		_, there := w.record(":x")
		require.False(w.t, there)
	}
}

// comebackCommands replace a unikernel by some that refuse their image.
func comebackCommands(w *world) {
	w.t.Helper()
	if w.ask(":x", create(guest("hello", "--quiet", "one"))) != success("created unikernel") {
		return
	}
	w.ask(":x", force(refusing()))
	w.until("the one before runs", func() bool {
		r, there := w.record(":x")
		require.True(w.t, there)
		return len(r.Spec.Arguments.Argv.Value) == 2 && r.Runtime.OK // the store gets the release only once, and may lose it
	})
}

// stopCommands stop and start a unikernel, and destroy it while it is stopped.
func stopCommands(w *world) {
	w.t.Helper()
	if w.ask(":x", create(guest("hello", "--quiet", "one"))) == success("created unikernel") {
		w.pid(":x")
	}
	if w.control("x", messages.StopRequest{}) == success("stopped unikernel") {
		r, _ := w.record(":x")
		require.True(w.t, r.Spec.IsStopped())
		require.False(w.t, r.Runtime.OK)
		if w.control("x", messages.StartRequest{}) == success("created unikernel") {
			w.pid(":x")
		}
	}
	w.control("x", messages.StopRequest{})
	if w.ask(":x", messages.UnikernelDestroy{}) == success("destroyed unikernel") {
		_, there := w.record(":x")
		require.False(w.t, there)
	}
}

func renameCommands(w *world) {
	w.t.Helper()
	w.ask(":x", create(guest("hello", "--quiet", "one")))
	w.control("x", messages.StopRequest{})
	if w.control("x", messages.RenameRequest{To: w.name(":y")}) == success("renamed unikernel") {
		_, there := w.record(":x")
		require.False(w.t, there)
		r, _ := w.record(":y")
		require.True(w.t, r.Spec.IsStopped())
	}
	w.control("y", messages.StartRequest{})
}

// afterRenames checks that there is one unikernel at most, and that both names can be used.
func afterRenames(w *world) {
	state, err := w.config.DB.Load()
	require.NoError(w.t, err)
	require.LessOrEqual(w.t, len(state.Unikernels), 1)
	w.untilDestroyed(":y")
	afterUnikernels(w)
}

// untilDestroyed destroys whichever unikernel is there. It may have ended, and that may not be stored yet.
func (w *world) untilDestroyed(name string) {
	w.t.Helper()
	w.until("it is destroyed", func() bool {
		answer := w.ask(name, messages.UnikernelDestroy{})
		_, destroyed := answer.(messages.SuccessText)
		return destroyed || answer == fails("destroy: not found")
	})
}

func afterUnikernels(w *world) {
	w.untilDestroyed(":x")
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet", "after")))
	w.pid(":x")
	w.followUntil(":x", "hello from albatross: --name=x --quiet after")
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.requireNothing()
}

func consoleCommands(w *world) {
	w.t.Helper()
	link := w.connect(messages.AtConsole)
	defer link.Close()
	w.ask(":", messages.UnikernelInfo{Form: 6}) // the host has removed unknown FIFOs
	require.NoError(w.t, mkfifo(w.fifo(":x")))
	defer os.Remove(w.fifo(":x")) // a host that fails may have removed it
	link.ask(":x", add(3))
	if x, err := os.OpenFile(w.fifo(":x"), os.O_RDWR, 0); err == nil {
		defer x.Close()
		_, err := x.WriteString("before\n")
		require.NoError(w.t, err)
	}
	c := w.connect(messages.AtConsole)
	c.ask(":x", messages.ConsoleSubscribe{Count: messages.Some(1)})
	c.Close()
	link.ask(":x", add(3))
	w.connect(messages.AtConsole).ask(":", messages.ConsoleListInactive{})
}

func afterConsoles(w *world) {
	link := w.connect(messages.AtConsole)
	defer link.Close()
	w.until("it can be read for another daemon", func() bool {
		return mkfifo(w.fifo(":x")) == nil && link.ask(":x", add(3)) == messages.SuccessEmpty{}
	})
	x := w.runForeign(":x")
	x.print("after\n")
	w.followUntil(":x", "after")
	x.end()
	w.untilInactive(":", ":x")
	w.until("its console is left, and no other", func() bool { return w.consoles() == 1 })
}

func blockCommands(w *world) {
	w.t.Helper()
	w.ask(":d", messages.BlockAdd{Size: 1})
	contents := bytes.Repeat([]byte("x"), megabyte)
	set := w.set(":d", false, bytes.NewReader(contents))
	if dump, complete := w.tryDump(":d"); complete && set == success("set block device") {
		require.Equal(w.t, contents, dump)
	}
	w.ask(":e", messages.BlockOldAdd{Size: 1})
	if w.ask(":e", messages.BlockRemove{}) == success("removed block") {
		require.NoFileExists(w.t, filepath.Join(w.dir, "block", ":e"))
	}
}

func afterBlocks(w *world) {
	for _, name := range []string{":d", ":e"} {
		w.until("nobody uses it", func() bool { l := w.blocks(name); return len(l) == 0 || !l[0].Active })
		w.ask(name, messages.BlockRemove{})
		w.succeeds("added block device", name, messages.BlockAdd{Size: 1})
	}
	require.Equal(w.t, success("set block device"), w.set(":d", false, strings.NewReader("after")))
	require.Equal(w.t, padded("after", 1), w.dump(":d", 0))
	w.requireFiles(":d", ":e")
}

func policyCommands(w *world) {
	w.t.Helper()
	w.addPolicy("a:", policy(2, 64))
	w.ask("a:", messages.PolicyRemove{})
}

func afterPolicies(w *world) {
	w.until("a policy can be added", func() bool {
		answer := w.addPolicy("a:", policy(2, 64))
		return answer == success("added policy") || answer == success("no modification of policy")
	})
	w.restart()
	require.Equal(w.t, map[string]messages.Policy{":": policy(2, 64)}, w.policies("a:"))
}

func networkCommands(w *world) {
	w.t.Helper()
	if w.control("net", messages.NetworkCreate{}) == success("created network") {
		require.Equal(w.t, []string{":net"}, w.networks().names())
	}
	w.networks().fails("up", errors.New("no bridge"))
	w.control("broken", messages.NetworkCreate{})
	w.networks().fails("up", nil)
	if w.control("net", messages.NetworkRemove{}) == success("removed network") {
		require.NotContains(w.t, w.networks().names(), ":net")
	}
}

// afterNetworks checks that what is on record is there, and nothing else.
func afterNetworks(w *world) {
	for _, name := range []string{"net", "broken"} {
		w.until("it can be made and removed", func() bool {
			answer := w.control(name, messages.NetworkRemove{})
			return answer == success("removed network") || answer == failure("cannot remove network :"+name+": there is none")
		})
		require.Equal(w.t, success("created network"), w.control(name, messages.NetworkCreate{}))
	}
	w.until("both are up", func() bool { return slices.Equal([]string{":broken", ":net"}, w.networks().names()) })
	require.Equal(w.t, success("removed network"), w.control("broken", messages.NetworkRemove{}))
	w.restart()
	require.Len(w.t, w.listed(":"), 1)
	require.Equal(w.t, []string{":net"}, w.networks().names())
}

func statsCommands(w *world) {
	w.t.Helper()
	w.ask(":x", create(guest("hello", "--quiet")))
	for _, command := range []messages.Command{
		messages.StatsSubscribe{}, messages.StatsAdd{PID: os.Getpid()}, messages.StatsRemove{}, messages.StatsInitial{},
	} {
		endpoint := messages.AtStats
		if command == (messages.StatsInitial{}) {
			endpoint = messages.AtVMMD
		}
		c := w.connect(endpoint)
		c.send(":p", command)
		c.receive()
		w.snapshot()
		c.Close()
	}
	w.ask(":x", messages.UnikernelDestroy{})
}

func afterStats(w *world) {
	w.ask(":x", messages.UnikernelDestroy{})
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	c := w.subscribe(":x")
	require.Contains(w.t, c.statistics(1), ":x")
	require.NotEmpty(w.t, w.snapshot().Samples)
}

// eventCommands follow events while some happen. A follower gets all of them, or loses its
// connection.
func eventCommands(w *world) {
	w.t.Helper()
	c := w.connect(messages.AtControl)
	defer c.Close()
	c.send(":", messages.EventsSubscribe{Since: always})
	if c.receive().Payload != messages.Payload(messages.SuccessEvents{}) {
		return
	}
	w.addPolicy("a:", policy(2, 64))
	w.ask("a:", messages.PolicyRemove{})
	w.until("all events have come", func() bool {
		number := uint64(0)
		for number < w.lastEvent() {
			select {
			case m := <-c.out:
				if e, ok := m.Payload.(messages.DataEvent); ok {
					require.Equal(w.t, number+1, e.Number)
					number = e.Number
				}
			case <-c.closed:
				return true
			case <-time.After(deadline):
				return false
			}
		}
		return true
	})
}

// afterEvents checks that events reach a follower.
func afterEvents(w *world) {
	afterPolicies(w)
	r := newReader(w.followEvents(":", always))
	w.ask("a:", messages.PolicyRemove{})
	r.readTo(w.lastEvent())
	require.Equal(w.t, uint64(1), r.numbers[0])
}

func success(text string) messages.Payload { return messages.SuccessText{Text: messages.Public(text)} }

// crashOnce injects a fault into an actor of a kind, at the nth message of some types, or of any.
func crashOnce(fault supervise.Fault, kind string, n int, of ...any) *supervise.Faults {
	faults := supervise.NewFaults(0, nil)
	faults.Set(supervise.Rule{Fault: fault, Kind: kind, Messages: of, Nth: n})
	return faults
}

// TestAConsoleThatWasNotToldOfAnEnd reads what the next run prints all the same: that run has a
// FIFO of its own.
func TestAConsoleThatWasNotToldOfAnEnd(t *testing.T) {
	faults := crashOnce(supervise.Drop, "console", 1, messages.ConsoleClose{})
	w := newWorld(t, func(w *world) { w.faults = faults })
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet", "one")))
	w.lines(":x", 1)
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	require.Equal(t, 1, faults.Injected())
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet", "two")))
	w.followUntil(":x", "hello from albatross: --name=x --quiet two")
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
}

// TestADestroyWhoseUnikernelCannotBeRead: the client reads that it is carried out later, as it is.
func TestADestroyWhoseUnikernelCannotBeRead(t *testing.T) {
	var broken, unreadable atomic.Bool
	w := newWorld(t, func(w *world) {
		w.fault = func(_ string, message any) {
			switch m := message.(type) {
			case messages.UnikernelStop:
				if broken.CompareAndSwap(true, false) {
					panic("a fault of this test")
				}
			case messages.StoreLoad:
				if m.Only.OK && unreadable.Load() {
					panic("a fault of this test")
				}
			}
		}
	})
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	broken.Store(true)
	unreadable.Store(true)
	refusal, refused := w.ask(":x", messages.UnikernelDestroy{}).(messages.Failure)
	require.True(t, refused)
	require.Contains(t, refusal.Text, "what is stored of the unikernel cannot be read: ")
	require.Contains(t, refusal.Text, "this is tried again until it can")
	unreadable.Store(false)
	w.until("it is destroyed", func() bool { return slices.Contains(w.eventsOf(":x"), "destroyed: the command destroy") })
}
