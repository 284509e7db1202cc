package remote

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(i))))
}

// TestComplaints: each address is logged once a minute, and the log remembers no more addresses
// than it has room for.
func TestComplaints(t *testing.T) {
	var log bytes.Buffer
	lines := func() int {
		defer log.Reset()
		return bytes.Count(log.Bytes(), []byte("\n"))
	}
	now := time.Unix(1e9, 0)
	c := newFailureLog(slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now })
	for range 5 {
		c.add(address(1), errors.New("first"))
		c.add(address(2), errors.New("second"))
	}
	require.Contains(t, log.String(), "first")
	require.Equal(t, 2, lines())
	now = now.Add(logEvery)
	c.add(address(1), errors.New("again"))
	require.Contains(t, log.String(), "others_since=4")
	require.Equal(t, 1, lines())

	for i := range 10 * maxAddresses {
		c.add(address(i), errors.New("many"))
	}
	require.Len(t, c.about, maxAddresses)
	require.LessOrEqual(t, lines(), maxAddresses+1)
	now = now.Add(logEvery)
	c.add(address(1_000_000), errors.New("new"))
	require.Equal(t, 1, lines())
	require.Len(t, c.about, 1)
}

func TestAddresses(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1:5":           "192.0.2.1",
		"[::ffff:192.0.2.1]:5":  "192.0.2.1",
		"[2001:db8:1:2:3::4]:5": "2001:db8:1:2::",
		"[fe80::1%eth0]:5":      "fe80::",
	} {
		tcp := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))
		require.Equal(t, want, addressOf(fixed{addr: tcp}).String())
	}
	require.False(t, addressOf(fixed{addr: &net.UnixAddr{}}).IsValid())
}

type fixed struct {
	net.Conn
	addr net.Addr
}

func (f fixed) RemoteAddr() net.Addr { return f.addr }
