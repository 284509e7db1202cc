package host

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/actors/supervise"
	"albatross/messages"
)

// asks gives a command, and returns its answer after a minute.
func (s *simulation) asks(command messages.Command) (answer messages.Payload) {
	s.ask(theName, command, "")
	time.Sleep(time.Minute)
	s.change(func() { answer = s.requests[len(s.requests)-1].payload })
	return answer
}

func (s *simulation) does(command messages.Command) {
	require.IsType(s.t, messages.SuccessText{}, s.asks(command))
}

func (s *simulation) refuses(command messages.Command, says messages.Public) {
	require.Equal(s.t, messages.Failure{Text: says}, s.asks(command))
}

// requireStopped checks that the unikernel with a tag is on record as stopped, that nothing of it
// is on the machine, and that all that was promised to it is reserved.
func (s *simulation) requireStopped(tag string) {
	time.Sleep(time.Minute)
	s.look(func() {
		record := s.records[theName]
		require.True(s.t, record.Spec.IsStopped())
		require.Equal(s.t, tag, tagOf(record.Spec))
		require.Nil(s.t, record.Spec.Former)
		require.False(s.t, record.Runtime.OK)
		require.Empty(s.t, len(s.processes)+len(s.taps)+len(s.pipes)+len(s.cgroups))
		require.True(s.t, s.newest.ledger.Holds(theName))
	})
}

// look calls do while all actors wait: it may read what they remember.
func (s *simulation) look(do func()) {
	synctest.Wait()
	s.change(do)
}

// reboot ends the daemon and all processes.
func (s *simulation) reboot() {
	s.kill()
	s.change(func() {
		s.boot = "second boot"
		for _, p := range s.processes {
			s.end(p, messages.Exit{Known: true, Signal: int(unix.SIGKILL)})
		}
		clear(s.taps)
		clear(s.pipes)
		clear(s.cgroups)
	})
	s.start()
}

// A halter asks the host to stop all unikernels for the next daemon.
type halter struct {
	ignorant
	host *actor.PID
}

func (h halter) Started(c *supervise.Context) { c.Request(h.host, messages.HaltAll{}) }

// failHost makes the host fail once.
func (s *simulation) failHost() {
	s.faults.Set(supervise.Rule{Fault: supervise.CrashBefore, Kind: "host", Messages: []any{messages.Ask{}}, Nth: 1})
	s.ask(theName, messages.EndList{}, "")
	time.Sleep(time.Minute)
	require.Equal(s.t, 1, s.faults.Injected())
	s.faults.Set()
}

// TestAStoppedUnikernelStaysSo until it is started.
func TestAStoppedUnikernelStaysSo(t *testing.T) {
	for what, then := range map[string]func(s *simulation){
		"same daemon": func(*simulation) {},
		"next daemon": func(s *simulation) { s.stop(); s.start() },
		"kill":        func(s *simulation) { s.kill(); s.start() },
		"reboot":      (*simulation).reboot,
		"host fails":  (*simulation).failHost,
		"all are halted": func(s *simulation) {
			s.spawn("halter", func() supervise.Actor { return halter{host: s.host.PID()} })
			time.Sleep(time.Minute)
			s.stop()
			s.start()
		},
	} {
		t.Run(what, func(t *testing.T) {
			simulate(t, func(s *simulation) {
				s.creates("first")
				s.does(messages.StopRequest{})
				then(s)
				s.requireStopped("first")
				s.refuses(messages.StopRequest{}, "cannot stop a:x: it is stopped already")
				s.refuses(messages.UnikernelCreate{Config: messages.Config{Image: []byte("one")}},
					"cannot create a:x: a unikernel of this name is stopped: start it, destroy it, or replace it with --force")
				s.does(messages.StartRequest{})
				require.True(t, s.runs())
				s.refuses(messages.StartRequest{}, "cannot start a:x: it is already running")
			})
		})
	}
}

// TestAStopIsCompleted by the next daemon, however the unikernel ends, and though it would be started
// again by itself.
func TestAStopIsCompleted(t *testing.T) {
	exits := map[string]messages.Exit{"as asked": terminated, "by itself": {Known: true}, "with a failure": {Known: true, Code: 2}}
	for what, exit := range exits {
		for when, then := range map[string]func(s *simulation, p *process){
			"before": func(s *simulation, p *process) {
				s.change(func() { s.end(p, exit) })
				s.start()
			},
			"afterwards": func(s *simulation, p *process) {
				s.start()
				time.Sleep(time.Second)
				s.change(func() { s.end(p, exit) })
			},
			"late": func(s *simulation, p *process) { s.start() }, // it is killed after the grace time
		} {
			t.Run(what+" "+when, func(t *testing.T) {
				simulate(t, func(s *simulation) {
					p := s.createsRestarting("first")
					s.change(func() { p.stubborn = true })
					s.ask(theName, messages.StopRequest{}, "")
					time.Sleep(time.Second)
					s.kill()
					then(s, p)
					s.requireStopped("first")
				})
			})
		}
	}
}

