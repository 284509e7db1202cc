package netif_test

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/runtime/netif"
	"albatross/test/netns"
)

// The tender has the tap as if it had made it: frames that it sends arrive at others on the bridge,
// and the other way around.
func TestAKeptTapIsForATender(t *testing.T) {
	const we, tender, local = "\x02host1", "\x02guest", "\x88\xb5"
	netns.Bridge(t, bridge)
	tap := made(t)
	require.NoError(t, tap.Keep())
	require.NoError(t, tap.Close(), "does nothing")
	require.Equal(t, "0x1802", show(t, tap.Link().Name, "tun_flags"), "and persistent")
	guest, host := netns.OpenPort(t, tap.Link().Name), netns.NewPort(t, bridge)
	require.Equal(t, "0x1802", show(t, tap.Link().Name, "tun_flags"))

	to, from := tender+we+local, we+tender+local
	for _, payload := range []string{strings.Repeat("a", 46), strings.Repeat("z", 1500)} {
		host.Reach(guest, to+payload)
		guest.Reach(host, from+payload)
	}
	guest.Close()
	require.True(t, exists(t, tap.Link()), "it outlives its tender")
	netns.OpenPort(t, tap.Link().Name).Reach(host, from+strings.Repeat("b", 46))
}

// TestAKeptTapIsForNobodyElse: an ordinary user cannot get it between its maker and its tender, nor
// later. The open of the device is no obstacle on most machines.
func TestAKeptTapIsForNobodyElse(t *testing.T) {
	netns.Bridge(t, bridge)
	tap := made(t)
	require.NoError(t, tap.Keep())
	refused := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its user
		refused <- openAsNobody(tap.Link().Name)
	}()
	require.ErrorIs(t, <-refused, unix.EPERM)
	netns.OpenPort(t, tap.Link().Name)
}

// openAsNobody attaches this thread to a tap as an ordinary user, which it stays.
func openAsNobody(tap string) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	const nobody = 65534
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
		return errno
	}
	request, err := unix.NewIfreq(tap)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
}

// Processes that are being started at the same time have copies of the
// descriptor, and the tap is busy as long as one of them is open.
func TestKeepWhileProcessesAreStarted(t *testing.T) {
	netns.Bridge(t, bridge)
	var stop atomic.Bool
	var wait sync.WaitGroup
	var failed atomic.Value
	for range 4 {
		wait.Go(func() {
			for !stop.Load() {
				if err := exec.Command("/bin/true").Run(); err != nil {
					failed.Store(err)
				}
			}
		})
	}
	defer func() {
		stop.Store(true)
		wait.Wait()
		require.Nil(t, failed.Load())
	}()
	for range 30 {
		tap := made(t)
		require.NoError(t, tap.Keep())
		netns.OpenPort(t, tap.Link().Name).Close()
		require.NoError(t, netif.Remove(tap.Link()))
	}
}

// descriptor returns the descriptor of the only tap that this process has open.
func descriptor(t *testing.T) (fd int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, entry := range entries {
		if to, _ := os.Readlink("/proc/self/fd/" + entry.Name()); to == "/dev/net/tun" {
			fd, err = strconv.Atoi(entry.Name())
			require.NoError(t, err)
		}
	}
	require.NotZero(t, fd)
	return fd
}

func copied(t *testing.T) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(descriptor(t)), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	return fd
}

func TestKeepWaitsForWhoeverHasACopy(t *testing.T) {
	netns.Bridge(t, bridge)
	synctest.Test(t, func(t *testing.T) {
		tap := made(t)
		fd := copied(t)
		result := make(chan error, 1)
		go func() { result <- tap.Keep() }()
		synctest.Wait() // Keep polls now, in the time of the bubble
		select {
		case err := <-result:
			require.Fail(t, "Keep has not waited", "%v", err)
		default:
		}
		require.NoError(t, unix.Close(fd))
		require.NoError(t, <-result)
	})
}

func TestKeepDoesNotWaitForEver(t *testing.T) {
	netns.Bridge(t, bridge)
	synctest.Test(t, func(t *testing.T) {
		tap := made(t)
		fd := copied(t)
		defer func() { require.NoError(t, unix.Close(fd)) }()
		require.EqualError(t, tap.Keep(), "cannot keep tap vmmtap0: device or resource busy")
		require.True(t, exists(t, tap.Link()))
		require.NoError(t, tap.Close())
		require.False(t, exists(t, tap.Link()))
	})
}

func TestKeepOfATapThatIsGone(t *testing.T) {
	netns.Bridge(t, bridge)
	tap := made(t)
	link, err := netlink.LinkByIndex(tap.Link().Index)
	require.NoError(t, err)
	require.NoError(t, netlink.LinkDel(link))
	require.ErrorContains(t, tap.Keep(), "cannot keep tap vmmtap0: ")
	require.NoError(t, tap.Close())
}
