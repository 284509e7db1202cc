package host

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

var theName = messages.Name{Path: "a", Label: "x"}

// simulate calls do on a machine where nothing goes wrong and each step is fast, unless do changes
// that.
func simulate(t *testing.T, do func(s *simulation)) {
	var failed []string
	defer func() { t.Log(strings.Join(failed, "\n")) }()
	inBubble(t, func() {
		s := newSimulation(t, 1, t.TempDir(), 0, &failed)
		defer s.abandon()
		s.change(func() { s.calm = true })
		time.Sleep(time.Second)
		do(s)
		s.rest()
	})
}

// creates creates the unikernel that all these tests are about.
func (s *simulation) creates(tag string) *process {
	args := messages.Arguments{Memory: 16, CPUIDs: []int{0}, Argv: messages.Some([]string{tag, "stays"})}
	s.ask(theName, messages.UnikernelCreate{Form: 5, Config: messages.Config{Image: []byte("one"), Arguments: args}}, tag)
	time.Sleep(time.Second)
	var p *process
	s.change(func() { p = s.of(theName) })
	require.NotNil(s.t, p)
	return p
}

// replacement returns a command for another image and another tag.
func replacement(tag string) messages.Command {
	args := messages.Arguments{Memory: 16, CPUIDs: []int{0}, Argv: messages.Some([]string{tag, "stays"})}
	return messages.UnikernelCreate{Form: 5, Force: true, Config: messages.Config{Image: []byte("two"), Arguments: args}}
}

// change changes the simulation while nothing else does.
func (s *simulation) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

func (s *simulation) runs() bool {
	time.Sleep(time.Minute)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(theName) != nil
}

var terminated = messages.Exit{Known: true, Signal: int(unix.SIGTERM)}

// TestAnEndForASuccessorThatTheNextDaemonSees: a client asks for a restart, and the daemon is
// stopped before the unikernel has ended. The unikernel is not lost.
func TestAnEndForASuccessorThatTheNextDaemonSees(t *testing.T) {
	for after, runs := range map[time.Duration]bool{time.Second: true, grace + time.Second: false} {
		simulate(t, func(s *simulation) {
			p := s.creates("first")
			s.change(func() { p.stubborn = true })
			s.ask(theName, messages.UnikernelRestart{}, "")
			time.Sleep(time.Second)
			s.stop()
			s.start()
			time.Sleep(after)
			s.change(func() { s.end(p, terminated) })
			require.Equal(t, runs, s.runs(), "later than the grace time, it has ended by itself")
		})
	}
}

// TestWhatIsOverStaysSo: a unikernel that has ended by itself is not started again because a client
// wants to replace it while its end cannot be stored.
func TestWhatIsOverStaysSo(t *testing.T) {
	simulate(t, func(s *simulation) {
		p := s.creates("first")
		s.change(func() { s.disk = broken })
		s.change(func() { s.end(p, messages.Exit{Known: true}) })
		time.Sleep(500 * time.Millisecond)
		s.ask(theName, replacement("second"), "second")
		time.Sleep(3 * time.Second)
		s.change(func() { s.disk = works })
		require.False(t, s.runs())
	})
}

// TestAnImageOfASuccessorThatIsGivenUp is removed, though the host learns of it only when it gives
// the successor up: the unikernel has ended meanwhile, and that cannot be stored.
func TestAnImageOfASuccessorThatIsGivenUp(t *testing.T) {
	simulate(t, func(s *simulation) {
		p := s.creates("first")
		s.change(func() { s.slow["prepare"] = 10 * time.Second })
		s.ask(theName, replacement("second"), "second")
		time.Sleep(time.Second)
		s.change(func() { s.disk = broken })
		s.change(func() { s.end(p, messages.Exit{Known: true}) })
		time.Sleep(15 * time.Second)
		s.change(func() { s.disk = works })
		require.False(t, s.runs())
		s.change(func() { require.Empty(t, s.images) })
	})
}

