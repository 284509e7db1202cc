package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// using is a unikernel that has used so much.
func using(label messages.Label, pid int, cpu time.Duration, memory int64) messages.UnikernelStatus {
	s := messages.UnikernelStatus{Name: messages.Name{Label: label}, State: messages.StateRunning, PID: pid, Started: now.Add(-time.Hour)}
	s.Used = messages.Some(messages.Use{CPU: cpu, Memory: memory})
	s.Arguments.Memory = 32
	return s
}

func TestShares(t *testing.T) {
	root := messages.Name{}
	before := newLook(root, []messages.UnikernelStatus{
		using("busy", 1, time.Second, 1<<20), using("idle", 2, time.Second, 8<<20), using("restarted", 3, time.Minute, 1<<20),
	}, now)
	after := newLook(root, []messages.UnikernelStatus{
		using("idle", 2, time.Second, 8<<20), using("new", 9, time.Second, 2<<20), using("restarted", 4, time.Second/2, 1<<20), using("busy", 1, 2*time.Second, 1<<20),
		{Name: messages.Name{Label: "gone"}, State: messages.StateEnded},
	}, now.Add(2*time.Second))
	list := after.since(before)
	shares := map[messages.Label]messages.Option[float64]{}
	for _, c := range list {
		shares[c.Name.Label] = c.share
	}
	require.Equal(t, map[messages.Label]messages.Option[float64]{
		"busy": messages.Some(0.5), "idle": messages.Some(0.0), "new": {}, "restarted": {},
	}, shares)
	require.Equal(t, map[order]string{
		byCPU: "busy idle new restarted", byMemory: "idle new busy restarted", byName: "busy idle new restarted",
	}, map[order]string{byCPU: sorted(list, byCPU), byMemory: sorted(list, byMemory), byName: sorted(after.since(before), byName)})
}

func sorted(list []consumer, by order) string {
	var out strings.Builder
	p := &printer{stdout: &out, format: textFormat}
	if err := printLook(p, list, by); err != nil {
		return err.Error()
	}
	var names []string
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n")[1:] {
		names = append(names, strings.Fields(line)[0])
	}
	return strings.Join(names, " ")
}

func TestTableOfConsumers(t *testing.T) {
	list := []consumer{{UnikernelStatus: using("busy", 1, 90*time.Second, 3<<20), share: messages.Some(0.505)}}
	require.Equal(t, "NAME  STATE    CPU%  TIME   MEMORY    SINCE\nbusy  running  50.5  1m30s  3.0M/32M  1h00m", consumerTable(list, now).fit(0))
	require.JSONEq(t, `{"name":"busy","state":"running","cpu_percent":50.5,"cpu_micros":90000000,"memory_bytes":3145728,"memory_mb":32}`,
		asciiJSON(toConsumerObject(list[0])))
}

func TestFirstLines(t *testing.T) {
	require.Equal(t, "a\nb", firstLines("a\nb\nc\nd", 3))
	require.Equal(t, "a\nb", firstLines("a\nb", 3))
	require.Equal(t, "a\nb", firstLines("a\nb", 0))
}
