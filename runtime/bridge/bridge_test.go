package bridge

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePossible(t *testing.T) {
	newWorld(t)
	require.NoError(t, Possible())
	require.Empty(t, tables(t))
}

func TestStationsAndTheHostReachEachOther(t *testing.T) {
	inBothWorlds(t, stationsAndTheHostReachEachOther)
}

func stationsAndTheHostReachEachOther(t *testing.T, w *world) {
	w.up(service6(), nil)
	a, b := w.allowed(service6(), 2), w.allowed(service6(), 3)
	b.serve(":80")
	serveHere(t, ":53")
	require.Equal(t, "10.90.0.2", a.call("10.90.0.3:80"))
	require.Equal(t, "fd00:90::2", a.call("[fd00:90::3]:80"))
	require.Equal(t, "10.90.0.2", a.call("10.90.0.1:53"))
	require.Equal(t, "fd00:90::2", a.call("[fd00:90::1]:53"))
	require.Equal(t, "10.90.0.1", callHere(t, "10.90.0.3:80"))
	require.Equal(t, "fd00:90::1", callHere(t, "[fd00:90::3]:80"))
}

func TestTheOutsideSeesTheHost(t *testing.T) { inBothWorlds(t, theOutsideSeesTheHost) }

func theOutsideSeesTheHost(t *testing.T, w *world) {
	w.up(service6(), nil)
	a := w.allowed(service6(), 2)
	w.outside.serve(":80")
	require.Equal(t, hostOutside, a.call(outsider+":80"))
	require.Equal(t, hostOutside6, a.call("["+outsider6+"]:80"))
}
