package wire_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

const imageSize = 10 << 20

func bigCreate() messages.UnikernelCreate {
	return messages.UnikernelCreate{Form: 3, Config: messages.Config{
		Compressed: true,
		Image:      make([]byte, imageSize),
		Arguments: messages.Arguments{
			AddName: true, CPUIDs: []int{0}, Memory: 32, CPUs: 1,
			Networks: []messages.Network{{Name: "service"}},
			Argv:     messages.Some([]string{"--ipv4=10.0.0.2/24"}),
		},
	}}
}

func consoleLine() messages.DataConsole {
	return messages.DataConsole{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC),
		Line: "2026-01-02 03:04:05 +00:00: INF [application] served a request in 12 ms",
	}
}

func manyInfos() messages.Success {
	list := make([]messages.NamedInfo, 1000)
	for i := range list {
		list[i] = messages.NamedInfo{Name: messages.Name{Path: "a", Label: messages.Label(fmt.Sprint("u", i))}, Info: sampleInfo()}
	}
	return wire.FitInfo(6, list)
}

func someStats() messages.DataStats {
	return messages.DataStats{
		Rusage:   messages.Rusage{UTime: messages.Timeval{Seconds: 1, Microseconds: 2}, MaxRSS: 3},
		IfData:   []messages.IfData{{Device: "service", MTU: 1500, InputBytes: 1 << 40}},
		VMM:      messages.Some([]messages.Counter{{Name: "io", Value: 4}, {Name: "exits", Value: 5}}),
		KinfoMem: messages.Some(messages.KinfoMem{VSize: 6, RSS: 7}),
	}
}

// TestAllocations: messages that are frequent or large allocate little.
func TestAllocations(t *testing.T) {
	line := encoded(t, consoleLine())
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _, _ = wire.DecodeLine(line) }), 1.0)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = wire.Decode(line) }), 2.0)

	m := messages.Wire{Header: header(), Payload: consoleLine()}
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = wire.AppendFrame(nil, m) }), 1.0)
	room := make([]byte, 0, 1000)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = wire.AppendFrame(room, m) }))
}

// TestImageAllocations: decoding does not copy an image, and encoding copies it once.
func TestImageAllocations(t *testing.T) {
	create := bigCreate()
	frame := encoded(t, create)
	require.Less(t, allocated(func() { _, _ = wire.Decode(frame) }), uint64(4<<10))
	spent := allocated(func() { _, _ = wire.Append(nil, messages.Wire{Header: header(), Payload: create}) })
	require.Less(t, spent, uint64(imageSize+imageSize/100))
}

// BenchmarkMemcpy is the bound of what the encoding of an image can reach.
func BenchmarkMemcpy(b *testing.B) {
	from, to := make([]byte, imageSize), make([]byte, imageSize)
	b.SetBytes(imageSize)
	for b.Loop() {
		copy(to, from)
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range payloads() {
		b.Run(c.name, func(b *testing.B) {
			m := messages.Wire{Header: header(), Payload: c.payload}
			room := encoded(b, c.payload)
			b.SetBytes(int64(len(room)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = wire.Append(room[:0], m)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range payloads() {
		b.Run(c.name, func(b *testing.B) {
			frame := encoded(b, c.payload)
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = wire.Decode(frame)
			}
		})
	}
	b.Run("DecodeLine", func(b *testing.B) {
		frame := encoded(b, consoleLine())
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = wire.DecodeLine(frame)
		}
	})
}

type namedPayload struct {
	name    string
	payload messages.Payload
}

func payloads() []namedPayload {
	return []namedPayload{
		{"Create10MB", bigCreate()},
		{"Info1000", manyInfos()},
		{"Console", consoleLine()},
		{"Stats", someStats()},
	}
}

// BenchmarkWriteFrame writes a create as a client does, into fresh memory.
func BenchmarkWriteFrame(b *testing.B) {
	m := messages.Wire{Header: header(), Payload: bigCreate()}
	b.SetBytes(imageSize)
	b.ReportAllocs()
	for b.Loop() {
		_ = wire.WriteFrame(io.Discard, m)
	}
}

// BenchmarkReadFrame reads a create as a daemon does.
func BenchmarkReadFrame(b *testing.B) {
	frame, err := wire.AppendFrame(nil, messages.Wire{Header: header(), Payload: bigCreate()})
	require.NoError(b, err)
	b.SetBytes(imageSize)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = wire.ReadFrame(bytes.NewReader(frame), wire.MaxFrame)
	}
}
