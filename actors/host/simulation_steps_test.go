package host

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"albatross/actors/supervise"
	"albatross/messages"
)

var (
	someNames = []messages.Name{
		{Label: "x"}, {Path: "a", Label: "x"}, {Path: "a", Label: "y"}, {Path: "a:b", Label: "x"}, {Path: "d", Label: "x"},
	}
	somePaths = []messages.Path{"a", "a:b", "d"}
	images    = []string{"one", "two", "three"}
)

// A character is how a unikernel ends.
type character struct {
	exit   messages.Exit
	within time.Duration // 0: it does not
}

var characters = map[string]character{
	"stays":      {},
	"stays long": {exit: messages.Exit{Known: true, Code: 2}, within: 5 * time.Minute},
	"fails":      {exit: messages.Exit{Known: true, Code: 2}, within: 3 * time.Second},
	"ends":       {exit: messages.Exit{Known: true}, within: 3 * time.Second},
	"refuses":    {exit: messages.Exit{Known: true, Code: 1}, within: 1500 * time.Millisecond},
	"misused":    {exit: messages.Exit{Known: true, Code: 64}, within: time.Second},
	"hungry":     {exit: messages.Exit{Known: true, Signal: int(unix.SIGKILL), OutOfMemory: true}, within: 3 * time.Second},
	"breaks":     {exit: messages.Exit{Known: true, Signal: int(unix.SIGSEGV)}, within: 3 * time.Second},
}

// The checks of health differ by their port: some unikernels are healthy, some never, and some at times.
const (
	portWell  = 1
	portSick  = 2
	portMoody = 3
)

var checks = []messages.HealthCheck{
	messages.HealthCheck{Kind: messages.HealthTCP, Host: netip.MustParseAddr("10.0.0.1"), Port: portWell}.Lasting(3 * time.Second),
	messages.HealthCheck{Kind: messages.HealthTCP, Host: netip.MustParseAddr("10.0.0.1"), Port: portSick}.Lasting(3 * time.Second),
	messages.HealthCheck{Kind: messages.HealthTCP, Host: netip.MustParseAddr("10.0.0.1"), Port: portMoody}.Lasting(2 * time.Second),
	messages.HealthCheck{Kind: messages.HealthRuns}.Lasting(4 * time.Second),
}

// maySicken reports whether a unikernel may fail its check while it runs.
func maySicken(spec messages.Spec) bool {
	check := spec.Arguments.Health
	return check.OK && (check.Value.Port == portSick || check.Value.Port == portMoody)
}

var characterNames = []string{"stays", "stays", "stays", "stays long", "fails", "ends", "refuses", "misused", "hungry", "breaks"}

// character returns when and how a process ends, if it does.
func (s *simulation) character(p *process) (after time.Duration, exit messages.Exit, ends bool) {
	c := characters[p.spec.Arguments.Argv.Value[1]]
	if s.calm || c.within == 0 {
		return 0, messages.Exit{}, false
	}
	return time.Duration(s.draw(p.name, "ends", uint64(c.within))), c.exit, true
}

func drawName(t *rapid.T) messages.Name { return rapid.SampledFrom(someNames).Draw(t, "name") }

// drawUsed mostly draws a name that is on record; drawFree, one that is not.
func (s *simulation) drawUsed(t *rapid.T) messages.Name { return s.drawWhere(t, true) }
func (s *simulation) drawFree(t *rapid.T) messages.Name { return s.drawWhere(t, false) }

func (s *simulation) drawWhere(t *rapid.T, used bool) messages.Name {
	s.mu.Lock()
	names := slices.DeleteFunc(slices.Clone(someNames), func(name messages.Name) bool {
		_, there := s.records[name]
		return there != used
	})
	s.mu.Unlock()
	if len(names) == 0 || sometimes(t, "any name") {
		return drawName(t)
	}
	return rapid.SampledFrom(names).Draw(t, "name")
}

func sometimes(t *rapid.T, what string) bool { return rapid.IntRange(0, 9).Draw(t, what) == 9 }

