package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
)

// now is when the listings of these tests are made.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// listed are unikernels in every state.
func listed() []messages.UnikernelStatus {
	running := messages.UnikernelStatus{
		Name: messages.Name{Path: "web", Label: "site"}, State: messages.StateRunning, Digest: messages.Digest{0xab, 0xcd}, PID: 99, Restarts: 2,
		Started: now.Add(-90 * time.Minute), Used: messages.Some(messages.Use{CPU: 1234 * time.Millisecond, Memory: 12<<20 + 300<<10}),
	}
	running.Arguments.Memory = 64
	running.Arguments.Networks = []messages.Network{{Name: "service", Bridge: messages.Some("inside"), Leases: addresses("10.1.0.2")}}
	running.Arguments.Publish = []messages.Publication{{From: 8080, To: 80}}
	restarting := messages.UnikernelStatus{
		Name: messages.Name{Label: "fails"}, State: messages.StateRestarting, Digest: messages.Digest{1}, Restarts: 7,
		Wait: messages.Some(messages.Wait{Since: now.Add(-3 * time.Second), Until: now.Add(12 * time.Second), Cause: "exit 3 asks for a restart"}),
		End:  messages.Some(messages.End{Exit: messages.Exit{Known: true, Code: 3}, AtMillis: now.Add(-3 * time.Second).UnixMilli()}),
	}
	restarting.Arguments.Memory = 32
	ended := messages.UnikernelStatus{
		Name: messages.Name{Label: "gone"}, State: messages.StateEnded,
		End: messages.Some(messages.End{Exit: messages.Exit{Known: true, Code: 2}, AtMillis: now.Add(-50 * time.Hour).UnixMilli(), Restarts: 1}),
	}
	return []messages.UnikernelStatus{running, restarting, ended}
}

func TestTableOfUnikernels(t *testing.T) {
	table := unikernelTable(listed(), now, false)
	require.Equal(t, `
NAME      STATE              SINCE  CPU   MEMORY   RESTARTS  NETWORKS                  IMAGE
web:site  running            1h30m  1.2s  12M/64M  2         inside 10.1.0.2, 8080:80  abcd00000000
fails     restarting in 12s  3s     -     32M      7         -                         010000000000
gone      ended, exit 2      2d02h  -     -        1         -                         -`, "\n"+table.fit(200))
	require.Equal(t, `
NAME      STATE              SINCE  CPU   MEMORY   RESTARTS  NETWORKS
web:site  running            1h30m  1.2s  12M/64M  2         inside 10.1.0.2, 8080:80
fails     restarting in 12s  3s     -     32M      7         -
gone      ended, exit 2      2d02h  -     -        1         -`, "\n"+table.fit(90), "the image is what one can do without")
	require.Equal(t, `
NAME      STATE              SINCE  CPU   MEMORY   NETWORKS
web:site  running            1h30m  1.2s  12M/64M  inside 10.1.0.2, 8080:80
fails     restarting in 12s  3s     -     32M      -
gone      ended, exit 2      2d02h  -     -        -`, "\n"+table.fit(80))
	require.Equal(t, `
NAME      STATE              SINCE
web:site  running            1h30m
fails     restarting in 12s  3s
gone      ended, exit 2      2d02h`, "\n"+table.fit(35))
}

// TestTablesFit: no line is longer than the terminal, and the columns are aligned.
func TestTablesFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringMatching(`[a-zäö ]{1,12}`)
		width := rapid.IntRange(1, 60).Draw(t, "width")
		columns := rapid.IntRange(1, 5).Draw(t, "columns")
		tab := table{least: rapid.SliceOfDistinct(rapid.IntRange(0, columns-1), rapid.ID[int]).Draw(t, "least")}
		if len(tab.least) == columns {
			tab.least = tab.least[1:]
		}
		for range rapid.IntRange(1, 4).Draw(t, "rows") {
			tab.rows = append(tab.rows, rapid.SliceOfN(cell, columns, columns).Draw(t, "row"))
		}
		for _, line := range strings.Split(tab.fit(width), "\n") {
			require.LessOrEqual(t, utf8.RuneCountInString(line), width, "%q", line)
		}
		for i, line := range strings.Split(tab.fit(0), "\n") {
			for _, c := range tab.rows[i] {
				require.Contains(t, line, strings.TrimRight(c, " "))
			}
		}
	})
}

// TestAnUnhealthyStateIsNotGreen: what runs and does not do what it is for is as conspicuous as what has
// ended.
func TestAnUnhealthyStateIsNotGreen(t *testing.T) {
	for state, want := range map[messages.HealthState]int{"": green, messages.Healthy: green, messages.HealthChecking: yellow, messages.Unhealthy: red} {
		require.Equal(t, want, stateColour(messages.UnikernelStatus{State: messages.StateRunning, Health: messages.Health{State: state}}), state)
	}
}

// TestOnlyStatesAreColoured: colours change no width.
func TestOnlyStatesAreColoured(t *testing.T) {
	plain, coloured := unikernelTable(listed(), now, false).fit(0), unikernelTable(listed(), now, true).fit(0)
	require.Contains(t, coloured, "\x1b[32mrunning\x1b[0m")
	require.Contains(t, coloured, "\x1b[33mrestarting in 12s\x1b[0m")
	require.Contains(t, coloured, "\x1b[31mended, exit 2\x1b[0m")
	require.NotContains(t, strings.Split(coloured, "\n")[0], "\x1b")
	for _, code := range []string{"\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"} {
		coloured = strings.ReplaceAll(coloured, code, "")
	}
	require.Equal(t, plain, coloured)
}

func TestDurations(t *testing.T) {
	for d, text := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m00s", 61 * time.Minute: "1h01m", 49 * time.Hour: "2d01h",
	} {
		require.Equal(t, text, forHumans(d))
	}
}

func TestSizes(t *testing.T) {
	for n, text := range map[int64]string{
		0: "0B", 1023: "1023B", 1024: "1.0K", 12 << 20: "12M", 1536 << 10: "1.5M", 9<<30 + 1023<<20: "10G", 3 << 40: "3.0T",
	} {
		require.Equal(t, text, bytesText(n))
	}
	for n, text := range map[int]string{1: "1M", 32: "32M", 1024: "1G", 1536: "1.5G", 2500: "2.4G"} {
		require.Equal(t, text, megabytesText(n))
	}
}

func TestPageOfAUnikernel(t *testing.T) {
	s := listed()[0]
	s.Blocks = []messages.BlockInfo{{Name: "data", Device: messages.Some("disk"), Size: 10}}
	s.Arguments.CPUIDs = []int{0}
	s.Arguments.Fail = messages.FailBehaviour{Restart: true, Codes: []int{2, 3}}
	require.Equal(t, `
name:         web:site
state:        running
since:        2026-01-02T01:34:05.000Z (1h30m)
pid:          99
restarts:     2
image:        abcd000000000000000000000000000000000000000000000000000000000000
memory:       12M/64M
CPU time:     1.2s
CPUs:         0
if it exits:  restart 2, 3
block:        data -> disk (sector-size: 512 bytes, size 10 MB)
network:      service -> inside 10.1.0.2
published:    8080:80`, "\n"+unikernelPage(s, now))
}
