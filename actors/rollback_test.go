package actors_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// history returns the digests of the former versions of a unikernel, and what has replaced them.
func (w *world) history(name string) (digests []messages.Digest, causes []messages.Public) {
	w.t.Helper()
	for _, v := range w.control(name, messages.HistoryList{}).(messages.SuccessHistory).List {
		digests, causes = append(digests, v.Digest), append(causes, v.Cause)
		require.False(w.t, v.Until.IsZero())
		require.NotZero(w.t, v.Memory)
	}
	return digests, causes
}

// argument returns what tells the versions of these tests apart.
func (w *world) argument(name string) string {
	list := w.infos(name)
	require.Len(w.t, list, 1)
	return list[0].Info.Argv.Value[1]
}

func numbered(n string) messages.Config { return guest("hello", "--quiet", n) }

// TestARollback brings back a former version: its arguments and its image.
func TestARollback(t *testing.T) {
	w := newWorld(t, withShortTrial)
	w.succeeds("created unikernel", ":x", create(numbered("one")))
	digests, _ := w.history(":x")
	require.Empty(t, digests)
	chatty := guest("chatty", "--quiet", "two")
	w.succeeds("created unikernel", ":x", force(chatty))
	w.succeeds("created unikernel", ":x", messages.UnikernelRestart{Form: messages.RestartSame})
	w.succeeds("created unikernel", ":x", messages.UnikernelRestart{Args: messages.Some(guest("chatty", "--quiet", "three").Arguments)})
	one, _ := w.record(":x")
	require.Len(t, one.Spec.Past, 2, "a restart of the same is no other version")
	require.Equal(t, "three", w.argument(":x"))
	_, causes := w.history(":x")
	require.Equal(t, []messages.Public{"the command restart", "the command create --force"}, causes)

	w.restart()
	w.until("it is taken over", func() bool { return len(w.infos(":x")) == 1 })
	require.Equal(t, success("created unikernel"), w.control("x", messages.RollbackRequest{Number: 2}))
	require.Equal(t, "one", w.argument(":x"))
	now, _ := w.record(":x")
	require.NotEqual(t, one.Spec.Digest, now.Spec.Digest)
	require.Len(t, now.Spec.Past, 2, "what runs is no former version")
	_, causes = w.history(":x")
	require.Equal(t, "the command rollback", string(causes[0]))
	require.Equal(t, success("created unikernel"), w.control("x", messages.RollbackRequest{Number: 1}))
	require.Equal(t, "three", w.argument(":x"))
	w.untilProven(":x")
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.requireNothing()
}

// TestAFailedRollback leaves what ran before, with its history.
func TestAFailedRollback(t *testing.T) {
	w := newWorld(t, withShortTrial)
	config := theOneBefore()
	config.Memory = 48
	w.succeeds("created unikernel", ":x", create(config))
	w.succeeds("created unikernel", ":x", force(theOneBefore()))
	before := w.infos(":x")[0]
	w.untilProven(":x")
	require.Equal(t, success("added policy"), w.addPolicy(":", messages.Policy{Unikernels: 10, CPUIDs: []int{0}, Memory: 40}))
	refusal, ok := w.control("x", messages.RollbackRequest{Number: 1}).(messages.Failure)
	require.True(t, ok)
	require.Contains(t, refusal.Text, "memory")
	require.Equal(t, before, w.infos(":x")[0])
	digests, _ := w.history(":x")
	require.Len(t, digests, 1)
}

// TestAHistoryIsBounded, and so are the images that it keeps.
func TestAHistoryIsBounded(t *testing.T) {
	w := newWorld(t, withShortTrial)
	w.succeeds("created unikernel", ":x", create(guest("chatty", "--quiet", "first")))
	for _, n := range []string{"1", "2", "3", "4", "5", "6"} {
		w.succeeds("created unikernel", ":x", force(numbered(n)))
		w.untilProven(":x")
	}
	digests, _ := w.history(":x")
	require.Len(t, digests, messages.DefaultPast)
	w.until("the image of the first one is gone", func() bool { return w.files("images") == 1 })
	require.Equal(t, success("created unikernel"), w.control("x", messages.RollbackRequest{Number: 5}))
	require.Equal(t, "1", w.argument(":x"))
	require.Equal(t, failure("cannot roll back :x to version 6: it has 5 former versions, which history lists"), w.control("x", messages.RollbackRequest{Number: 6}))
	require.Equal(t, failure("cannot roll back :x to version 0: it has 5 former versions, which history lists"), w.control("x", messages.RollbackRequest{}))
	require.Equal(t, failure("cannot roll back :y: there is no such unikernel"), w.control("y", messages.RollbackRequest{Number: 1}))
	require.Equal(t, failure("cannot show the history of :y: there is no such unikernel"), w.control("y", messages.HistoryList{}))
}

