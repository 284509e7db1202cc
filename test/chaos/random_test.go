package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/netns"
)

const (
	// tenants is how many clients there are on a host.
	tenants = 4
	// labels is how many unikernels of each, besides one that ends by itself.
	labels = 3
	// answersAtMost is how many commands a daemon under load acknowledges before it
	// may be killed, at most.
	answersAtMost = 12
	// killedWithin is how long it lives after that at most.
	killedWithin = 30 * time.Millisecond
	// startWithin is within what time one is killed that starts.
	startWithin = 40 * time.Millisecond
)

// seedVariable is the environment variable for a seed that was printed.
const seedVariable = "ALBATROSS_CHAOS_SEED"

func seed(t *testing.T) uint64 {
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		n, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	fmt.Printf("%s=%d\n", seedVariable, n)
	return n
}

// TestRandomMoments kills the daemon, and harms its keeper, at random moments while several
// clients change all there is. With a keeper, versions change forth and back.
func TestRandomMoments(t *testing.T) { inModes(t, killAtRandom) }

func killAtRandom(t *testing.T, m mode) {
	netns.Need(t)
	kills, _ := wantedKills(t)
	first := seed(t)
	changes, cuts := sum.count(m, answered), sum.count(m, cutOff)
	inParallel(t, func(t *testing.T, worker int) {
		random := rand.New(rand.NewPCG(first, uint64(worker)))
		h := workingHost(t, m)
		var all []*tenant
		for id := range tenants {
			all = append(all, newTenant(h, id, rand.New(rand.NewPCG(random.Uint64(), 0))))
		}
		for i := worker; i < kills; i += workers {
			h.doing = fmt.Sprintf("kill %d", i)
			h.killUnder(all, random)
			h.changeVersion(random)
			if random.IntN(5) == 0 {
				h.killStarting(upTo(random, startWithin))
			}
			h.start()
			h.check()
		}
		h.end()
	})
	if !t.Failed() {
		require.GreaterOrEqual(t, sum.count(m, atRandom), kills)
		require.Greater(t, sum.count(m, answered)-changes, kills, "commands that were acknowledged")
		require.Greater(t, sum.count(m, cutOff)-cuts, kills, "commands that were cut off")
	}
}

func upTo(random *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(limit)))
}

// killUnder kills the daemon while clients work: some time after it has
// acknowledged so many commands. A moment that depended on time alone would come
// before any answer on a busy machine.
func (h *host) killUnder(all []*tenant, random *rand.Rand) {
	var working sync.WaitGroup
	enough := h.acknowledged.Load() + 1 + random.Int64N(answersAtMost)
	for _, k := range all {
		working.Go(k.work)
	}
	if !within(patience, func() bool { return h.acknowledged.Load() >= enough }) {
		h.t.Errorf("%s: the daemon does not answer", h.doing) // its clients must be waited for
	}
	if h.mode == kept {
		h.harmKeeper(random)
	}
	<-time.After(upTo(random, killedWithin))
	h.kill()
	sum.add(h.mode, atRandom, 1)
	working.Wait()
}

// changeVersion makes another version of the programs the next to run, sometimes.
func (h *host) changeVersion(random *rand.Rand) {
	if h.mode == alone || random.IntN(4) > 0 {
		return
	}
	h.programs = map[string]string{killable: newer, newer: killable}[h.programs]
	sum.add(h.mode, upgrades, 1)
}

// killStarting kills the next one before it can do much.
func (h *host) killStarting(after time.Duration) {
	h.launch(nothing)
	<-time.After(after)
	h.kill()
	sum.add(h.mode, atRandom, 1)
}

// A tenant changes things of its own.
type tenant struct {
	h      *host
	id     int
	random *rand.Rand
	guests []guest           // that it runs
	halted map[string]string // the states of unikernels before they were stopped
}

func newTenant(h *host, id int, random *rand.Rand) *tenant {
	k := &tenant{h: h, id: id, random: random, halted: map[string]string{}}
	for _, argument := range []string{"1", "2"} {
		k.guests = append(k.guests, run("hello", "--quiet", argument), run("chatty", argument).compressed(),
			run("net", argument).networked("service"))
	}
	return k
}

// path is that of everything that this tenant has.
func (t *tenant) path() string { return fmt.Sprintf("client%d:", t.id) }

// work changes something until the daemon is gone.
func (t *tenant) work() {
	c := &caller{h: t.h}
	for !c.dead {
		switch t.random.IntN(8) {
		case 0:
			t.changePolicy(c)
		case 1, 2:
			t.changeDevice(c)
		case 3:
			t.end(c)
		default:
			t.changeUnikernel(c)
		}
	}
}

func (t *tenant) changeUnikernel(c *caller) {
	name := fmt.Sprintf("%s%d-%d", t.path(), t.id, t.random.IntN(labels))
	now := t.h.journal.state(thing{unikernel, parse(name)})
	next := t.guests[t.random.IntN(len(t.guests))]
	switch choice := t.random.IntN(4); {
	case now == absent && choice == 0:
		c.create(name, next)
	case now == absent || choice == 0:
		c.force(name, next)
	case choice == 1:
		c.destroy(name)
	case now == halted:
		c.goOn(name, t.halted[name])
	case choice == 2:
		t.halted[name] = now
		c.halt(name)
	default:
		c.restart(name, t.sameImage(now))
	}
}

// sameImage is a guest that has the image of the one in a state.
func (t *tenant) sameImage(state string) guest {
	i := slices.IndexFunc(t.guests, func(g guest) bool { return g.state() == state })
	for {
		if g := t.guests[t.random.IntN(len(t.guests))]; g.program == t.guests[i].program {
			return g
		}
	}
}

// end has a unikernel run to its end, or waits for one of an earlier daemon.
func (t *tenant) end(c *caller) {
	name := fmt.Sprintf("%s%d-ends", t.path(), t.id)
	if t.h.journal.isMoving(parse(name)) {
		c.waitGone(name)
		return
	}
	c.createMoving(name, run("exit", "7", "5"), exits(7))
	c.waitEnd(name, exits(7))
}

func (t *tenant) changePolicy(c *caller) {
	name := t.path()
	if t.h.journal.state(thing{policy, parse(name)}) != absent && t.random.IntN(3) == 0 {
		c.removePolicy(name)
		return
	}
	c.addPolicy(name, messages.Policy{
		Unikernels: 10 + t.random.IntN(5), CPUIDs: []int{0}, Memory: 100, Block: messages.Some(10), Bridges: []string{bridge},
	})
}

func (t *tenant) changeDevice(c *caller) {
	name := t.path() + "disk"
	contents := fmt.Sprint(t.random.IntN(100))
	switch there := t.h.journal.state(thing{device, parse(name)}) != absent; {
	case !there:
		c.addDevice(name, contents)
	case t.random.IntN(4) == 0:
		c.removeDevice(name)
	default:
		c.setDevice(name, contents, t.random.IntN(2) == 0)
	}
}
