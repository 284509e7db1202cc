package messages_test

import (
	"testing"

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
