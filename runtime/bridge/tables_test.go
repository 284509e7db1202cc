package bridge

import (
	"sync"
	"testing"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"
)

// TestNetworksAtTheSameTime: package nftables counts sets for all of its connections without a
// lock, which the race detector finds.
func TestNetworksAtTheSameTime(t *testing.T) {
	newWorld(t)
	var all sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		all.Go(func() {
			network := "net" + string(rune('a'+i))
			errs[i] = transact(func(c *nftables.Conn) error {
				c.AddTable(framesOf(network))
				c.AddTable(packetsOf(network))
				err := addSets(c, network)
				c.DelTable(framesOf(network))
				c.DelTable(packetsOf(network))
				return err
			})
		})
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Empty(t, tables(t))
}
