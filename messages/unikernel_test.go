package messages_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestTexts(t *testing.T) {
	require.Equal(t, "solo5", messages.Solo5.String())
	require.Equal(t, "bhyve", messages.BHyve.String())
	require.Equal(t, "02:ff:00:0a:bc:de", messages.MAC{2, 0xff, 0, 0x0a, 0xbc, 0xde}.String())
}

func TestOption(t *testing.T) {
	require.Equal(t, 3, messages.Some(3).Or(5))
	require.Equal(t, 0, messages.Some(0).Or(5))
	require.Equal(t, 5, messages.Option[int]{}.Or(5))
	require.NotEqual(t, messages.Some(0), messages.Option[int]{})
}

// TestLimits: native numbers have 63 bits.
func TestLimits(t *testing.T) {
	require.Equal(t, int64(4611686018427387903), int64(messages.MaxInt))
	require.Equal(t, int64(-4611686018427387904), int64(messages.MinInt))
}