// createsRestarting creates a unikernel that is started again whenever it exits.
func (s *simulation) createsRestarting(tag string) (p *process) {
	args := messages.Arguments{
		Memory: 16, CPUIDs: []int{0}, Argv: messages.Some([]string{tag, "stays"}), Fail: messages.FailBehaviour{Restart: true},
	}
	s.ask(theName, messages.UnikernelCreate{Form: 5, Config: messages.Config{Image: []byte("one"), Arguments: args}}, tag)
	time.Sleep(time.Second)
	s.change(func() { p = s.of(theName) })
	require.NotNil(s.t, p)
	return p
}

// TestAnExitWhileItIsStopped does not start it again, nor forget it.
func TestAnExitWhileItIsStopped(t *testing.T) {
	for _, create := range []func(*simulation, string) *process{(*simulation).creates, (*simulation).createsRestarting} {
		simulate(t, func(s *simulation) {
			p := create(s, "first")
			s.change(func() { s.slow["open console"] = time.Second }) // also to close it
			s.change(func() { s.end(p, messages.Exit{Known: true, Code: 2}) })
			time.Sleep(100 * time.Millisecond)
			s.does(messages.StopRequest{})
			s.requireStopped("first")
		})
	}
}

// TestAStopOfWhatWaits ends the waiting.
func TestAStopOfWhatWaits(t *testing.T) {
	simulate(t, func(s *simulation) {
		p := s.createsRestarting("first")
		s.change(func() { s.end(p, messages.Exit{Known: true, Code: 2}) })
		time.Sleep(50 * time.Millisecond)
		s.look(func() { require.True(t, s.newest.slots[theName].current.wait.OK) })
		s.ask(theName, messages.StartRequest{}, "")
		s.does(messages.StopRequest{})
		s.requireStopped("first")
		s.change(func() {
			require.Equal(t, messages.Failure{Text: "cannot start a:x: it is not stopped, but waits to be started again: restart starts it at once"},
				s.requests[len(s.requests)-2].payload)
		})
	})
}

// TestAStopThatCannotBeStored is refused: if the daemon died while the unikernel ends, nobody would
// know that it is to be kept.
func TestAStopThatCannotBeStored(t *testing.T) {
	simulate(t, func(s *simulation) {
		p := s.creates("first")
		s.change(func() { s.disk = broken })
		s.refuses(messages.StopRequest{}, "the unikernel goes on, because the daemon cannot store that it ends: input/output error")
		s.change(func() { s.disk = works })
		time.Sleep(time.Minute)
		s.change(func() { require.Same(t, p, s.of(theName)) })
		s.stop()
		s.start()
		require.True(t, s.runs())
		s.does(messages.StopRequest{})
		s.requireStopped("first")
	})
}

// TestAStopOfWhatHasReplacedAnother ends its trial: neither comes back.
func TestAStopOfWhatHasReplacedAnother(t *testing.T) {
	for what, then := range map[string]func(s *simulation){"alone": func(*simulation) {}, "kill": func(s *simulation) { s.kill(); s.start() }} {
		t.Run(what, func(t *testing.T) {
			simulate(t, func(s *simulation) {
				s.creates("first")
				s.ask(theName, replacement("second"), "second")
				time.Sleep(100 * time.Millisecond)
				s.change(func() {
					require.NotNil(t, s.records[theName].Spec.Former)
					s.of(theName).stubborn = true
				})
				s.ask(theName, messages.StopRequest{}, "")
				time.Sleep(100 * time.Millisecond)
				then(s)
				s.requireStopped("second")
				s.change(func() { require.Equal(t, map[messages.Digest]bool{digestOf([]byte("two")): true}, s.images) })
			})
		})
	}
}

