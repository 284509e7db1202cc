package messages_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestRuntimeIsTheSameAfterStoring(t *testing.T) {
	run := messages.Runtime{
		Process:       messages.Process{PID: 7, StartTime: 1 << 40, BootID: "b"},
		StartedMillis: 1_700_000_000_123,
		Released:      true,
	}
	data, err := messages.Encode(run)
	require.NoError(t, err)
	var back messages.Runtime
	require.NoError(t, messages.Decode(data, &back))
	require.Equal(t, run, back)
}

func TestSpecIsTheSameAfterStoring(t *testing.T) {
	some := messages.Spec{
		Type:        messages.Solo5,
		Digest:      messages.Digest{1, 2, 3},
		NameRefused: true,
		Arguments: messages.Arguments{
			Fail:     messages.FailBehaviour{Restart: true, Codes: []int{2, 3}},
			Startup:  messages.Some(0),
			AddName:  true,
			CPUIDs:   []int{0, 1},
			Memory:   32,
			Blocks:   []messages.BlockDevice{{Name: "storage", Device: messages.Some(""), SectorSize: messages.Some(512)}},
			Networks: []messages.Network{{Name: "service", MAC: messages.Some(messages.MAC{0, 0x80, 0x41})}},
			Argv:     messages.Some([]string{"--hello", "\xff"}),
			CPUs:     2,
		},
	}
	for name, spec := range map[string]messages.Spec{"everything": some, "nothing": {}, "an empty list": {
		Arguments: messages.Arguments{Argv: messages.Some([]string{})},
	}} {
		t.Run(name, func(t *testing.T) {
			data, err := messages.Encode(spec)
			require.NoError(t, err)
			var back messages.Spec
			require.NoError(t, messages.Decode(data, &back))
			require.Equal(t, spec, back)
		})
	}
}

// TestEndsOfEarlierDaemonsAreRead: what they have used is unknown. An earlier daemon ignores
// it.
func TestEndsOfEarlierDaemonsAreRead(t *testing.T) {
	end := messages.End{Exit: messages.Exit{Known: true, Code: 3}, AtMillis: 5, Restarts: 2}
	event := messages.NewEvent(messages.EventExited, messages.Name{}, time.UnixMilli(5), "no")
	event.Exit = messages.Some(end.Exit)
	requireStored(t, end, "a30"+"1a201f50203"+"0205"+"0302")
	requireStored(t, event, "a5"+"01"+"46657869746564"+"02"+"413a"+"03"+"05"+"04"+"426e6f"+"05"+"a201f50203")

	end.Usage = messages.Some(messages.Usage{UserMicros: 1, MaxMemory: 2})
	event.Usage = messages.Some(messages.Usage{})
	requireStored(t, end, "a4"+"01a201f50203"+"0205"+"0302"+"05a201010302")
	requireStored(t, event, "a6"+"01"+"46657869746564"+"02"+"413a"+"03"+"05"+"04"+"426e6f"+"05"+"a201f50203"+"06a0")
}

// TestStoppedOnRecord: what earlier daemons have stored is to run, and is not being stopped.
func TestStoppedOnRecord(t *testing.T) {
	spec := messages.Spec{Digest: messages.Digest{1}, Former: &messages.Former{}}
	run := messages.Runtime{Process: messages.Process{PID: 7}, Released: true}
	toRun := "0100" + "025820" + "01" + strings.Repeat("00", 31) + "03a10500"
	requireStored(t, spec.ToRun(), "a3"+toRun)
	require.False(t, spec.IsStopped())
	stopped := spec.Stopped(time.UnixMilli(5))
	requireStored(t, stopped, "a4"+toRun+"0605")
	require.True(t, stopped.IsStopped())
	require.Equal(t, spec.Proven(), stopped.ToRun())

	requireStored(t, run, "a3"+"01a301070200"+"0340"+"0200"+"03f5")
	run.Stopping = true
	requireStored(t, run, "a4"+"01a301070200"+"0340"+"0200"+"03f5"+"07f5")
}

func requireStored[T any](t *testing.T, record T, golden string) {
	t.Helper()
	data, err := messages.Encode(record)
	require.NoError(t, err)
	require.Equal(t, golden, hex.EncodeToString(data))
	var back T
	require.NoError(t, messages.Decode(data, &back))
	require.Equal(t, record, back)
}

func TestUsageText(t *testing.T) {
	require.Equal(t, "user 1.500 s system 0.002 s memory 12.5 MB", messages.Usage{UserMicros: 1_500_000, SystemMicros: 2_000, MaxMemory: 12_800}.String())
	require.Equal(t, "user 0.000 s system 0.001 s", messages.Usage{SystemMicros: 1_000}.String())
}
