package bench

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/store"
	"albatross/sockets/client"
	"albatross/sockets/control"
	"albatross/test/guests"
)

// always is when everything is since.
var always = messages.Some(time.Unix(0, 0).UTC())

// BenchmarkEvents tells what events cost when as many are kept as are ever.
//
// create: how long a create and a destroy take; x-empty is how many times as long
// as where no events are kept. read: how long a client takes to read all; x-socket
// is how many times as long as it takes to read the same bytes where somebody else
// only sends them.
func BenchmarkEvents(b *testing.B) {
	h := newHost(b)
	image := guests.Image("hello", "spt")
	h.createAndDestroy(image) // what is made once
	empty := h.createAndDestroy(image)
	h.fill()
	b.Run("create", func(b *testing.B) {
		var full time.Duration
		for b.Loop() {
			full = h.createAndDestroy(image)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(milliseconds(full), "ms-create-destroy")
		b.ReportMetric(float64(full)/float64(empty), "x-empty")
	})
	b.Run("read", func(b *testing.B) {
		sent := h.sent()
		var read, alone []time.Duration
		for b.Loop() {
			read = append(read, readAll(b, h.dial("control")))
			alone = append(alone, readAll(b, replay(sent)))
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(store.MaxEvents/median(read).Seconds(), "events/s")
		b.ReportMetric(float64(median(read))/float64(median(alone)), "x-socket")
	})
}

// createAndDestroy is the median of how long both take together.
func (h *host) createAndDestroy(image []byte) time.Duration {
	var took []time.Duration
	for range rounds {
		begin := time.Now()
		h.ask(label("measured"), messages.UnikernelCreate{Form: 5, Config: config(image)})
		h.ask(label("measured"), messages.UnikernelDestroy{})
		took = append(took, time.Since(begin))
	}
	return median(took)
}

// fill makes the log of events as long as it can be.
func (h *host) fill() {
	h.kill()
	db, err := store.Open(h.path("db"))
	require.NoError(h.b, err)
	var changes []messages.Change
	for i := range store.MaxEvents {
		event := messages.NewEvent(messages.EventStarted, label("x"), time.UnixMilli(int64(i)), "the command create")
		changes = append(changes, messages.PutEvent{Event: event})
	}
	require.NoError(h.b, db.Apply(changes))
	require.NoError(h.b, db.Close())
	h.start()
}

// sent are the bytes that a client is sent who reads all.
func (h *host) sent() []byte {
	conn := h.dial("control")
	defer conn.Close()
	var all bytes.Buffer
	each(h.b, conn, func(d messages.Data) {
		b, err := control.Append(nil, messages.Wire{Payload: d})
		require.NoError(h.b, err)
		all.Write(b)
	})
	return all.Bytes()
}

// each reads all events that there are.
func each(b *testing.B, conn *client.Conn, do func(messages.Data)) {
	stream, err := conn.Events(context.Background(), messages.Name{}, always)
	require.NoError(b, err)
	for {
		next, err := stream.Next(context.Background())
		require.NoError(b, err)
		do(next)
		if next == (messages.DataPresent{}) {
			return
		}
	}
}

// readAll is how long it takes.
func readAll(b *testing.B, conn *client.Conn) time.Duration {
	defer conn.Close()
	count := 0
	begin := time.Now()
	each(b, conn, func(messages.Data) { count++ })
	require.Greater(b, count, store.MaxEvents)
	return time.Since(begin)
}

// replay is a connection to somebody who sends bytes, whatever is asked.
func replay(sent []byte) *client.Conn {
	here, there := net.Pipe()
	go func() {
		defer there.Close()
		if _, err := control.Read(there, control.MaxItem); err == nil {
			_, _ = there.Write(sent) // who reads tells what is missing
		}
	}()
	return client.New(here, "replay")
}
