package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/history"
	"albatross/sockets/client"
	"albatross/test/inject"
)

// chaosRules are the faults that the daemon injects into its own actors in a round.
func chaosRules(random *rand.Rand) string {
	var rules strings.Builder
	fmt.Fprintf(&rules, "seed = %d\n", random.Uint32())
	add := func(kind, actor string, probability float64, longest time.Duration) {
		fmt.Fprintf(&rules, "[[fault]]\nkind = %q\nactor = %q\nprobability = %g\n", kind, actor, probability)
		if longest > 0 {
			fmt.Fprintf(&rules, "for = %q\n", upTo(random, longest)+time.Millisecond)
		}
	}
	// A crash costs a pause, which doubles with each, so those of actors of which there is one must
	// be rare, or nothing else would happen.
	for actor, probability := range map[string]float64{
		"host": 0.0005, "store": 0.001, "events": 0.001, "stats": 0.001,
		"unikernel": 0.005, "console": 0.005, "block": 0.01, "network": 0.005, "session": 0.002,
	} {
		add("crash-before", actor, probability, 0)
		add("crash-after", actor, probability, 0)
	}
	add("duplicate", "", 0.2, 0)
	add("drop", "", 0.01, 0)
	add("delay", "", 0.02, 5*time.Millisecond)
	add("reorder", "", 0.02, 10*time.Millisecond)
	return rules.String()
}

// failingCalls are the system calls of the daemon and of what it starts that fail, or take long.
var failingCalls = []inject.Fault{
	{Call: inject.Sync, Program: daemonProgram, Errno: unix.EIO, Probability: 0.01},
	{Call: inject.Sync, Program: daemonProgram, Delay: 30 * time.Millisecond, Probability: 0.05},
	{Call: inject.Write, Program: daemonProgram, Errno: unix.ENOSPC, Probability: 0.005},
	{Call: inject.Write, Program: daemonProgram, Errno: unix.EIO, Probability: 0.002},
	{Call: inject.Create, Program: daemonProgram, Errno: unix.ENOSPC, Probability: 0.02},
	{Call: inject.Create, Program: daemonProgram, Errno: unix.EMFILE, Probability: 0.02},
	{Call: inject.Rename, Program: daemonProgram, Errno: unix.EIO, Probability: 0.02},
	{Call: inject.Resize, Program: daemonProgram, Errno: unix.ENOSPC, Probability: 0.05},
	{Call: inject.Mkdir, Program: daemonProgram, Errno: unix.ENOSPC, Probability: 0.03},
	{Call: inject.Accept, Program: daemonProgram, Errno: unix.EMFILE, Probability: 0.02},
	{Call: inject.Socket, Program: daemonProgram, Errno: unix.EMFILE, Probability: 0.01},
	{Call: inject.Netlink, Program: daemonProgram, Errno: unix.ENOBUFS, Probability: 0.02},
	{Call: inject.Exec, Errno: unix.EAGAIN, Probability: 0.03},
}

const daemonProgram = "albatrossd"

// victims are unikernels that are attacked, and nobody else changes.
const victims = 4

func victim(i int) string { return fmt.Sprintf("victim:%d", i) }

// attacks are what is done to the host from outside of the daemon.
var attacks = map[string]func(*siege){
	"tender killed":               (*siege).killVictim,
	"tender stopped for a while":  (*siege).stopVictim,
	"unikernel that ends at once": (*siege).exitAtOnce,
	"cgroup out of memory":        (*siege).useUpMemory,
	"process of a network killed": (*siege).killNetworkProcess,
	"process of a network frozen": (*siege).freezeNetworkProcess,
	"bridge removed":              (*siege).removeBridge,
	"keeper killed or stopped":    func(s *siege) { s.h.harmKeeper(s.random) },
	"daemon frozen":               func(s *siege) { s.freeze(s.h.pid) },
	"daemon killed":               (*siege).killDaemon,
	"daemon stopped":              (*siege).stopDaemon,
	"daemon started twice":        (*siege).startTwice,
	"sockets and FIFOs removed":   (*siege).sweep,
	"client gone in mid-frame":    (*siege).vanish,
	"clients that do not read":    (*siege).subscribeOnly,
	"endpoint killed":             func(s *siege) { s.endpoint.kill(); s.endpoint.start() },
}

