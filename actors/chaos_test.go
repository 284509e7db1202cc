package actors_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors"
	"albatross/actors/supervise"
	"albatross/messages"
)

// TestChaos injects many faults, at random, during a few commands: each command is answered, each
// answer is true, and everything works when no more faults are injected. The seed decides which of
// the messages between two kinds of actors meet a fault.
func TestChaos(t *testing.T) {
	for title, tc := range map[string]struct {
		commands func(*world)
		after    func(*world)
	}{
		"unikernels": {unikernelCommands, afterUnikernels},
		"stops":      {stopCommands, afterUnikernels},
		"renames":    {renameCommands, afterRenames},
		"policies":   {policyCommands, afterPolicies},
		"blocks":     {blockCommands, afterBlocks},
	} {
		for seed := range uint64(chaosSeeds) {
			t.Run(fmt.Sprint(title, "/", seed), func(t *testing.T) {
				faults := supervise.NewFaults(seed, nil)
				w := newWorld(t, withBlocks, func(w *world) { w.faults = faults })
				faults.Set(chaos()...)
				tc.commands(w)
				t.Log("faults met:", faults.Injected())
				faults.Set()
				tc.after(w)
			})
		}
	}
}

const chaosSeeds = 8

// chaos returns the faults to inject. Those of sessions only delay messages: if a session failed,
// its client would get no answer.
func chaos() (rules []supervise.Rule) {
	for _, kind := range []string{"host", "unikernel", "console", "store", "block"} {
		rules = append(rules,
			supervise.Rule{Fault: supervise.CrashBefore, Kind: kind, Probability: 0.02},
			supervise.Rule{Fault: supervise.CrashAfter, Kind: kind, Probability: 0.02},
			supervise.Rule{Fault: supervise.Duplicate, Kind: kind, Messages: messages.MayComeAgain(), Probability: 0.2},
			supervise.Rule{Fault: supervise.Drop, Kind: kind, Messages: messages.MayBeDropped(), Probability: 0.03})
	}
	return slices.Concat(rules, []supervise.Rule{
		{Fault: supervise.Delay, Probability: 0.1, For: 2 * time.Millisecond},
		{Fault: supervise.Reorder, Probability: 0.1, For: 5 * time.Millisecond},
	})
}

// TestFaultsForEveryKindOfActor: a file for --chaos can name each kind of actor that stays.
func TestFaultsForEveryKindOfActor(t *testing.T) {
	w := newWorld(t, withBlocks)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	counts := w.system.Population()
	require.Greater(t, len(counts), 5)
	for kind := range counts {
		_, err := actors.Injectable(supervise.Rule{Fault: supervise.CrashBefore, Kind: kind})
		require.NoError(t, err)
	}
}