// TestAStopThatCannotBeStoredEndsNoTrial: that goes on from the beginning of its process, however long
// the launch of it has taken.
func TestAStopThatCannotBeStoredEndsNoTrial(t *testing.T) {
	simulate(t, func(s *simulation) {
		s.creates("first")
		s.change(func() { s.slow["release"] = 3 * time.Second })
		s.ask(theName, replacement("second"), "second")
		time.Sleep(3500 * time.Millisecond)
		s.change(func() { s.disk = broken })
		s.ask(theName, messages.StopRequest{}, "")
		time.Sleep(200 * time.Millisecond)
		s.change(func() {
			require.IsType(t, messages.Failure{}, s.requests[len(s.requests)-1].payload)
			s.disk = works
			s.end(s.of(theName), messages.Exit{Known: true, Code: 1})
		})
		require.True(t, s.runs(), "the first one comes back")
		s.change(func() { require.Equal(t, "first", tagOf(s.records[theName].Spec)) })
	})
}

// TestAStartThatFails leaves it stopped.
func TestAStartThatFails(t *testing.T) {
	for what, start := range map[string]func(s *simulation) messages.Payload{
		"image": func(s *simulation) messages.Payload {
			s.change(func() { s.failing = "prepare" })
			return s.asks(messages.StartRequest{})
		},
		"launch": func(s *simulation) messages.Payload {
			s.change(func() { s.failing = "launch" })
			return s.asks(messages.StartRequest{})
		},
		"exec": func(s *simulation) messages.Payload {
			s.change(func() { s.failing = "execute" })
			return s.asks(messages.StartRequest{})
		},
		"restart": func(s *simulation) messages.Payload {
			s.change(func() { s.failing = "execute" })
			return s.asks(messages.UnikernelRestart{})
		},
		"replacement": func(s *simulation) messages.Payload {
			s.change(func() { s.failing = "execute" })
			s.ask(theName, replacement("second"), "second")
			return s.asks(messages.EndList{})
		},
	} {
		t.Run(what, func(t *testing.T) {
			simulate(t, func(s *simulation) {
				s.creates("first")
				s.does(messages.StopRequest{})
				answer := start(s)
				if what != "replacement" {
					require.IsType(t, messages.Failure{}, answer)
				}
				s.change(func() { s.failing = "" })
				s.requireStopped("first")
				s.does(messages.StartRequest{})
				require.True(t, s.runs())
			})
		})
	}
}

// TestAStartThatIsCutOff leaves it stopped, and nothing of it.
func TestAStartThatIsCutOff(t *testing.T) {
	for _, command := range []messages.Command{messages.StartRequest{}, messages.UnikernelRestart{}} {
		simulate(t, func(s *simulation) {
			s.creates("first")
			s.does(messages.StopRequest{})
			s.change(func() { s.slow["launch"] = 10 * time.Second })
			s.ask(theName, command, "")
			time.Sleep(time.Second)
			s.change(func() { require.NotEmpty(t, s.cgroups) })
			s.kill()
			s.start()
			s.requireStopped("first")
		})
	}
}

// TestAStartThatIsRefused within the trial leaves it stopped, also where the daemon is killed meanwhile.
func TestAStartThatIsRefused(t *testing.T) {
	for what, then := range map[string]func(s *simulation){"alone": func(*simulation) {}, "kill": func(s *simulation) { s.kill(); s.start() }} {
		t.Run(what, func(t *testing.T) {
			simulate(t, func(s *simulation) {
				s.creates("first")
				s.does(messages.StopRequest{})
				s.ask(theName, messages.StartRequest{}, "")
				time.Sleep(500 * time.Millisecond)
				s.change(func() { s.end(s.of(theName), messages.Exit{Known: true, Code: 1}) })
				then(s)
				s.requireStopped("first")
			})
		})
	}
}

// TestWhatComesBackIsEnded: a unikernel has failed its trial, and is asked to end at the moment at which
// its former is about to be started again. That one must end, too.
func TestWhatComesBackIsEnded(t *testing.T) {
	for what, tc := range map[string]struct {
		command messages.Command
		there   bool
	}{
		"stop":    {messages.StopRequest{}, true},
		"destroy": {messages.UnikernelDestroy{}, false},
	} {
		t.Run(what, func(t *testing.T) {
			simulate(t, func(s *simulation) {
				s.creates("first")
				s.ask(theName, replacement("second"), "second")
				time.Sleep(100 * time.Millisecond)
				s.faults.Set(supervise.Rule{Fault: supervise.Reorder, Kind: "host", Messages: []any{messages.UnikernelGone{}}, Nth: 1, For: time.Second})
				s.change(func() { s.end(s.of(theName), messages.Exit{Known: true, Code: 1}) })
				time.Sleep(500 * time.Millisecond)
				s.does(tc.command)
				require.Equal(t, 1, s.faults.Injected())
				s.faults.Set()
				if tc.there {
					s.requireStopped("first")
				} else {
					require.False(t, s.runs())
				}
			})
		})
	}
}
