package e2e

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/control"
	"albatross/sockets/wire"
)

// halfClosed returns all that a client reads that sends a command and then closes its side of the
// connection.
func (h *host) halfClosed(socket string, command []byte) []byte {
	h.t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: h.socket(socket), Net: "unix"})
	require.NoError(h.t, err)
	defer c.Close()
	require.NoError(h.t, c.SetDeadline(time.Now().Add(patience)))
	_, err = c.Write(command)
	require.NoError(h.t, err)
	require.NoError(h.t, c.CloseWrite())
	said, err := io.ReadAll(c)
	require.NoError(h.t, err)
	return said
}

// TestHalfClosed: a client that closes its side after a command gets the whole answer.
func TestHalfClosed(t *testing.T) {
	h := newHost(t)
	h.create("x", guest("hello", "--quiet"))
	h.requireText("added block device", "d", messages.BlockAdd{Size: 3})
	end, err := control.Append(nil, messages.Wire{Payload: messages.DataPresent{}})
	require.NoError(t, err)
	for range 20 { // either may come first: the end of the client's side, or a part of the answer
		for _, command := range []messages.Command{
			messages.EndList{}, messages.StatusList{}, messages.SettingList{}, messages.EventsSubscribe{Since: always}, messages.EventsSubscribe{},
		} {
			request, err := control.AppendRequest(nil, messages.Name{}, command)
			require.NoError(t, err)
			said := h.halfClosed("control", request)
			require.True(t, bytes.Contains(said, end), "%T: %x", command, said) // an event may follow that is new
		}
		said := h.halfClosedFrames("d", messages.BlockDump{})
		require.Equal(t, messages.DataBlock{}, said[len(said)-1])
		require.IsType(t, messages.SuccessInfos{}, h.halfClosedFrames("x", messages.UnikernelInfo{Form: 6})[0])
	}
}

// halfClosedFrames is halfClosed for the socket of commands.
func (h *host) halfClosedFrames(name string, command messages.Command) (said []messages.Payload) {
	h.t.Helper()
	frame, err := wire.AppendFrame(nil, messages.Wire{
		Header: messages.Header{Version: messages.CurrentVersion, Name: parse(h.t, name)}, Payload: command,
	})
	require.NoError(h.t, err)
	r := bytes.NewReader(h.halfClosed("vmmd", frame))
	for r.Len() > 0 {
		frame, err := wire.ReadFrame(r, wire.MaxFrame)
		require.NoError(h.t, err)
		m, err := wire.Decode(frame)
		require.NoError(h.t, err)
		said = append(said, m.Payload)
	}
	return said
}
