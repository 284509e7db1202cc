package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestEventOutputs(t *testing.T) {
	at := time.UnixMilli(1767323045678)
	event := func(kind messages.EventKind, name messages.Name, cause messages.Public) messages.Event {
		return messages.NewEvent(kind, name, at, cause)
	}
	exited := func(exit messages.Exit, cause messages.Public) messages.Event {
		e := event(messages.EventExited, messages.Name{Path: "a", Label: "x"}, cause)
		e.Exit = messages.Some(exit)
		return e
	}
	used := func(e messages.Event, usage messages.Usage) messages.Event {
		e.Usage = messages.Some(usage)
		return e
	}
	for what, c := range map[string]struct {
		event messages.Event
		text  string
		json  string
	}{
		"daemon": {
			event(messages.EventDaemonStarted, messages.Name{}, ""),
			"2026-01-02T03:04:05-00:00  daemon-started  :",
			`{"number":7,"time":"2026-01-02T03:04:05.678Z","event":"daemon-started","name":":"}`,
		},
		"code": {
			exited(messages.Exit{Known: true}, "it ended by itself"),
			"2026-01-02T03:04:05-00:00  exited          a:x                   exit 0: it ended by itself",
			`{"number":7,"time":"2026-01-02T03:04:05.678Z","event":"exited","name":"a:x","code":0,"cause":"it ended by itself"}`,
		},
		"signal": {
			exited(messages.Exit{Known: true, Signal: 9}, ""),
			"2026-01-02T03:04:05-00:00  exited          a:x                   signal 9",
			`{"number":7,"time":"2026-01-02T03:04:05.678Z","event":"exited","name":"a:x","signal":9}`,
		},
		"used": {
			used(exited(messages.Exit{Known: true}, "why"), messages.Usage{UserMicros: 10_000, SystemMicros: 2_000, MaxMemory: 9 << 10}),
			"2026-01-02T03:04:05-00:00  exited          a:x                   exit 0: why (user 0.010 s system 0.002 s memory 9.0 MB)",
			`{"number":7,"time":"2026-01-02T03:04:05.678Z","event":"exited","name":"a:x","code":0,"cause":"why","used":{"user_micros":10000,"system_micros":2000,"max_memory_kb":9216}}`,
		},
		"unknown": {
			exited(messages.Exit{}, "why"),
			"2026-01-02T03:04:05-00:00  exited          a:x                   exit unknown: why",
			`{"number":7,"time":"2026-01-02T03:04:05.678Z","event":"exited","name":"a:x","cause":"why"}`,
		},
		"hostile": {
			event("\x1b[2J\u009b", messages.Name{Path: "a"}, "\x07 \u202e grüße 🐫 \u007f"),
			"2026-01-02T03:04:05-00:00  \\027[2J\\194\\155  a:                    \\007 \\226\\128\\174 grüße 🐫 \\127",
			`{"number":7,"time":"2026-01-02T03:04:05.678Z","event":"\u001b[2J\u009b","name":"a:","cause":"\u0007 \u202e gr\u00fc\u00dfe \ud83d\udc2b \u007f"}`,
		},
	} {
		t.Run(what, func(t *testing.T) {
			n := messages.NumberedEvent{Number: 7, Event: c.event}
			require.Equal(t, c.text, eventText(messages.DataEvent{NumberedEvent: n}))
			require.Equal(t, c.json, eventJSON(messages.DataEvent{NumberedEvent: n}))
			var back eventObject
			require.NoError(t, json.Unmarshal([]byte(c.json), &back))
			require.Equal(t, toObject(n), back)
		})
	}
	require.Equal(t, "[5 events missed: they are not kept any more]", eventText(messages.DataMissed{Count: 5}))
	require.Equal(t, `{"missed":5}`, eventJSON(messages.DataMissed{Count: 5}))
}
