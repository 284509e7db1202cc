package actors_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/fair"
)

// A gatedReader announces each read, and returns its contents once the gate is open.
type gatedReader struct {
	r       io.Reader
	reached chan struct{}
	gate    chan struct{}
}

func (g *gatedReader) Read(p []byte) (int, error) {
	g.reached <- struct{}{}
	<-g.gate
	return g.r.Read(p)
}

// TestUnpackingTakesAPlace: contents are decompressed in the turn of their tenant, which gives its
// place to others while it waits for the client.
func TestUnpackingTakesAPlace(t *testing.T) {
	w := newWorld(t, withBlocks, func(w *world) { w.config.Work = fair.New(1) })
	w.succeeds("added block device", ":disk", messages.BlockAdd{Size: 1})
	packed := deflated(t, bytes.Repeat([]byte("contents"), 1000))
	half := &gatedReader{bytes.NewReader(packed[len(packed)/2:]), make(chan struct{}), make(chan struct{})}
	c := w.newClient()
	c.stream = io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), half)
	w.serve(messages.AtVMMD, c)
	c.send(":disk", messages.BlockSet{Compressed: true})
	<-half.reached // the first half has been sent
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() { ended <- w.config.Work.Do(t.Context(), "other", func() { close(begun); <-end }) }()
	<-begun // though the device is not set yet
	close(half.gate)
	go func() {
		for range half.reached { // this ends with the stream
		}
	}()
	for range 1000 { // far longer than the rest would take
		require.Empty(t, w.infos(":"))
	}
	select {
	case <-c.out:
		require.Fail(t, "it has not waited for its turn")
	default:
	}
	close(end)
	require.NoError(t, <-ended)
	require.Equal(t, success("set block device"), c.receive().Payload)
	c.requireClosed()
	close(half.reached)
}
