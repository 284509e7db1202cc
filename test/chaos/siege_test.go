package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/test/inject"
	"albatross/test/netns"
)

// durationVariable is the environment variable that says how long a siege lasts.
const durationVariable = "ALBATROSS_CHAOS_FOR"

const (
	// shortSiege is how long it lasts otherwise.
	shortSiege = time.Minute
	// roundLasts is how long faults are injected before all is checked.
	roundLasts = 5 * time.Second
	// customersOfAnAfar is of how many customers one is on another machine.
	customersOfAnAfar = 5
	// endpointPort is where the endpoint listens for them.
	endpointPort = 4433
	// pauseOfAttacks is how long there is none, at most.
	pauseOfAttacks = 400 * time.Millisecond
)

func duration(t *testing.T) time.Duration {
	text := os.Getenv(durationVariable)
	if text == "" {
		return shortSiege
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

// A siege is a host, what its customers do, and all that is done to it.
type siege struct {
	h         *host
	random    *rand.Rand
	calls     *inject.Faults
	customers []*customer
	attacker  *caller
	endpoint  *endpoint
	log       logReader
	attacks   map[string]int
	last      []string       // attacks, and when
	unread    []*client.Conn // of clients that do not read

	rounds    int            // that ended well
	recovered map[string]int // the counts at the end of the last of them
	before    map[figure]int // what was counted before
}

// TestSiege lets everything go wrong at the same time while many clients work: actors fail, messages
// are late, come again or are refused, system calls fail or take long, and processes, sockets and
// bridges are removed. Again and again there is a rest, in which all must be as clients know it.
func TestSiege(t *testing.T) {
	netns.Need(t)
	s := newSiege(t, seed(t))
	defer s.end()
	until := time.Now().Add(duration(t))
	for n := 1; n == 1 || time.Now().Before(until); n++ {
		s.round(n)
	}
}

func newSiege(t *testing.T, first uint64) *siege {
	s := &siege{
		h: newHost(t, kept), random: rand.New(rand.NewPCG(first, 0)), calls: inject.New(first), attacks: map[string]int{},
		recovered: map[string]int{}, before: map[figure]int{},
	}
	for _, f := range []figure{answered, refusedRoughly, cutOff} {
		s.before[f] = sum.count(kept, f)
	}
	s.h.calls = s.calls
	s.h.arguments = []string{"--chaos", s.h.path("chaos.toml"), "--metrics", metricsAddress}
	s.h.rough = true
	s.log.path = s.h.path("log")
	s.h.writeChaos("")
	s.h.settleIn()
	c := &caller{h: s.h}
	for i := range siegeNetworks {
		c.makeNetwork(fmt.Sprintf("n:%d", i), netToMake{backend: siegeBackend(i), number: byte(i + 1)})
	}
	for _, l := range limits {
		c.addPolicy(l.path, messages.Policy{Unikernels: l.unikernels, CPUIDs: []int{0}, Memory: l.memory})
	}
	s.endpoint = s.h.startEndpoint(endpointPort)
	for id := range customers {
		u := newCustomer(s.h, id, rand.New(rand.NewPCG(first, uint64(id)+1)))
		if id%customersOfAnAfar == 0 {
			u.c.afar = s.endpoint
		}
		s.customers = append(s.customers, u)
	}
	s.attacker = newRoughCaller(s.h)
	s.rest()
	return s
}

func siegeBridge(i int) string { return fmt.Sprintf("n.%d", i) }

func siegeBackend(i int) messages.NetworkBackend {
	if i%2 == 0 {
		return messages.KernelNetwork
	}
	return messages.UserNetwork
}

// round injects faults for a while, and then looks at what has become of everything.
func (s *siege) round(n int) {
	s.h.doing = fmt.Sprintf("round %d", n)
	s.h.writeChaos(chaosRules(s.random))
	s.h.readChaosAgain(&s.log)
	s.calls.Set(failingCalls...)
	var over atomic.Bool
	var working sync.WaitGroup
	for _, u := range s.customers {
		working.Go(func() { u.work(&over) })
	}
	working.Go(func() { s.watch(&over) })
	for end := time.After(roundLasts); ; {
		select {
		case <-end:
			over.Store(true)
			working.Wait()
			s.rest()
			s.rounds, s.recovered = n, s.counts()
			return
		case <-time.After(upTo(s.random, pauseOfAttacks)):
			s.attack()
		}
	}
}

// rest ends all faults, waits until the daemon has coped with them, and checks everything.
func (s *siege) rest() {
	s.h.t.Helper()
	s.attacker.leave()
	s.leaveUnread()
	s.calls.Set()
	s.h.writeChaos("")
	s.h.readChaosAgain(&s.log)
	s.h.until("the daemon can be reached", s.h.reachable)
	s.h.check()
}

// reachable tells whether somebody listens on every socket: their files may have been removed.
func (h *host) reachable() bool {
	for _, name := range []string{"vmmd", "control", "console", "stat"} {
		conn, err := net.Dial("unix", h.socket(name))
		if err != nil {
			return false
		}
		_ = conn.Close()
	}
	return true
}

// end leaves nothing of the siege, and prints what was injected.
func (s *siege) end() {
	if s.h.t.Failed() {
		s.h.t.Logf("the last attacks:\n%s", strings.Join(s.last, "\n"))
		s.h.t.Logf("on record:\n%s", s.h.describeRecords())
		s.h.t.Logf("what the keeper does:\n%s", s.h.describeKeeper())
	} else {
		s.requireLean()
		s.h.end()
	}
	s.endpoint.kill()
	s.h.wipe()
	for _, err := range s.calls.Wait() {
		s.h.t.Errorf("faults of system calls: %v", err)
	}
	s.print()
}

// What a daemon may have more after a siege than one that has just started: connections to keeper and
// networks are made again now and then, and the runtime of Go gives memory back late.
const (
	moreDescriptors = 10
	moreMemory      = 48 << 10 // KB
	moreGoroutines  = 50
)

// usage is what a daemon has of the machine.
type usage struct{ descriptors, memory, goroutines int }

// requireLean compares a daemon that was under siege with one that has just started.
func (s *siege) requireLean() {
	s.h.t.Helper()
	s.h.doing = "after the siege"
	s.h.restore()
	s.h.check()
	under := s.h.uses()
	s.h.stop()
	s.h.start()
	s.h.check()
	fresh := s.h.uses()
	s.h.t.Logf("the daemon has %d descriptors, %d KB of memory and %d goroutines, the next one %d, %d and %d",
		under.descriptors, under.memory, under.goroutines, fresh.descriptors, fresh.memory, fresh.goroutines)
	require.LessOrEqual(s.h.t, under.descriptors, fresh.descriptors+moreDescriptors, "descriptors of the daemon")
	require.LessOrEqual(s.h.t, under.memory, fresh.memory+moreMemory, "memory of the daemon, in KB")
	require.LessOrEqual(s.h.t, under.goroutines, fresh.goroutines+moreGoroutines, "goroutines of the daemon")
}

// uses tells how many descriptors the daemon has open, how much memory it has, in KB, and how many
// goroutines. Descriptors of histories do not count: each console that was written to has one, and
// policies limit consoles.
func (h *host) uses() (u usage) {
	h.t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", h.pid))
	require.NoError(h.t, err)
	for _, link := range links {
		if file, err := os.Readlink(link); err == nil && !strings.HasPrefix(file, h.path("db", "console")) {
			u.descriptors++
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.pid))
	require.NoError(h.t, err)
	u.memory = numberAfter(h.t, string(status), "VmRSS:")
	u.goroutines = numberAfter(h.t, h.scrape(), "\ngo_goroutines")
	return u
}

// numberAfter is the number that follows a word in a text.
func numberAfter(t *testing.T, text, word string) (n int) {
	_, after, _ := strings.Cut(text, word)
	_, err := fmt.Sscan(after, &n)
	require.NoError(t, err, word)
	return n
}

// metricsAddress is where the daemon tells its metrics, on the network of its host.
const metricsAddress = "127.0.0.1:9100"

// scrape asks the daemon for its metrics.
func (h *host) scrape() string {
	h.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		h.space.Do(func() { conn, err = (&net.Dialer{}).DialContext(ctx, "tcp4", metricsAddress) })
		return conn, err
	}}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Get("http://" + metricsAddress + "/metrics")
	require.NoError(h.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(h.t, err)
	return string(text)
}

// describeRecords tells what is on record of unikernels.
func (h *host) describeRecords() string {
	stored, err := h.stored()
	if err != nil {
		return err.Error()
	}
	var text strings.Builder
	for _, r := range stored.state.Unikernels {
		fmt.Fprintf(&text, "%s %v %q on %v, stopped %t, former %t, runtime %+v\n",
			r.Name, r.Spec.Digest, r.Spec.Arguments.Argv.Value, r.Spec.Arguments.Networks, r.Spec.IsStopped(), r.Spec.Former != nil, r.Runtime)
	}
	return text.String()
}

// writeChaos writes the faults that the daemon is to inject.
func (h *host) writeChaos(rules string) {
	h.t.Helper()
	next := h.path("chaos.next")
	require.NoError(h.t, os.WriteFile(next, []byte(rules), 0o600))
	require.NoError(h.t, os.Rename(next, h.path("chaos.toml")))
}

// readChaosAgain has the daemon use what was written.
func (h *host) readChaosAgain(log *logReader) {
	h.t.Helper()
	before := log.rulesRead(h)
	require.NoError(h.t, unix.Kill(h.pid, unix.SIGHUP))
	h.until("the daemon reads which faults to inject", func() bool { return log.rulesRead(h) > before })
}

// A logReader counts what the daemons of a host say of the faults that they inject.
type logReader struct {
	path     string
	read     int64
	rules    int            // how often these were read
	injected map[string]int // by fault
}

// rulesRead reads what is new in the log.
func (l *logReader) rulesRead(h *host) int {
	h.t.Helper()
	data, err := os.ReadFile(l.path)
	require.NoError(h.t, err)
	whole := strings.LastIndexByte(string(data), '\n') + 1
	for line := range strings.Lines(string(data[l.read:whole])) {
		l.line(line)
	}
	l.read = int64(whole)
	return l.rules
}

func (l *logReader) line(line string) {
	switch {
	case strings.Contains(line, "CHAOS: faults are injected"):
		l.rules++
	case strings.Contains(line, "CHAOS: fault injected"):
		if l.injected == nil {
			l.injected = map[string]int{}
		}
		l.injected[field(line, "fault")]++
	}
}

// field is the value of an attribute in a line of a log.
func field(line, name string) string {
	_, after, _ := strings.Cut(line, " "+name+"=")
	value, _, _ := strings.Cut(after, " ")
	return strings.TrimSpace(value)
}