// arguments draws the arguments of a unikernel, with a tag that no other one has. Sometimes one of
// them is refused.
func (s *simulation) arguments(t *rapid.T) (messages.Arguments, string) {
	tag := fmt.Sprint("#", len(s.requests))
	a := messages.Arguments{
		Memory: rapid.SampledFrom([]int{16, 16, 16, 32, 32, 64, 100}).Draw(t, "memory"),
		CPUIDs: rapid.SampledFrom([][]int{{0}, {0}, {0}, {1}, {0, 1}}).Draw(t, "CPUs"),
		Argv:   messages.Some([]string{tag, rapid.SampledFrom(characterNames).Draw(t, "character")}),
		Fail: messages.FailBehaviour{
			Restart: rapid.IntRange(0, 2).Draw(t, "restarts") > 0,
			Codes:   rapid.SampledFrom([][]int{nil, nil, {2}, {7}}).Draw(t, "codes"),
		},
		Startup: messages.Some(rapid.IntRange(0, 2).Draw(t, "startup")),
	}
	if rapid.IntRange(0, 3).Draw(t, "health") == 3 {
		a.Health = messages.Some(rapid.SampledFrom(checks).Draw(t, "check"))
	}
	if rapid.IntRange(0, 3).Draw(t, "network") == 3 {
		mac := messages.MAC{2, 0, 0, 0, 0, byte(rapid.IntRange(1, 9).Draw(t, "MAC"))}
		a.Networks = []messages.Network{{Name: "br0", MAC: messages.Some(mac)}}
	}
	if sometimes(t, "disk") {
		a.Blocks = []messages.BlockDevice{{Name: "disk"}}
	}
	if sometimes(t, "wrong arguments") {
		rapid.SampledFrom([]func(){func() { a.Memory = 0 }, func() { a.CPUIDs = []int{2} }}).Draw(t, "mistake")()
	}
	return a, tag
}

func (s *simulation) create(t *rapid.T) { s.createBy(t, s.drawFree(t), false) }

func (s *simulation) replace(t *rapid.T) { s.createBy(t, s.drawUsed(t), true) }

func (s *simulation) createBy(t *rapid.T, name messages.Name, force bool) {
	of := images
	if sometimes(t, "wrong image") {
		of = []string{"no unikernel", "too large", ""}
	}
	image := rapid.SampledFrom(of).Draw(t, "image")
	args, tag := s.arguments(t)
	config := messages.Config{Image: []byte(image), Arguments: args}
	s.ask(name, messages.UnikernelCreate{Form: 5, Force: force, Config: config}, tag)
}

func (s *simulation) restart(t *rapid.T) {
	name := s.drawUsed(t)
	if rapid.Bool().Draw(t, "same arguments") {
		s.ask(name, messages.UnikernelRestart{Form: messages.RestartSame}, "")
		return
	}
	args, tag := s.arguments(t)
	s.ask(name, messages.UnikernelRestart{Args: messages.Some(args)}, tag)
}

func (s *simulation) destroy(t *rapid.T) { s.ask(s.drawUsed(t), messages.UnikernelDestroy{}, "") }

func (s *simulation) stopOne(t *rapid.T) { s.ask(s.drawUsed(t), messages.StopRequest{}, "") }

// startOne mostly starts what is stopped.
func (s *simulation) startOne(t *rapid.T) { s.ask(s.drawStopped(t), messages.StartRequest{}, "") }

// rollback replaces a unikernel by what it has replaced before, if there is any.
func (s *simulation) rollback(t *rapid.T) {
	s.ask(s.drawUsed(t), messages.RollbackRequest{Number: rapid.IntRange(1, 2).Draw(t, "version")}, "")
}

func (s *simulation) renameOne(t *rapid.T) {
	s.ask(s.drawStopped(t), messages.RenameRequest{To: rapid.SampledFrom(someNames).Draw(t, "to")}, "")
}

func (s *simulation) drawStopped(t *rapid.T) messages.Name {
	s.mu.Lock()
	names := slices.DeleteFunc(slices.Clone(someNames), func(name messages.Name) bool { return !s.records[name].Spec.IsStopped() })
	s.mu.Unlock()
	if len(names) == 0 || sometimes(t, "any name") {
		names = someNames
	}
	return rapid.SampledFrom(names).Draw(t, "name")
}

func (s *simulation) query(t *rapid.T) {
	s.ask(drawName(t), rapid.SampledFrom([]messages.Command{
		messages.UnikernelInfo{Form: 6}, messages.UnikernelGet{Form: 2}, messages.PolicyInfo{}, messages.EndList{}, messages.ConsoleListInactive{},
	}).Draw(t, "query"), "")
}

