package gateway_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/sockets/gateway"
)

// mb is the unit of the memory of commands.
const mb = 1 << 20

// A holder serves clients, and holds each command until the test releases it.
type holder struct {
	*server
	held  chan struct{} // a command has been read
	goOn  chan struct{}
	cut   chan error
	now   atomic.Int64 // held at this moment
	conns chan *gateway.Conn
}

func hold(t *testing.T, l gateway.Limits) *holder {
	h := &holder{held: make(chan struct{}, 64), goOn: make(chan struct{}), cut: make(chan error, 64), conns: make(chan *gateway.Conn, 64)}
	h.server = serve(t, l, h.handle)
	return h
}

func (h *holder) handle(c *gateway.Conn) {
	h.conns <- c
	if _, err := c.Read(); err != nil {
		h.cut <- err
		return
	}
	h.now.Add(1)
	h.held <- struct{}{}
	<-h.goOn
	h.now.Add(-1)
}

// send sends a command in the background: the write may have to wait.
func (h *holder) send(command []byte) {
	c := h.dial()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = c.Write(command) // the write fails where the server closes the connection
	}()
	h.t.Cleanup(func() { _ = c.Close(); <-sent })
}

// TestMemory: commands that do not fit into memory wait for those before. One of them is let in all
// the same, so that none waits for ever.
func TestMemory(t *testing.T) {
	l := limits()
	l.Memory = gateway.NewMemory(10 * mb)
	h := hold(t, l)
	command := creating(t, 4*mb)
	const clients = 7
	for range clients {
		h.send(command)
	}
	most := int64(0)
	for range clients {
		within(t, h.held, "a command arrives, for there is memory again")
		most = max(most, h.now.Load())
		h.goOn <- struct{}{}
	}
	// Two fit, and one more is let in.
	require.LessOrEqual(t, most, int64(3))
	require.Empty(t, h.cut)
}

// TestMemoryOfHeldCommands: a command takes memory until it has been carried out. A client that
// waits too long for memory loses its connection.
func TestMemoryOfHeldCommands(t *testing.T) {
	l := limits()
	l.Memory = gateway.NewMemory(5 * mb)
	h := hold(t, l)
	l.Patience = 20 * soon
	impatient := hold(t, l)

	command := creating(t, 4*mb)
	for range 2 { // the second is let in beyond the limit
		h.send(command)
		within(t, h.held, "the command arrives")
	}
	impatient.send(command)
	require.ErrorContains(t, within(t, impatient.cut, "it has waited too long"), "other commands take all memory")

	impatient.send(creating(t, 50_000))
	within(t, impatient.held, "a small command needs no memory")
	impatient.goOn <- struct{}{}
	h.goOn <- struct{}{}
	h.goOn <- struct{}{}
	h.send(command)
	within(t, h.held, "there is memory again")
	h.goOn <- struct{}{}
}

// TestMemoryIsGivenBack: a connection takes memory for one command at a time, and for none after
// its end, however it ends.
func TestMemoryIsGivenBack(t *testing.T) {
	l := limits()
	l.Memory, l.Patience = gateway.NewMemory(4*mb), deadline
	s, results := reads(t, l)
	command := creating(t, 4*mb-1000)
	for range 3 {
		c := s.dial()
		for range 3 {
			_, err := c.Write(command)
			require.NoError(t, err)
			require.NoError(t, within(t, results, "the command arrives").err)
		}
		_, err := c.Write(command[:3*mb])
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.Error(t, within(t, results, "the client has left").err)
	}
	s.end() // the last connection has given back its memory, too
	// All of it is free again. Else this would be let in as the one beyond the limit, and the next
	// would wait.
	h := hold(t, l)
	for range 2 {
		h.send(command)
		within(t, h.held, "there is memory")
	}
	h.goOn <- struct{}{}
	h.goOn <- struct{}{}
}

// TestCloseWhileWaiting: a command that waits for memory ends with its
// connection.
func TestCloseWhileWaiting(t *testing.T) {
	l := limits()
	l.Memory, l.Patience = gateway.NewMemory(0), 3*deadline
	h := hold(t, l)
	command := creating(t, mb)
	h.send(command)
	within(t, h.held, "the first command takes what is not there")
	<-h.conns
	h.send(command)
	c := within(t, h.conns, "the second client is served")
	require.NoError(t, c.Close())
	require.Error(t, within(t, h.cut, "the second client is given up"))
	h.goOn <- struct{}{}
	h.send(command)
	within(t, h.held, "it has left nothing behind")
	h.goOn <- struct{}{}
}

// TestMemoryGoesBackToTheSystem: the daemon does not keep the memory of an image after its client
// has gone. Nothing else here allocates enough for the garbage collector to run by itself.
func TestMemoryGoesBackToTheSystem(t *testing.T) {
	const image = 48 << 20
	s := serve(t, limits(), func(c *gateway.Conn) { _, _ = c.Read() })
	command := creating(t, image)
	c := s.dial()
	_, err := c.Write(command)
	require.NoError(t, err)
	runtime.KeepAlive(command)
	command = nil
	require.Eventually(t, func() bool {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc < image && m.HeapInuse < image
	}, deadline, 10*time.Millisecond)
}
