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

// simulate runs do on a machine where nothing goes wrong and all is fast, unless do wants
// something else.
func simulate(t *testing.T, do func(s *simulation)) {
	var failed []string
	defer func() { t.Log(strings.Join(failed, "\n")) }()
	inBubble(t, func() {
		s := newSimulation(t, 1, t.TempDir(), &failed)
		defer s.abandon()
		s.change(func() { s.calm = true })
		time.Sleep(time.Second)
		do(s)
		s.rest()
	})
}

// creates has the unikernel be created that all these tests are about.
func (s *simulation) creates(tag string) *process {
	args := messages.Arguments{Memory: 16, CPUIDs: []int{0}, Argv: messages.Some([]string{tag, "stays"})}
	s.ask(theName, messages.UnikernelCreate{Form: 5, Config: messages.Config{Image: []byte("one"), Arguments: args}}, tag)
	time.Sleep(time.Second)
	var p *process
	s.change(func() { p = s.of(theName) })
	require.NotNil(s.t, p)
	return p
}

// change changes the simulation while nobody else does.
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

// TestAnEndForASuccessorThatTheNextDaemonSees: whoever has asked for a restart does not lose
// the unikernel where the daemon is stopped before that has ended.
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

// TestWhatIsOverStaysSo: a unikernel that has ended by itself is not started again because
// somebody wants to replace it while its end cannot be stored.
func TestWhatIsOverStaysSo(t *testing.T) {
	simulate(t, func(s *simulation) {
		p := s.creates("first")
		s.change(func() { s.disk = broken })
		s.change(func() { s.end(p, messages.Exit{Known: true}) })
		time.Sleep(500 * time.Millisecond)
		args := p.spec.Arguments
		args.Argv = messages.Some([]string{"second", "stays"})
		config := messages.Config{Image: []byte("two"), Arguments: args}
		s.ask(theName, messages.UnikernelCreate{Form: 5, Force: true, Config: config}, "second")
		time.Sleep(3 * time.Second)
		s.change(func() { s.disk = works })
		require.False(t, s.runs())
	})
}

// TestAnImageThatIsNeededAgain is not removed by what was going to remove it before.
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

// TestAStopWaitsForImagesThatAreBeingRemoved: nobody needs them before the next start, and
// that may be far away.
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
