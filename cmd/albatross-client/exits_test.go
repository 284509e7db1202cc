package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestEndText(t *testing.T) {
	name := messages.Name{Path: "a", Label: "x"}
	for want, end := range map[string]messages.End{
		"[unikernel: a:x]: exit 0 at 2026-01-02T03:04:05-00:00 restarts 0": {
			Exit: messages.Exit{Known: true}, AtMillis: 1767323045678,
		},
		"[unikernel: a:x]: signal 9 at 2026-01-02T03:04:05-00:00 restarts 3": {
			Exit: messages.Exit{Known: true, Signal: 9}, AtMillis: 1767323045678, Restarts: 3,
		},
		"[unikernel: a:x]: exit unknown at unknown time restarts 1":                  {Restarts: 1},
		"[unikernel: a:x]: exit unknown before 2026-01-02T03:04:05-00:00 restarts 1": {FoundMillis: 1767323045678, Restarts: 1},
		"[unikernel: a:x]: out of memory at 2026-01-02T03:04:05-00:00 restarts 1": {
			Exit: messages.Exit{Known: true, Signal: 9, OutOfMemory: true}, AtMillis: 1767323045678, Restarts: 1,
		},
		"[unikernel: a:x]: exit 3 at 2026-01-02T03:04:05-00:00 restarts 0 user 0.010 s system 0.002 s memory 9.0 MB": {
			Exit: messages.Exit{Known: true, Code: 3}, AtMillis: 1767323045678,
			Usage: messages.Some(messages.Usage{UserMicros: 10_000, SystemMicros: 2_000, MaxMemory: 9 << 10}),
		},
	} {
		require.Equal(t, want, endText(messages.NamedEnd{Name: name, End: end}))
	}
	wait := messages.Some(messages.NewWait(time.UnixMilli(1767323045678), "no"))
	require.Equal(t, "[unikernel: a:x]: exit 3 at 2026-01-02T03:04:05-00:00 restarts 0, waits to be started since 2026-01-02T03:04:05-00:00: no",
		endText(messages.NamedEnd{Name: name, End: messages.End{Exit: messages.Exit{Known: true, Code: 3}, AtMillis: 1767323045678}, Wait: wait}))
	require.Equal(t, "[unikernel: a:x]: waits to be started since 2026-01-02T03:04:05-00:00: no",
		endText(messages.NamedEnd{Name: name, Wait: wait}), "it has not run before")
}
