package control_test

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/sockets/control"
)

// The bytes of a request for the status of unikernels, and of an answer. To change them is to
// change the protocol.
const (
	goldenStatusRequest = "a3 0101 02 66 737461747573 03 62 613a"
	goldenStatuses      = `
		b5
		01 64 3a776562
		02 6a 72657374617274696e67
		03 58 20 0700000000000000000000000000000000000000000000000000000000000000
		04 18 20
		05 81 00
		06 c0 78 18 323032362d30312d30325430333a30343a30352e3637385a
		07 18 63
		08 02
		09 c0 74 323032362d30312d30325430333a30343a30355a
		0a 67 62726f6b656e21
		0b c0 78 18 323032362d30312d30325430333a30343a30352e3637385a
		0c a3 01 64 3a776562 02 03 05 01
		0d a2 01 1a 0016e360 02 1a 00400000
		0e 81 a6 01 67 73657276696365 02 63 6e6574 03 46 020000000001 04 81 44 0a000005 05 19 03e8 06 f5
		0f 81 a4 01 64 64617461 02 64 6469736b 03 19 1000 04 0a
		10 81 a2 01 19 1f90 02 18 50
		11 f5
		12 82 02 03
		13 05
		14 f5
		15 c0 74 323032362d30312d30325430333a30343a30355a
		a2 01 64 3a6f6c64 02 65 656e646564
		a0`
)

// statuses are one of each field, and one of none.
func statuses(t require.TestingT) messages.SuccessStatuses {
	return messages.SuccessStatuses{List: []messages.UnikernelStatus{
		{
			Name: name(t, ":web"), State: messages.StateRestarting, Digest: messages.Digest{7}, PID: 99, Restarts: 2,
			Arguments: messages.Arguments{
				Memory: 32, CPUIDs: []int{0}, AddName: true, Startup: messages.Some(5),
				Fail:    messages.FailBehaviour{Restart: true, Codes: []int{2, 3}},
				Publish: []messages.Publication{{From: 8080, To: 80}},
				Networks: []messages.Network{{
					Name: "service", Bridge: messages.Some("net"), MAC: messages.Some(messages.MAC{2, 0, 0, 0, 0, 1}),
					Leases: []netip.Addr{netip.MustParseAddr("10.0.0.5")}, Rate: 1000, Static: true,
				}},
			},
			Blocks:  []messages.BlockInfo{{Name: "data", Device: messages.Some("disk"), SectorSize: messages.Some(4096), Size: 10}},
			Started: time.UnixMilli(seen).UTC(),
			Stopped: time.UnixMilli(second).UTC(),
			Wait:    messages.Some(messages.Wait{Since: time.UnixMilli(second).UTC(), Cause: "broken!", Until: time.UnixMilli(seen).UTC()}),
			End:     messages.Some(messages.End{Exit: messages.Exit{Known: true, Code: 3}, Restarts: 1}),
			Used:    messages.Some(messages.Use{CPU: 1500 * time.Millisecond, Memory: 4 << 20}),
		},
		{Name: name(t, ":old"), State: messages.StateEnded},
	}}
}

func TestStatusesAreTheseBytes(t *testing.T) {
	requireRequest(t, goldenStatusRequest, name(t, "a:"), messages.StatusList{})
	want := statuses(t)
	b, err := control.Append(nil, messages.Wire{Payload: want})
	require.NoError(t, err)
	require.Equal(t, unhex(t, goldenStatuses), b)
	back, err := control.ReadStatuses(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, want, back)
	for n := 1; n < len(b); n++ {
		_, err := control.ReadStatuses(bytes.NewReader(b[:n]))
		require.Equal(t, io.ErrUnexpectedEOF, err, "%d bytes", n)
	}
	refused, err := control.ReadStatuses(bytes.NewReader(unhex(t, "a1 00 62 6e6f")))
	require.NoError(t, err)
	require.Equal(t, messages.Failure{Text: "no"}, refused)
}

// TestStatusesThatCannotBe are refused.
func TestStatusesThatCannotBe(t *testing.T) {
	for what, sent := range map[string]string{
		"no name":               "a1 02 65 656e646564",
		"a digest of one byte":  "a3 01 62 3a61 02 65 656e646564 03 41 00",
		"a digest of 64 bytes":  "a3 01 62 3a61 02 65 656e646564 03 58 40 " + zeros(64),
		"less memory than none": "a3 01 62 3a61 02 65 656e646564 0d a1 02 20",
		"a port 0":              "a3 01 62 3a61 02 65 656e646564 10 81 a2 01 00 02 01",
		"two kinds of ends":     "a3 01 62 3a61 02 65 656e646564 0c a4 01 62 3a61 02 03 03 04 05 00",
	} {
		_, err := control.ReadStatuses(bytes.NewReader(unhex(t, sent+"a0")))
		require.ErrorContains(t, err, "cannot understand the answer", what)
	}
}

func zeros(n int) string { return string(bytes.Repeat([]byte("00"), n)) }

// TestAnyStatus: whatever bytes arrive, what is understood is encoded again, and understood.
func TestAnyStatus(t *testing.T) {
	golden := unhex(t, goldenStatuses)
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(golden)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "where")] = rapid.Byte().Draw(t, "byte")
		}
		answer, err := control.ReadStatuses(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := control.Append(nil, messages.Wire{Payload: answer})
		require.NoError(t, err)
		_, err = control.ReadStatuses(bytes.NewReader(again))
		require.NoError(t, err)
	})
}
