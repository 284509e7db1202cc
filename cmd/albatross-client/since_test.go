package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/sockets/wire"
)

var sinceNow = time.Date(2026, 3, 1, 12, 30, 15, 500, time.UTC)

func TestTimesAsPeopleTypeThem(t *testing.T) {
	for text, want := range map[string]string{
		"2026-01-02T15:04:05Z":                "2026-01-02T15:04:05Z",
		"2026-01-02t15:04:05z":                "2026-01-02T15:04:05Z",
		"2026-01-02 15:04:05z":                "2026-01-02T15:04:05Z",
		"2026-01-02T15:04:05-00:00":           "2026-01-02T15:04:05Z", // the form in which all times are printed
		"2026-01-02T15:04:05+02:00":           "2026-01-02T13:04:05Z",
		"2026-01-02T15:04:05+0200":            "2026-01-02T13:04:05Z",
		"2026-01-02 15:04:05 -0130":           "2026-01-02T16:34:05Z",
		"2026-01-02T15:04:05+02":              "2026-01-02T13:04:05Z",
		"2026-01-02T15:04:05.678Z":            "2026-01-02T15:04:05.678Z",
		"2026-01-02T15:04:05,5Z":              "2026-01-02T15:04:05.5Z",
		"2026-01-02T15:04:05.1234567899+0000": "2026-01-02T15:04:05.123456789Z",
		"2026-01-02T15:04:05":                 "2026-01-02T15:04:05Z",
		"2026-01-02T15:04":                    "2026-01-02T15:04:00Z",
		"2026-01-02 15:04+0100":               "2026-01-02T14:04:00Z",
		"2016-12-31T23:59:60Z":                "2017-01-01T00:00:00Z", // a leap second
		"2017-01-01T01:59:60.5+0200":          "2017-01-01T00:00:00.5Z",
		"2026-01-02":                          "2026-01-02T00:00:00Z",
		"2024-02-29":                          "2024-02-29T00:00:00Z",
		"0001-01-01":                          "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59.9Z":              "9999-12-31T23:59:59.9Z",

		"now":                       "2026-03-01T12:30:15.0000005Z",
		"today":                     "2026-03-01T00:00:00Z",
		"yesterday":                 "2026-02-28T00:00:00Z",
		"Yesterday":                 "2026-02-28T00:00:00Z",
		"10m":                       "2026-03-01T12:20:15.0000005Z",
		"2h":                        "2026-03-01T10:30:15.0000005Z",
		"2h ago":                    "2026-03-01T10:30:15.0000005Z",
		"90s":                       "2026-03-01T12:28:45.0000005Z",
		"0s":                        "2026-03-01T12:30:15.0000005Z",
		"1h30m":                     "2026-03-01T11:00:15.0000005Z",
		"1d":                        "2026-02-28T12:30:15.0000005Z",
		"1W":                        "2026-02-22T12:30:15.0000005Z",
		"1w1d1h1m1s":                "2026-02-21T11:29:14.0000005Z",
		"999999h9999999m999999999s": "1861-05-20T09:04:36.0000005Z",
	} {
		got, err := timeFrom(sinceNow, text)
		require.NoError(t, err, text)
		require.Equal(t, want, got.Format(time.RFC3339Nano), text)
	}
}

func TestTimesThatAreNone(t *testing.T) {
	for _, text := range []string{
		"", " ", "garbage", "ago", " ago", "tomorrow", "yesterday 10m", "10", "m", "-10m", "1.5h", "10m5", "30m1h", "10 m", "1000000h", "999999d999999w",
		"2026-02-29", "2026-13-01", "2026-00-01", "2026-1-2", "26-01-02", "2026-01-02T", "2026-01-02T15", "2026-01-02Z", "2026-01-02+0200",
		"2026-01-02T24:00:00Z", "2026-01-02T15:60:00Z", "2026-01-02T15:04:61Z", "2026-01-02T15:04:05.Z", "2026-01-02T15:04:05+2", "2026-01-02T15:04:05+02:60",
		"2026-01-02T15:04:05+24:00", "2026-01-02T15:04:05ZZ", "2026-01-02T15:04:05Z ", "2026-01-02\n",
		"0000-01-01T00:00:00+01:00", "9999-12-31T23:59:60Z", "999999d", // these are before or after all years that can be written
	} {
		_, err := timeFrom(sinceNow, text)
		require.ErrorContains(t, err, "couldn't parse timestamp: ", text)
		require.ErrorContains(t, err, "yesterday", text)
	}
}

// TestTimesInEveryForm writes a time in a random form, and reads it again.
func TestTimesInEveryForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("", 60*rapid.IntRange(-23*60-59, 23*60+59).Draw(t, "minutes"))
		want := time.Unix(rapid.Int64Range(-62e9, 253e9).Draw(t, "seconds"), 0).In(zone)
		layout := "2006-01-02" + rapid.SampledFrom([]string{"T", "t", " "}).Draw(t, "T") + "15:04"
		if rapid.Bool().Draw(t, "seconds") {
			layout += ":05"
			if digits := rapid.IntRange(0, 9).Draw(t, "digits"); digits > 0 {
				want = want.Add(time.Duration(rapid.Int64Range(0, 1e9-1).Draw(t, "nanoseconds")))
				want = want.Truncate(tenTo(9 - digits))
				layout += "." + "000000000"[:digits]
			}
		} else {
			want = want.Add(-time.Duration(want.Second()) * time.Second)
		}
		text := want.Format(layout + rapid.SampledFrom([]string{"Z07:00", "Z0700", "-07:00", "-0700", " -0700"}).Draw(t, "zone"))
		got, err := timeFrom(sinceNow, text)
		require.NoError(t, err, text)
		require.True(t, got.Equal(want), "%s: %v instead of %v", text, got, want)
	})
}

func tenTo(n int) time.Duration {
	d := time.Duration(1)
	for range n {
		d *= 10
	}
	return d
}

// FuzzSince: any text that is accepted as a time can be sent to a daemon, and package time reads
// the same time from it.
func FuzzSince(f *testing.F) {
	for _, text := range []string{"2026-01-02T15:04:05Z", "2016-12-31t23:59:60.5+0200", "2026-01-02", "yesterday", "1w2d3h4m5s ago"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := timeFrom(sinceNow, text)
		if err != nil {
			return
		}
		_, err = wire.Append(nil, messages.Wire{Header: messages.Header{Version: messages.CurrentVersion, Name: messages.Name{Label: "x"}}, Payload: messages.ConsoleSubscribe{Since: messages.Some(got)}})
		require.NoError(t, err)
		if want, err := time.Parse(time.RFC3339, text); err == nil {
			require.True(t, got.Equal(want), "%v instead of %v", got, want)
		}
	})
}
