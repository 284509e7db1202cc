package main

import (
	"encoding/binary"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const tap = "tap0"

// isolate puts the rest of the test into a network namespace of its own, with
// a tap interface that is up. The thread is locked and never unlocked, so that
// it goes away with the test, and the namespace with it.
func isolate(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may create interfaces")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("there is no /dev/net/tun")
	}
	runtime.LockOSThread()
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNET))
	require.NoError(t, createTap())
}

func createTap() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	request, err := unix.NewIfreq(tap)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return err
	}
	return setFlags(unix.IFF_UP)
}

func setFlags(flags uint16) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	request, err := unix.NewIfreq(tap)
	if err != nil {
		return err
	}
	request.SetUint16(flags)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// wire is the host's end of the tap.
func wire(t testing.TB) int {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	require.NoError(t, err)
	request, err := unix.NewIfreq(tap)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request))
	address := &unix.SockaddrLinklayer{Protocol: all, Ifindex: int(request.Uint32())}
	require.NoError(t, unix.Bind(fd, address))
	timeout := unix.NsecToTimeval((100 * time.Millisecond).Nanoseconds())
	require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	return fd
}

// The guest sends back what it gets, from its own address.
func TestNetwork(t *testing.T) {
	isolate(t)
	c, line := user{}.start(t, "--mem=2", "--net:service="+tap,
		"--net-mac:service=02:67:75:65:73:74", "--", guest("net"))
	require.Equal(t, "02:67:75:65:73:74 mtu 1500\n", line)
	requireDescriptors(t, c, "anon_inode:[eventpoll]", "anon_inode:[timerfd]", "/dev/net/tun")
	requireEcho(t)
}

// requireEcho checks that what is sent to the guest comes back.
func requireEcho(t *testing.T) {
	t.Helper()
	fd := wire(t)
	defer func() { _ = unix.Close(fd) }()
	// Linux drops what is sent before it has noticed that the interface is in
	// use now, so the first frame is sent until it is answered. After that none
	// may be lost.
	question, answer := frames(0)
	send(t, fd, question)
	for end := time.Now().Add(deadline); !receive(t, fd, answer); send(t, fd, question) {
		require.True(t, time.Now().Before(end), "no answer from the guest")
	}
	for n := range uint32(100) {
		question, answer := frames(n + 1)
		send(t, fd, question)
		for end := time.Now().Add(deadline); !receive(t, fd, answer); {
			require.True(t, time.Now().Before(end), "no answer to frame %d", n)
		}
	}
}

// frames are a numbered frame to the guest and what it should make of it.
func frames(n uint32) (question, answer string) {
	const us, guest, local = "\x02host1", "\x02guest", "\x88\xb5"
	payload := string(binary.BigEndian.AppendUint32(make([]byte, 46), n))
	return guest + us + local + payload, us + guest + local + payload
}

func send(t testing.TB, fd int, frame string) {
	_, err := unix.Write(fd, []byte(frame))
	require.NoError(t, err)
}

// receive tells whether a frame arrives before nothing does for a while; the
// host says other things now and then.
func receive(t testing.TB, fd int, want string) bool {
	frame := make([]byte, 2048)
	for {
		n, err := unix.Read(fd, frame)
		if err == unix.EAGAIN || err == unix.EINTR {
			return false
		}
		require.NoError(t, err)
		if string(frame[:n]) == want {
			return true
		}
	}
}

func TestNetworkRefusals(t *testing.T) {
	isolate(t)
	run := func(name string) result {
		return user{}.run(t, tender, "--mem=2", "--net:service="+name, guest("net"))
	}
	refused := func(why string) result {
		return result{exit: 1, stderr: "albatross-tender: cannot attach network service: Could not attach interface: " + why + "\n"}
	}
	require.Equal(t, refused("lo: network is down"), run("lo"))
	require.Equal(t, refused("tap1: no such device"), run("tap1"))
	require.NoError(t, setFlags(0))
	require.Equal(t, refused("tap0: network is down"), run(tap))
}