// attack does one of them.
func (s *siege) attack() {
	s.raiseVictims()
	names := slices.Sorted(maps.Keys(attacks))
	name := names[s.random.IntN(len(names))]
	s.attacks[name]++
	s.last = append(s.last[max(0, len(s.last)-20):], time.Now().UTC().Format("15:04:05.000 ")+name)
	attacks[name](s)
}

// raiseVictims creates the victims that may have ended.
func (s *siege) raiseVictims() {
	for i := range victims {
		if !slices.Equal(s.h.journal.all(thing{unikernel, parse(victim(i))}), []string{victimGuest.state()}) {
			s.attacker.force(victim(i), victimGuest)
		}
	}
}

var victimGuest = run("net", "victim").networked("service")

// chooseVictim returns a victim and its process, if one is known, of which it is not certain any more
// that it runs.
func (s *siege) chooseVictim() (messages.Name, messages.Process, bool) {
	name := parse(victim(s.random.IntN(victims)))
	process, known := s.h.journal.process(name)
	if known {
		s.h.journal.mayEnd(name)
		s.h.journal.may(thing{unikernel, name}, absent)
	}
	return name, process, known
}

func (s *siege) killVictim() {
	if _, p, known := s.chooseVictim(); known {
		_ = unix.Kill(p.PID, unix.SIGKILL) // it may have ended
	}
}

func (s *siege) stopVictim() {
	if _, p, known := s.chooseVictim(); known {
		s.freeze(p.PID)
	}
}

// useUpMemory puts a process into the cgroup of a victim that takes all the memory that is allowed
// there: the kernel kills one of them.
func (s *siege) useUpMemory() {
	name, _, known := s.chooseVictim()
	if !known {
		return
	}
	for _, parent := range s.h.cgroupParents() {
		if !strings.Contains(parent, "/memory/") && strings.Count(parent, "/") > 4 { // of another controller
			continue
		}
		c := exec.Command("/proc/self/exe", asHog, filepath.Join(parent, name.String(), "cgroup.procs"))
		_, ended := s.h.spawn(c)
		select {
		case <-ended:
		case <-time.After(patience):
			s.h.t.Errorf("%s: a process takes more memory than its cgroup allows", s.h.doing)
		}
	}
}

// asHog is the argument with which this test becomes a program that takes memory.
const asHog = "--hog"

// hogs is how much it takes, which is more than any cgroup allows, and a fraction of what a machine has.
const hogs = 256 << 20

// mayBecomeHog does not return in a process that useUpMemory has made.
func mayBecomeHog() {
	if len(os.Args) != 3 || os.Args[1] != asHog {
		return
	}
	if os.WriteFile(os.Args[2], []byte("0"), 0) == nil { // otherwise the victim has ended
		for i, taken := 0, make([]byte, hogs); i < hogs; i += os.Getpagesize() {
			taken[i] = 1
		}
	}
	os.Exit(0)
}

// frozenFor is how long a process is stopped, at most. Meanwhile pipes and sockets fill up.
const frozenFor = time.Second

func (s *siege) freeze(pid int) {
	_ = unix.Kill(pid, unix.SIGSTOP) // it may have ended
	<-time.After(upTo(s.random, frozenFor))
	_ = unix.Kill(pid, unix.SIGCONT)
}

func (s *siege) exitAtOnce() {
	i := s.random.IntN(victims)
	s.attacker.force(victim(i), run("exit", "7", "0"))
	s.h.journal.may(thing{unikernel, parse(victim(i))}, absent)
}