func (s *simulation) changePolicy(t *rapid.T) {
	path := rapid.SampledFrom(somePaths).Draw(t, "path")
	command := messages.Command(messages.PolicyRemove{})
	if rapid.IntRange(0, 3).Draw(t, "remove") > 0 {
		command = messages.PolicyAdd{Policy: messages.Policy{
			Unikernels: rapid.IntRange(0, 4).Draw(t, "unikernels"),
			CPUIDs:     rapid.SampledFrom([][]int{{0, 1}, {0, 1}, {0, 1, 2}, {0}, nil}).Draw(t, "CPUs"),
			Memory:     rapid.SampledFrom([]int{16, 64, 128, 128, 200}).Draw(t, "memory"),
			Block:      messages.Some(1),
			Bridges:    rapid.SampledFrom([][]string{{"br0"}, {"br0"}, nil}).Draw(t, "bridges"),
		}}
	}
	s.mu.Lock()
	delete(s.granted, path)
	s.mu.Unlock()
	s.ask(messages.Name{Path: path}, command, "")
}

func (s *simulation) wait(t *rapid.T) {
	longest := rapid.SampledFrom([]time.Duration{time.Millisecond, 50 * time.Millisecond, time.Second, 10 * time.Second, 3 * time.Minute}).Draw(t, "at most")
	time.Sleep(time.Duration(rapid.Int64Range(1, int64(longest)).Draw(t, "nanoseconds")))
}

// attack ends a tender from outside.
func (s *simulation) attack(t *rapid.T) {
	name := s.drawUsed(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.of(name); p != nil && !p.gated {
		s.end(p, messages.Exit{Known: true, Signal: int(unix.SIGKILL)})
	}
}

// trouble draws a fault that concerns more than one unikernel.
func (s *simulation) trouble(t *rapid.T) {
	rapid.SampledFrom([]func(*rapid.T){s.fault, s.fault, s.changeDisk, s.changeDisk, s.stopAndStart, s.killAndStart}).Draw(t, "trouble")(t)
}

// fault injects faults into actors, or ends that.
func (s *simulation) fault(t *rapid.T) {
	var rules []supervise.Rule
	kind := "no actor"
	if rapid.Bool().Draw(t, "faults") {
		kind = rapid.SampledFrom([]string{"host", "unikernel", "console", "store", ""}).Draw(t, "kind")
		for f, p := range map[supervise.Fault]float64{supervise.CrashBefore: 0.03, supervise.CrashAfter: 0.03} {
			if kind != "" { // if a session failed, its client would get no answer
				rules = append(rules, supervise.Rule{Fault: f, Kind: kind, Probability: p})
			}
		}
		rules = append(rules,
			supervise.Rule{Fault: supervise.Duplicate, Kind: kind, Messages: messages.MayComeAgain(), Probability: 0.2},
			supervise.Rule{Fault: supervise.Drop, Kind: kind, Messages: messages.MayBeDropped(), Probability: 0.03},
			supervise.Rule{Fault: supervise.Delay, Kind: kind, Probability: 0.1, For: 2 * time.Millisecond},
			supervise.Rule{Fault: supervise.Reorder, Kind: kind, Probability: 0.1, For: 5 * time.Millisecond})
	}
	s.mu.Lock()
	s.faulty, s.troubled = len(rules) > 0, time.Now()
	s.note("faults of %s", kind)
	s.mu.Unlock()
	s.faults.Set(rules...)
}

func (s *simulation) changeDisk(t *rapid.T) {
	next := rapid.SampledFrom([]disk{works, works, full, broken, flaky}).Draw(t, "disk")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk, s.troubled = next, time.Now()
	s.note("the disk: %s", next)
}

func (s *simulation) stopAndStart(*rapid.T) {
	s.faults.Set()
	s.mu.Lock()
	s.faulty, s.troubled = false, time.Now()
	s.note("the daemon is stopped")
	s.mu.Unlock()
	s.stop()
	s.start()
}

// killAndStart kills the daemon, or all processes of the machine.
func (s *simulation) killAndStart(t *rapid.T) {
	s.kill()
	s.mu.Lock()
	s.faulty, s.troubled = false, time.Now()
	if rapid.IntRange(0, 2).Draw(t, "reboot") == 0 {
		s.boot = fmt.Sprint("boot of ", time.Now().UnixNano())
		s.note("the machine is started anew")
		for _, p := range s.processes {
			s.end(p, messages.Exit{Known: true, Signal: int(unix.SIGKILL)})
		}
		clear(s.taps)
		clear(s.pipes)
		clear(s.cgroups)
	}
	s.mu.Unlock()
	s.start()
}
