package host

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

var otherName = messages.Name{Path: "d", Label: "x"}

// requireRenamed checks that the unikernel with a tag is stopped under the other name, and that there is
// nothing under the former one.
func (s *simulation) requireRenamed(tag string) {
	time.Sleep(time.Minute)
	s.look(func() {
		require.NotContains(s.t, s.records, theName)
		require.True(s.t, s.records[otherName].Spec.IsStopped())
		require.Equal(s.t, tag, tagOf(s.records[otherName].Spec))
		require.False(s.t, s.newest.ledger.Holds(theName))
		require.True(s.t, s.newest.ledger.Holds(otherName))
		require.Empty(s.t, s.newest.renames)
	})
}

// stops creates a unikernel and stops it.
func (s *simulation) stops(tag string) {
	s.creates(tag)
	s.does(messages.StopRequest{})
}

// TestARename: from then on, each name is on its own.
func TestARename(t *testing.T) {
	for what, then := range map[string]func(s *simulation){"same daemon": func(*simulation) {}, "kill": func(s *simulation) { s.kill(); s.start() }} {
		t.Run(what, func(t *testing.T) {
			simulate(t, func(s *simulation) {
				s.stops("first")
				s.does(messages.RenameRequest{To: otherName})
				then(s)
				s.requireRenamed("first")
				s.creates("second")
				s.ask(otherName, messages.StartRequest{}, "")
				time.Sleep(time.Minute)
				s.change(func() {
					require.Equal(t, "first", tagOf(s.of(otherName).spec))
					require.Equal(t, "second", tagOf(s.of(theName).spec))
				})
			})
		})
	}
}

// TestWhatCannotBeRenamed stays as it is.
func TestWhatCannotBeRenamed(t *testing.T) {
	simulate(t, func(s *simulation) {
		s.refuses(messages.RenameRequest{To: otherName}, "cannot rename a:x: there is no such unikernel")
		s.creates("first")
		s.refuses(messages.RenameRequest{To: otherName}, "cannot rename a:x: it is not stopped: stop it first")
		s.does(messages.StopRequest{})
		s.refuses(messages.RenameRequest{To: theName}, "cannot rename a:x: there is a unikernel a:x")
		s.refuses(messages.RenameRequest{To: messages.Name{Path: "d"}}, "cannot rename a:x to the path d:: give it a name")
		s.refuses(messages.RenameRequest{To: messages.Name{Label: messages.Label(strings.Repeat("x", 300))}},
			"cannot rename a:x: the new name has 301 bytes, and at most 255 are possible")
		s.ask(messages.Name{Path: "d"}, messages.PolicyAdd{Policy: messages.Policy{Unikernels: 1, CPUIDs: []int{1}, Memory: 100}}, "")
		time.Sleep(time.Minute)
		s.refuses(messages.RenameRequest{To: otherName}, "CPUids 0 are not allowed by policy")
		s.requireStopped("first")
		s.does(messages.StartRequest{})
		require.True(t, s.runs())
	})
}

// TestARenameOnAFullDisk is refused, and undone.
func TestARenameOnAFullDisk(t *testing.T) {
	simulate(t, func(s *simulation) {
		s.stops("first")
		s.change(func() { s.disk = full })
		s.refuses(messages.RenameRequest{To: otherName}, "there is no room for anything new")
		s.change(func() { s.disk = works })
		s.requireStopped("first")
		s.look(func() { require.False(t, s.newest.ledger.Holds(otherName)) })
		s.does(messages.StartRequest{})
		require.True(t, s.runs())
	})
}

// TestARenameThatCannotBeStored may be on disk all the same. So it is refused, and carried out when that
// can be stored; until then, nothing else is done under both names.
func TestARenameThatCannotBeStored(t *testing.T) {
	simulate(t, func(s *simulation) {
		s.stops("first")
		s.change(func() { s.disk = broken })
		const says = "a:x is being renamed to d:x, but that cannot be stored: input/output error; this is tried again until it can"
		s.refuses(messages.RenameRequest{To: otherName}, says)
		s.refuses(messages.StartRequest{}, says)
		s.ask(otherName, messages.UnikernelDestroy{}, "")
		time.Sleep(time.Minute)
		s.change(func() {
			require.Equal(t, messages.Failure{Text: says}, s.requests[len(s.requests)-1].payload)
			s.disk = works
		})
		s.requireRenamed("first")
	})
}

// TestARenameThatIsCutOff has happened, or not.
func TestARenameThatIsCutOff(t *testing.T) {
	for after, happened := range map[time.Duration]bool{500 * time.Millisecond: false, 1500 * time.Millisecond: true} {
		simulate(t, func(s *simulation) {
			s.stops("first")
			s.change(func() { s.slow["commit"] = time.Second })
			s.ask(theName, messages.RenameRequest{To: otherName}, "")
			time.Sleep(after)
			s.kill()
			s.change(func() { delete(s.slow, "commit") })
			s.start()
			if happened {
				s.requireRenamed("first")
			} else {
				s.requireStopped("first")
			}
		})
	}
}
