package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/proc"
	"albatross/runtime/store"
)

// The parameters of TestKill.
const (
	kills         = 20
	killers       = 4                     // clients
	labels        = 3                     // of each client
	answersAtMost = 24                    // before a kill
	killedWithin  = 20 * time.Millisecond // after the last answer that is waited for
)

// TestKill kills the daemon at random moments while clients create, replace and
// destroy unikernels. Whatever was acknowledged is true for the next daemon:
//
//  1. a unikernel whose creation was acknowledged runs, as the same process
//  2. one whose destruction was acknowledged is not there
//  3. of a name whose command was cut off there is never more than one process,
//     and in the end one if the daemon lists it, or none
//  4. there is nothing else: no process, record, FIFO or image
func TestKill(t *testing.T) {
	h := newHost(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var clients []*killer
	for i := range killers {
		clients = append(clients, newKiller(h, i, rand.New(rand.NewPCG(seed, uint64(i+1)))))
	}
	for range kills {
		killUnder(h, clients, 1+random.IntN(answersAtMost), time.Duration(random.Int64N(int64(killedWithin))))
		h.start()
		h.requireTrue(clients)
	}
	requireAcknowledged(t, clients)
	h.until("what was cut off is settled", func() bool { return h.settled(clients) })
	h.untilStored()
	require.NoError(t, h.stop())
	h.requireRecords()
	h.start()
}

// killUnder kills the daemon while clients work: some time after it has given a number of answers.
// A moment that depended on time alone would come before any answer on a busy machine.
func killUnder(h *host, clients []*killer, answers int, after time.Duration) {
	var working sync.WaitGroup
	var answered atomic.Int64
	for _, k := range clients {
		k.answered = &answered
		working.Go(k.work)
	}
	h.until("the daemon has answered enough", func() bool { return answered.Load() >= int64(answers) })
	<-time.After(after)
	h.kill()
	working.Wait()
}

// requireAcknowledged checks that commands were acknowledged, and logs how many.
func requireAcknowledged(t *testing.T, clients []*killer) {
	sum := map[string]int{}
	for _, k := range clients {
		for what, n := range k.counts {
			sum[what] += n
		}
	}
	t.Logf("%d kills: %v", kills, sum)
	require.Greater(t, sum["created"], kills)
	require.Greater(t, sum["destroyed"], 0)
	require.Greater(t, sum["cut off"], kills)
}

// A killer is a client that changes unikernels of its own, and remembers what was acknowledged.
type killer struct {
	h      *host
	id     int
	random *rand.Rand
	made   int            // number of labels ever
	labels []string       // in use
	known  map[string]int // their pids; 0 if nothing runs
	cut    []string       // labels whose command was not answered; they are not used again
	counts map[string]int

	answered *atomic.Int64 // commands of all clients since they have begun
}

func newKiller(h *host, id int, random *rand.Rand) *killer {
	k := &killer{h: h, id: id, random: random, known: map[string]int{}, counts: map[string]int{}}
	for range labels {
		k.label()
	}
	return k
}

// label makes a new label.
func (k *killer) label() {
	k.made++
	l := fmt.Sprintf("client%d-%d", k.id, k.made)
	k.labels = append(k.labels, l)
	k.known[l] = 0
}

// work changes something until the daemon is gone.
func (k *killer) work() {
	for cut := len(k.cut); cut == len(k.cut); {
		l := k.labels[k.random.IntN(len(k.labels))]
		if k.known[l] == 0 || k.random.IntN(3) == 0 {
			k.create(l)
		} else {
			k.destroy(l)
		}
	}
}

// create creates, or replaces. One in three has another image than the others.
func (k *killer) create(l string) {
	config := guest([]string{"hello", "hello", "chatty"}[k.random.IntN(3)], "3")
	answer, err := k.h.tryAsk(l, messages.UnikernelCreate{Form: 5, Force: true, Config: config})
	if err != nil {
		k.cutOff(l)
		return
	}
	if answer != (messages.SuccessText{Text: "created unikernel"}) {
		k.h.t.Errorf("create %s: %v", l, answer)
	}
	k.counts["created"]++
	k.answered.Add(1)
	pids := k.h.appeared(l)
	if len(pids) != 1 {
		k.h.t.Errorf("%s was created and has the processes %v", l, pids)
		return
	}
	k.known[l] = pids[0]
}

func (k *killer) destroy(l string) {
	answer, err := k.h.tryAsk(l, messages.UnikernelDestroy{})
	if err != nil {
		k.cutOff(l)
		return
	}
	if answer != (messages.SuccessText{Text: "destroyed unikernel"}) {
		k.h.t.Errorf("destroy %s: %v", l, answer)
	}
	k.counts["destroyed"]++
	k.answered.Add(1)
	k.known[l] = 0
	if pids := k.h.processes()[l]; len(pids) > 0 {
		k.h.t.Errorf("%s was destroyed and has the processes %v", l, pids)
	}
}

func (k *killer) cutOff(l string) {
	k.counts["cut off"]++
	k.cut = append(k.cut, l)
	k.labels = slices.DeleteFunc(k.labels, func(other string) bool { return other == l })
	delete(k.known, l)
	k.label()
}

// requireTrue compares what was acknowledged with what the next daemon lists.
func (h *host) requireTrue(clients []*killer) {
	h.t.Helper()
	listed, processes := h.listed(), h.processes()
	for _, k := range clients {
		for l, pid := range k.known {
			if pid == 0 {
				require.False(h.t, listed[l], "%s was destroyed", l)
				require.Empty(h.t, processes[l], "%s was destroyed", l)
			} else {
				require.True(h.t, listed[l], "%s was created", l)
				require.Equal(h.t, []int{pid}, processes[l], "%s was created", l)
			}
		}
		for _, l := range k.cut {
			require.LessOrEqual(h.t, len(processes[l]), 1, "processes of %s", l)
		}
	}
}

// listed returns the labels of the unikernels that the daemon lists.
func (h *host) listed() map[string]bool {
	listed := map[string]bool{}
	for _, i := range h.infos(":") {
		listed[string(i.Name.Label)] = true
	}
	return listed
}

// settled reports whether the daemon and the system agree on commands that were cut off. A gate
// that no daemon will open closes by itself, and what is on record is started. The daemon learns of
// an end once the process has been reaped.
func (h *host) settled(clients []*killer) bool {
	listed, processes := h.listed(), h.processes()
	for _, k := range clients {
		for _, l := range k.cut {
			if listed[l] != (len(processes[l]) == 1) {
				return false
			}
		}
	}
	return true
}

// requireRecords compares the records with what runs, while no daemon does.
func (h *host) requireRecords() {
	h.t.Helper()
	db, err := store.Open(h.path("db"))
	require.NoError(h.t, err)
	defer db.Close()
	state, err := db.Load()
	require.NoError(h.t, err)
	pids, images := map[string][]int{}, map[string]bool{}
	for _, r := range state.Unikernels {
		p := r.Runtime.Value.Process
		now, err := proc.Identify(p.PID)
		require.NoError(h.t, err)
		require.Equal(h.t, p, now)
		pids[string(r.Name.Label)] = []int{p.PID}
		images[r.Spec.Digest.String()] = true
	}
	require.Equal(h.t, pids, h.processes())
	require.Empty(h.t, h.files("fifo"))
	require.Len(h.t, h.files("db/images"), len(images))
}
