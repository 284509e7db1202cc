package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
)

func TestChaosFile(t *testing.T) {
	seed, rules, err := parseChaos(`
seed = 7

[[fault]]
kind = "crash-before"
actor = "unikernel"
message = "messages.UnikernelStop"
probability = 0.5

[[fault]]
kind = "delay"
nth = 3
for = "20ms"

[[fault]]
kind = "drop"
actor = "store"
message = "messages.StoreWrite"
probability = 1.0
`)
	require.NoError(t, err)
	require.Equal(t, uint64(7), seed)
	require.Equal(t, []supervise.Rule{
		{Fault: supervise.CrashBefore, Kind: "unikernel", Type: "messages.UnikernelStop", Probability: 0.5},
		{Fault: supervise.Delay, Nth: 3, For: 20 * time.Millisecond},
		{Fault: supervise.Drop, Kind: "store", Messages: messages.MayBeDropped(), Type: "messages.StoreWrite", Probability: 1},
	}, rules)
}

func TestChaosFileThatCannotBeMeant(t *testing.T) {
	for line, refusal := range map[string]string{
		"kind = 'crash'\nnth = 1":                                                       `fault 1: there is no fault "crash": there are crash-after, crash-before, delay, drop, duplicate, reorder`,
		"kind = 'crash-before'\nnth = 1":                                                "fault 1: crash-before needs an actor: block, console,",
		"kind = 'crash-before'\nactor = 'kernel'\nnth = 1":                              `fault 1: there is no actor "kernel": there are block,`,
		"kind = 'delay'\nnth = 1":                                                       "fault 1: delay needs a time",
		"kind = 'delay'\nnth = 1\nfor = '2m'":                                           "fault 1: a time of 2m0s is not possible: up to 1m0s is",
		"kind = 'delay'\nfor = '1s'":                                                    "fault 1: it needs a probability, greater than 0 and up to 1, or nth, from 1 on",
		"kind = 'delay'\nfor = '1s'\nprobability = 1.5":                                 "fault 1: it needs a probability",
		"kind = 'delay'\nfor = '1s'\nprobability = nan":                                 "fault 1: it needs a probability",
		"kind = 'delay'\nfor = '1s'\nprobability = 0.5\nnth = 1":                        "fault 1: it needs a probability",
		"kind = 'delay'\nfor = '1s'\nnth = -1":                                          "fault 1: it needs a probability",
		"kind = 'drop'\nactor = 'host'\nmessage = 'messages.Ask'\nnth = 1":              "fault 1: drop of messages.Ask is not possible, but of messages.StoreLoad, ",
		"kind = 'duplicate'\nactor = 'host'\nmessage = 'messages.StoreWrite'\nnth = 12": "fault 1: duplicate of messages.StoreWrite is not possible, but of ",
		"kind = 'delay'\nfor = '1s'\nnth = 1\nseeds = 1":                                "there is no key fault.seeds: ",
		"kind = ": "toml: ",
	} {
		_, _, err := parseChaos("[[fault]]\n" + line)
		require.ErrorContains(t, err, refusal, line)
	}
}

// TestAWrongChaosFileChangesNothing: the rules before stay.
func TestAWrongChaosFileChangesNothing(t *testing.T) {
	var log strings.Builder
	path := filepath.Join(t.TempDir(), "chaos.toml")
	write := func(text string, mode os.FileMode) {
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
		require.NoError(t, os.Chmod(path, mode))
	}
	write("[[fault]]\nkind = 'crash-before'\nactor = 'host'\nprobability = 1.0", 0o600)
	c, err := readChaos(path, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	require.Contains(t, log.String(), "CHAOS: faults are injected into this daemon on purpose")

	write("[[fault]]\nkind = 'none'", 0o600)
	require.ErrorContains(t, c.reader()(), "there is no fault")
	write("", 0o622)
	require.ErrorContains(t, c.reader()(), "cannot read --chaos: ", "anybody could have written it")

	log.Reset()
	write("", 0o600)
	require.NoError(t, c.reader()())
	require.Contains(t, log.String(), "rules=0")

	none, err := readChaos("", slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	require.Nil(t, none.reader())
}
