package meter_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"albatross/actors/meter"
	"albatross/messages"
)

func TestRequests(t *testing.T) {
	m, now := meter.New("v1"), time.Unix(1000, 0)
	m.Asked("vmmd", messages.BlockOldSet{}, now).Answered(messages.SuccessEmpty{}, now.Add(2*time.Second))
	m.Asked("vmmd", messages.BlockSet{}, now).Answered(messages.Failure{Text: "x"}, now)
	m.Asked("stat", messages.Failure{Text: "y"}, now).Answered(messages.Failure{}, now)
	m.Asked("control", messages.BadRequest{Why: "z"}, now).Answered(messages.Failure{}, now)
	require.NoError(t, testutil.CollectAndCompare(m, strings.NewReader(`
# HELP albatross_requests_total Commands of clients that have been answered.
# TYPE albatross_requests_total counter
albatross_requests_total{command="block_set",result="failure",socket="vmmd"} 1
albatross_requests_total{command="block_set",result="success",socket="vmmd"} 1
albatross_requests_total{command="unknown",result="failure",socket="control"} 1
albatross_requests_total{command="unknown",result="failure",socket="stat"} 1
`), "albatross_requests_total"))
	text := gather(t, m)
	require.Contains(t, text, `albatross_request_duration_seconds_sum{command="block_set"} 2`+"\n")
	require.Contains(t, text, `albatross_request_duration_seconds_bucket{command="block_set",le="1"} 1`+"\n")
}

func TestCounters(t *testing.T) {
	m := meter.New("v1")
	m.Missed(3)
	m.Missed(4)
	m.Adopted()
	m.Rejected("vmmd")
	m.Committed(20*time.Millisecond, nil)
	m.Committed(20*time.Millisecond, errors.New("disk full"))
	text := gather(t, m)
	for _, line := range []string{
		"albatross_console_missed_lines_total 7",
		"albatross_adopted_tenders_total 1",
		`albatross_clients_turned_away_total{socket="vmmd"} 1`,
		"albatross_store_commit_duration_seconds_count 2",
		`albatross_store_commit_duration_seconds_bucket{le="0.05"} 2`,
		`albatross_store_commit_duration_seconds_bucket{le="0.01"} 0`,
		"albatross_store_commit_failures_total 1",
		`version="v1"} 1`,
	} {
		require.Contains(t, text, line+"\n")
	}
}