func (s *siege) killNetworkProcess() {
	for _, pid := range s.h.networkPIDs()[siegeBridge(s.random.IntN(siegeNetworks))] {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

func (s *siege) freezeNetworkProcess() {
	for _, pid := range s.h.networkPIDs()[siegeBridge(s.random.IntN(siegeNetworks))] {
		s.freeze(pid)
	}
}

// removeBridge removes one of the kernel's networks by hand.
func (s *siege) removeBridge() {
	name := siegeBridge(s.random.IntN(siegeNetworks/2+1) * 2)
	s.h.space.Do(func() {
		if link, err := netlink.LinkByName(name); err == nil { // it may not be there again yet
			_ = netlink.LinkDel(link)
		}
	})
}

// startAgain starts a daemon, which may give up as long as faults are injected: then a service
// manager starts it again.
func (s *siege) startAgain() {
	s.h.mayGiveUp = true
	defer func() { s.h.mayGiveUp = false }()
	s.h.until("the next daemon starts", func() bool {
		s.h.launch(nothing)
		return s.h.answers()
	})
}

func (s *siege) killDaemon() {
	s.h.kill()
	s.h.changeVersion(s.random)
	s.startAgain()
}

func (s *siege) stopDaemon() {
	s.h.stop()
	s.startAgain()
}

// startTwice starts a second daemon with the same directories, which must refuse to.
func (s *siege) startTwice() {
	c := exec.Command(filepath.Join(s.h.programs, "albatrossd"), "--tmpdir", s.h.dir, "--dbdir", s.h.path("db"), "--cgroup", s.h.cgroup())
	_, ended := s.h.spawn(c)
	select {
	case status := <-ended:
		require.True(s.h.t, status.Exited() && status.ExitStatus() == 1, "%s: the second daemon ended: %#x", s.h.doing, status)
	case <-time.After(patience):
		s.h.t.Errorf("%s: a second daemon runs", s.h.doing)
	}
}

// sweep removes what is no state, as a service does that cleans up.
func (s *siege) sweep() {
	for _, dir := range []string{"util", "fifo"} {
		_ = os.RemoveAll(s.h.path(dir)) // the daemon may be making a FIFO there just now, which stays
	}
}

// vanish has clients leave after a part of what they were about to send.
func (s *siege) vanish() {
	for range 10 {
		conn, err := net.Dial("unix", s.h.socket([]string{"vmmd", "control", "console", "stat"}[s.random.IntN(4)]))
		if err != nil {
			continue // the daemon may just not listen
		}
		_, _ = conn.Write([]byte{0, 0, 1, byte(s.random.Uint32()), byte(s.random.Uint32())})
		_ = conn.Close()
	}
}

// subscribeOnly has clients ask for consoles and events, and read nothing of them until the faults end.
func (s *siege) subscribeOnly() {
	s.leaveUnread()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for id := range customers {
		s.subscribe(ctx, "console", command(parse(fmt.Sprintf("customer%d:%d-0", id, id)), messages.ConsoleSubscribe{Count: messages.Some(history.Lines)}))
		s.subscribe(ctx, "control", func(ctx context.Context, conn *client.Conn) (messages.Success, error) {
			_, err := conn.Events(ctx, messages.Name{}, messages.Some(time.Unix(0, 0)))
			return nil, err
		})
	}
}

// subscribe does that for one, if the daemon lets it.
func (s *siege) subscribe(ctx context.Context, socket string, what talk) {
	conn, err := client.Dial(ctx, s.h.socket(socket))
	if err != nil {
		return
	}
	if _, err := what(ctx, conn); err != nil {
		_ = conn.Close()
		return
	}
	s.unread = append(s.unread, conn)
}

// leaveUnread ends what subscribeOnly has begun.
func (s *siege) leaveUnread() {
	for _, conn := range s.unread {
		_ = conn.Close() // the daemon may have ended
	}
	s.unread = nil
}

// counts are how often what went wrong, in all.
func (s *siege) counts() map[string]int {
	counts := maps.Clone(s.attacks)
	for what, n := range s.calls.Injected() {
		counts["system call: "+what] = n
	}
	for what, n := range s.log.injected {
		counts["actor: "+what] += n
	}
	return counts
}

// print prints a table of what went wrong, of how much of that the host has recovered, and how much it
// has not.
func (s *siege) print() {
	injected, recovered := 0, 0
	fmt.Print("| | injected | recovered | lost |\n|---|---|---|---|\n")
	counts := s.counts()
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Printf("| %s | %d | %d | %d |\n", what, counts[what], s.recovered[what], counts[what]-s.recovered[what])
		injected += counts[what]
		recovered += s.recovered[what]
	}
	fmt.Printf("| in all, in %d rounds | %d | %d | %d |\n", s.rounds, injected, recovered, injected-recovered)
	fmt.Printf("| commands acknowledged, refused and cut off | %d | %d | %d |\n",
		sum.count(kept, answered)-s.before[answered], sum.count(kept, refusedRoughly)-s.before[refusedRoughly], sum.count(kept, cutOff)-s.before[cutOff])
}
