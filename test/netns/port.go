package netns

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// deadline bounds the arrival of a frame.
	deadline = 30 * time.Second
	// patience is the time after which a question is sent again.
	patience = 100 * time.Millisecond
	// maxFrame is longer than a frame at the usual MTU.
	maxFrame = 2048
)

// A Port is the end of a tap that a unikernel has. A frame is a string: receiver, sender, type and
// contents.
type Port struct {
	t    testing.TB
	file *os.File
}

// NewPort makes a tap of the test's own that is up and on a bridge. It vanishes
// at the end of the test.
func NewPort(t testing.TB, bridge string) *Port {
	t.Helper()
	Need(t)
	master, err := netlink.LinkByName(bridge)
	require.NoError(t, err)
	port, name := open(t, "port%d")
	tap, err := netlink.LinkByName(name)
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetMaster(tap, master))
	require.NoError(t, netlink.LinkSetUp(tap))
	return port
}

// OpenPort opens a tap that exists, and that no process uses, as a tender does.
func OpenPort(t testing.TB, tap string) *Port {
	t.Helper()
	Need(t)
	_, err := netlink.LinkByName(tap) // otherwise the kernel would make the tap
	require.NoError(t, err)
	port, _ := open(t, tap)
	return port
}

func open(t testing.TB, template string) (port *Port, name string) {
	t.Helper()
	file, name, err := openTap(template)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return &Port{t, file}, name
}

// openTap opens a tap in the namespace of this thread.
func openTap(template string) (file *os.File, name string, err error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", err
	}
	// No goroutine can wait for frames of it before it is a tap.
	request, err := unix.NewIfreq(template)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, "", err
	}
	return os.NewFile(uintptr(fd), template), request.Name(), nil
}

// Descriptor returns the tap, for tests that speak more than single frames. It stays the port's.
func (p *Port) Descriptor() int { return int(p.file.Fd()) }

// File returns the tap, for tests that exchange many frames: each Read and Write is one. It stays
// the port's.
func (p *Port) File() *os.File { return p.file }

// Close closes the port before the end of the test.
func (p *Port) Close() { _ = p.file.Close() }

// Send sends a frame. It is lost if the bridge does not know the port yet, or no process reads it:
// see Reach and Ask.
func (p *Port) Send(frame string) {
	p.t.Helper()
	_, err := p.file.WriteString(frame)
	require.NoError(p.t, err)
}

// Receive waits for a frame. It skips others: the host sends some now and then.
func (p *Port) Receive(frame string) {
	p.t.Helper()
	require.True(p.t, p.arrives(frame, time.Now().Add(deadline)), "no frame %q", frame)
}

// Until waits for a frame, and returns those that have arrived before it.
func (p *Port) Until(frame string) (before []string) {
	p.t.Helper()
	require.NoError(p.t, p.file.SetReadDeadline(time.Now().Add(deadline)))
	for buffer := make([]byte, maxFrame); ; {
		n, err := p.file.Read(buffer)
		require.NoError(p.t, err, "no frame %q", frame)
		if string(buffer[:n]) == frame {
			return before
		}
		before = append(before, string(buffer[:n]))
	}
}

// Reach sends a frame until another port gets it. The first ones are often lost: it can take a
// second until a bridge notices that a port is in use.
func (p *Port) Reach(other *Port, frame string) {
	p.t.Helper()
	p.sendUntil(frame, other, frame)
}

// Ask sends a question, as Reach does, until it gets the answer.
func (p *Port) Ask(question, answer string) {
	p.t.Helper()
	p.sendUntil(question, p, answer)
}

func (p *Port) sendUntil(frame string, receiver *Port, result string) {
	p.t.Helper()
	for end := time.Now().Add(deadline); ; {
		p.Send(frame)
		if receiver.arrives(result, time.Now().Add(patience)) {
			return
		}
		require.True(p.t, time.Now().Before(end), "%q was sent and %q has not arrived", frame, result)
	}
}

// arrives reports whether a frame arrives in time.
func (p *Port) arrives(frame string, end time.Time) bool {
	p.t.Helper()
	require.NoError(p.t, p.file.SetReadDeadline(end))
	for buffer := make([]byte, maxFrame); ; {
		n, err := p.file.Read(buffer)
		if os.IsTimeout(err) {
			return false
		}
		require.NoError(p.t, err)
		if string(buffer[:n]) == frame {
			return true
		}
	}
}