// TestAnImageThatIsNeededAgain is kept, though its removal was under way.
func TestAnImageThatIsNeededAgain(t *testing.T) {
	simulate(t, func(s *simulation) {
		s.change(func() { s.slow["remove image"] = 30 * time.Second })
		s.creates("first")
		s.ask(theName, messages.UnikernelDestroy{}, "")
		time.Sleep(time.Second)
		s.creates("second")
		s.stop()
		s.change(func() { delete(s.slow, "remove image") })
		s.start()
		require.True(t, s.runs())
	})
}

// TestARestartOfWhatEndsMeanwhile needs its image all the same.
func TestARestartOfWhatEndsMeanwhile(t *testing.T) {
	simulate(t, func(s *simulation) {
		p := s.creates("first")
		s.change(func() { s.slow["prepare"] = time.Second })
		s.ask(theName, messages.UnikernelRestart{}, "")
		s.change(func() { s.end(p, messages.Exit{Known: true}) })
		require.True(t, s.runs())
	})
}

// TestAStopWaitsForImagesThatAreBeingRemoved: no other daemon removes them before the next start,
// and that may come much later.
func TestAStopWaitsForImagesThatAreBeingRemoved(t *testing.T) {
	simulate(t, func(s *simulation) {
		s.change(func() { s.slow["remove image"] = 2 * time.Second })
		s.creates("first")
		s.ask(theName, messages.UnikernelDestroy{}, "")
		time.Sleep(time.Second)
		s.stop()
		s.change(func() { require.Empty(t, s.images) })
		s.change(func() { delete(s.slow, "remove image") })
		s.start()
	})
}

// TestARestartThatCannotBeStored is refused: if the daemon died while the unikernel ends,
// nobody would start it again.
func TestARestartThatCannotBeStored(t *testing.T) {
	for what, ask := range map[string]func(s *simulation, tag string){
		"restart": func(s *simulation, _ string) { s.ask(theName, messages.UnikernelRestart{}, "") },
		"replace": func(s *simulation, tag string) { s.ask(theName, replacement(tag), tag) },
	} {
		simulate(t, func(s *simulation) {
			p := s.creates("first")
			time.Sleep(time.Minute)
			s.change(func() { s.disk = broken })
			ask(s, "second")
			time.Sleep(10 * time.Second)
			s.change(func() {
				require.Same(t, p, s.of(theName), what)
				require.Equal(t, map[messages.Digest]bool{digestOf([]byte("one")): true}, s.images, what)
			})
			s.stop()
			s.change(func() { s.disk = works })
			s.start()
			require.True(t, s.runs(), what)
			ask(s, "third")
			require.True(t, s.runs(), what)
			s.change(func() { require.NotSame(t, p, s.of(theName), what) })
		})
	}
}

// TestARestartBeforeTheEndOfATrialIsStored keeps no former on record whose image is removed.
func TestARestartBeforeTheEndOfATrialIsStored(t *testing.T) {
	simulate(t, func(s *simulation) {
		s.creates("first")
		s.ask(theName, replacement("second"), "second")
		time.Sleep(100 * time.Millisecond)
		s.change(func() { s.disk = broken })
		time.Sleep(Trial)
		s.change(func() { s.disk = works; s.slow["launch"] = time.Second })
		s.ask(theName, messages.UnikernelRestart{}, "")
		require.True(t, s.runs())
		s.change(func() { require.Equal(t, map[messages.Digest]bool{digestOf([]byte("two")): true}, s.images) })
	})
}

// TestATrialGoesOnWithItsUnikernel: the disk breaks while a trial ends and a restart is asked for.
// The trial is over once that can be stored.
func TestATrialGoesOnWithItsUnikernel(t *testing.T) {
	simulate(t, func(s *simulation) {
		s.creates("first")
		s.ask(theName, replacement("second"), "second")
		time.Sleep(100 * time.Millisecond)
		s.change(func() { require.NotNil(t, s.records[theName].Spec.Former); s.disk = broken })
		time.Sleep(Trial)
		s.ask(theName, messages.UnikernelRestart{}, "")
		time.Sleep(10 * time.Second)
		s.change(func() { s.disk = works })
		require.True(t, s.runs())
		s.change(func() {
			require.Nil(t, s.records[theName].Spec.Former)
			require.True(t, s.records[theName].Runtime.Value.Released)
		})
	})
}
