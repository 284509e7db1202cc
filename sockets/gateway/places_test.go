package gateway

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func at(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }

func TestLoser(t *testing.T) {
	const root, alice, bob = 0, 1000, 1001
	for title, tc := range map[string]struct {
		claims []rank
		want   int
	}{
		"the longest silent":                        {[]rank{{root, false, at(9)}, {root, false, at(5)}, {root, false, at(3)}, {root, false, at(4)}}, 2},
		"a silent one before a known one":           {[]rank{{root, false, at(9)}, {root, true, at(1)}, {root, false, at(8)}}, 2},
		"of whoever has most":                       {[]rank{{bob, false, at(9)}, {root, false, at(1)}, {alice, false, at(2)}, {alice, false, at(3)}}, 2},
		"a silent one, though its user has only it": {[]rank{{bob, false, at(9)}, {root, false, at(1)}, {alice, true, at(2)}, {alice, true, at(3)}}, 1},
		"who comes, where all are known":            {[]rank{{alice, false, at(9)}, {alice, true, at(1)}, {alice, true, at(2)}}, 0},
		"who comes, where all have as many":         {[]rank{{alice, false, at(9)}, {bob, true, at(1)}}, 0},
		"a known one of whoever has more":           {[]rank{{bob, false, at(9)}, {alice, true, at(3)}, {alice, true, at(2)}, {root, true, at(1)}}, 2},
	} {
		t.Run(title, func(t *testing.T) { require.Equal(t, tc.want, loser(tc.claims)) })
	}
}