// TestNoHistory: the image of what was replaced is removed where no version is to stay.
func TestNoHistory(t *testing.T) {
	w := newWorld(t, withShortTrial, func(w *world) { w.config.Versions = 0 })
	w.succeeds("created unikernel", ":x", create(guest("chatty", "--quiet", "first")))
	w.succeeds("created unikernel", ":x", force(numbered("second")))
	w.untilProven(":x")
	w.until("the image of the one before is gone", func() bool { return w.files("images") == 1 })
	digests, _ := w.history(":x")
	require.Empty(t, digests)
}

// TestAStoppedUnikernelHasAHistory, and a rollback starts it.
func TestAStoppedUnikernelHasAHistory(t *testing.T) {
	w := newWorld(t, withShortTrial)
	w.succeeds("created unikernel", ":x", create(numbered("one")))
	w.succeeds("created unikernel", ":x", force(numbered("two")))
	w.untilProven(":x")
	require.Equal(t, success("stopped unikernel"), w.control("x", messages.StopRequest{}))
	require.Equal(t, success("renamed unikernel"), w.control("x", messages.RenameRequest{To: w.name(":z")}))
	require.Equal(t, success("created unikernel"), w.control("z", messages.RollbackRequest{Number: 1}))
	require.Equal(t, "one", w.argument(":z"))
	digests, _ := w.history(":z")
	require.Len(t, digests, 1)
}

// TestWhoAskedAndHowItEnded are on record with each version, in every way in which there is another one.
func TestWhoAskedAndHowItEnded(t *testing.T) {
	w := newWorld(t, withShortTrial)
	asks := func(behalf string, command messages.Command) {
		t.Helper()
		c := w.connect(messages.AtControl)
		defer c.Close()
		c.in <- messages.Wire{Header: messages.Header{Version: messages.Version5, Name: w.name(":x")}, Payload: command, For: behalf}
		require.Equal(t, success("created unikernel"), c.receive().Payload)
		w.untilProven(":x")
	}
	deploy := func(config messages.Config, force bool) messages.Command { return deployFor("", config, force) }
	asks("one", deploy(numbered("one"), false))
	require.Equal(t, success("stopped unikernel"), w.control("x", messages.StopRequest{}))
	asks(strings.Repeat("ü", messages.MaxFor), deploy(numbered("two"), true))
	asks("nobody", messages.UnikernelDeploy{Create: force(numbered("three"))})
	require.Equal(t, success("stopped unikernel"), w.control("x", messages.StopRequest{}))
	asks("starter", messages.StartRequest{})
	asks("", messages.RollbackRequest{Number: 1})
	w.restart()
	w.until("it is taken over", func() bool { return len(w.infos(":x")) == 1 })
	answer := w.control("x", messages.HistoryList{}).(messages.SuccessHistory)
	by := func(behalf string) messages.Option[messages.Asker] {
		return messages.Some(messages.Asker{UID: w.user.Load(), For: behalf})
	}
	require.Equal(t, by(""), answer.Now.Value.By)
	require.Zero(t, answer.Now.Value.Until)
	require.Len(t, answer.List, 2)
	require.Equal(t, by("nobody"), answer.List[0].By, "a start of the same is no other version")
	require.False(t, answer.List[0].Exit.OK, "it ran until it was replaced")
	require.Equal(t, by("one"), answer.List[1].By)
	require.Equal(t, messages.Some(messages.Exit{Known: true, Signal: 15}), answer.List[1].Exit)
	r, _ := w.record(":x")
	require.Equal(t, by(""), r.Spec.By)
}

// TestALongNameOfAnAsker is cut off where it remains text.
func TestALongNameOfAnAsker(t *testing.T) {
	long := messages.CutFor(strings.Repeat("ü", messages.MaxFor))
	require.LessOrEqual(t, len(long), messages.MaxFor)
	require.True(t, utf8.ValidString(long))
	require.True(t, strings.HasSuffix(long, "ü…"))
	require.Equal(t, "a\uFFFDb", messages.CutFor("a\xffb"))
}
