package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTimes: which texts native reads as a time. Messages of its own contain only some of them.
func TestTimes(t *testing.T) {
	const none = ""
	for _, c := range []struct{ text, gen, utc string }{
		{"20261122131415Z", "2026-11-22 13:14:15", none},
		{"20261122131415.123Z", "2026-11-22 13:14:15.123", none},
		{"20261122131415.5", "2026-11-22 13:14:15.005", none},
		{"20261122131415-0130", "2026-11-22 14:44:15", none},
		{"20261122131415-01", "2026-11-22 13:14:15", none},
		{"20261122131415+", "2026-11-22 13:14:15", none},
		{"20261122131415.1230130", "2026-11-22 11:44:15.123", none}, // its zone has no sign
		{"20261122131415.1230130Z", "2026-11-22 13:14:15.123", none},
		{"2026112213", "2026-11-22 13:00:00", none},
		{"99991231235960Z", none, none},
		{"00000101000000+0001", none, none},
		{"20261322131415Z", none, none},
		{"20260022131415Z", none, none},
		{"20261122131415Zx", none, none},
		{"_2_61122131415Z", none, none},
		{"261122131415Z", none, "2026-11-22 13:14:15"},
		{"2611221314+0100", "", "2026-11-22 12:14:00"},
		{"261122131415-01Z", "", "2026-11-22 13:14:15"},
		{"261122131415-01", "", none},
		{"2611221314", none, none},
		{"500101000000Z", none, "1950-01-01 00:00:00"},
	} {
		gen := clock{rest: []byte(c.text)}
		require.Equal(t, c.gen, shown(&gen, gen.genTime()), "GeneralizedTime %s", c.text)
		utc := clock{rest: []byte(c.text)}
		require.Equal(t, c.utc, shown(&utc, utc.utcTime()), "UTCTime %s", c.text)
	}
}

// shown returns the time that was read, and an empty text if there is none.
func shown(c *clock, ok bool) string {
	if !ok || len(c.rest) != 0 {
		return ""
	}
	t, ok := c.time()
	if !ok {
		return ""
	}
	return t.Format("2006-01-02 15:04:05.999")
}
