package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	runs "albatross/runtime/proc"
	tenders "albatross/runtime/tender"
)

// sockets are both ends of a network without a tap: the guest's, and the other one.
func sockets(t testing.TB) (guest, other *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	timeout := unix.NsecToTimeval(deadline.Nanoseconds())
	require.NoError(t, unix.SetsockoptTimeval(fds[1], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	guest, other = os.NewFile(uintptr(fds[0]), "guest"), os.NewFile(uintptr(fds[1]), "other")
	t.Cleanup(func() { _, _ = guest.Close(), other.Close() })
	return guest, other
}

// connect starts the guest net of a target on sockets; the rest of the arguments is --net.
func connect(t *testing.T, u user, target string, files []*os.File, network string) *exec.Cmd {
	t.Helper()
	c := u.command(t, tender, target, "--mem=2", "--net:service="+network, "--net-mac:service=02:67:75:65:73:74",
		"--net-mtu:service=1280", "--", imageOf("net", target))
	output, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = c.Stdout
	c.ExtraFiles = append(files, os.Stdin) // which must not be inherited
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "02:67:75:65:73:74 mtu 1280\n", line)
	return c
}

// requireAnswers checks that what is sent to the guest comes back, at the first try.
func requireAnswers(t *testing.T, other *os.File, count int) {
	t.Helper()
	fd := int(other.Fd())
	for n := range count {
		question, answer := frames(uint32(n))
		send(t, fd, question)
		require.Equal(t, answer, next(t, fd), "frame %d", n)
	}
}

// next returns the next frame.
func next(t testing.TB, fd int) string {
	t.Helper()
	frame := make([]byte, 2048)
	for {
		n, err := unix.Read(fd, frame)
		if err != unix.EINTR {
			require.NoError(t, err)
			return string(frame[:n])
		}
	}
}

func forUsersAndTargets(t *testing.T, test func(t *testing.T, u user, target string)) {
	for _, target := range []string{"spt", "hvt"} {
		t.Run(target, func(t *testing.T) {
			if target == "spt" {
				forUsers(t, func(t *testing.T, u user) { test(t, u, target) })
				return
			}
			requireKVM(t)
			test(t, user{}, target)
		})
	}
}

// TestASocketIsANetwork, and no frame is lost. The guest keeps nothing else.
func TestASocketIsANetwork(t *testing.T) {
	forUsersAndTargets(t, func(t *testing.T, u user, target string) {
		guest, other := sockets(t)
		c := connect(t, u, target, []*os.File{guest}, "@3")
		require.NoError(t, guest.Close())
		requireAnswers(t, other, 1000)
		requireSockets(t, c, 1)
	})
}

// requireSockets checks how many descriptors beside the console are sockets, and that the others
// are of no file that somebody could have left open.
func requireSockets(t *testing.T, c *exec.Cmd, want int) {
	t.Helper()
	entries, err := os.ReadDir(proc(c, "fd"))
	require.NoError(t, err)
	found := 0
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err != nil || fd < 3 {
			continue
		}
		target, err := os.Readlink(proc(c, "fd/"+e.Name()))
		require.NoError(t, err)
		if strings.HasPrefix(target, "socket:") {
			found++
			continue
		}
		require.True(t, strings.HasPrefix(target, "anon_inode:"), target)
	}
	require.Equal(t, want, found)
}

// TestNobodyAtTheOtherEnd: the guest neither ends nor is kept busy by that, since it keeps the
// other end open; for hvt the tender takes care of it.
func TestNobodyAtTheOtherEnd(t *testing.T) {
	for _, tc := range []struct{ target, network string }{{"spt", "@3,@4"}, {"hvt", "@3,@4"}, {"hvt", "@3"}} {
		t.Run(tc.target+" "+tc.network, func(t *testing.T) {
			u := users()[len(users())-1]
			if tc.target == "hvt" {
				requireKVM(t)
				u = user{}
			}
			guest, other := sockets(t)
			files := []*os.File{guest}
			if strings.Contains(tc.network, ",") {
				files = append(files, other)
			}
			c := connect(t, u, tc.target, files, tc.network)
			requireSockets(t, c, len(files))
			requireAnswers(t, other, 1)
			require.NoError(t, guest.Close())
			question, _ := frames(1)
			send(t, int(other.Fd()), question) // its answer is never read
			require.NoError(t, other.Close())
			requireIdle(t, c)
			require.NoError(t, c.Process.Signal(unix.Signal(0)), "it runs on")
		})
	}
}

// requireIdle checks that a process comes to rest: that it is found asleep many times in a row.
// One that was woken is runnable until it sleeps, and one that polls what is always ready is
// runnable at nearly any time.
func requireIdle(t *testing.T, c *exec.Cmd) {
	t.Helper()
	asleep := 0
	require.Eventually(t, func() bool {
		if !strings.HasPrefix(line(readProc(t, c, "status"), "State:"), "State:\tS") {
			asleep = 0
			return false
		}
		asleep++
		return asleep == 50
	}, deadline, time.Millisecond)
}

// TestALauncherPassesAPairOn, as a daemon has it started, as root and as an ordinary user, with
// all confinement. The process is recognised as a tender, and is one that a next daemon takes
// over.
func TestALauncherPassesAPairOn(t *testing.T) {
	forUsersAndTargets(t, func(t *testing.T, u user, target string) {
		pair, err := tenders.NewPair()
		require.NoError(t, err)
		defer func() { _ = pair.Close() }()
		mac := messages.MAC{2, 'g', 'u', 'e', 's', 't'}
		g := tenders.Guest{Image: imageOf("net", target), Memory: 2, Networks: []tenders.Network{{Name: "service", MAC: mac, Pair: &pair, MTU: 9000}}}
		arguments := []string{"--pass=2", "--confine=user", "--root=" + emptyDir(t), "--cpus=", "--", tender, target}
		l := launchWith(t, u, g.Files(), tender, append(arguments, tenders.Args(g)...)...)
		require.Equal(t, "+", l.release(t))
		line, err := bufio.NewReader(l.output).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "02:67:75:65:73:74 mtu 9000\n", line)
		requireSockets(t, l.command, 2)
		require.NoError(t, unix.SetNonblock(int(pair.Network.Fd()), false))
		requireAnswers(t, pair.Network, 100)

		process, err := runs.Identify(l.command.Process.Pid)
		require.NoError(t, err)
		h, err := runs.Open(process)
		require.NoError(t, err)
		defer func() { _ = h.Close() }()
		require.NoError(t, tenders.Settle([]string{tender, "launch"}, h))
		found, err := tenders.FindRunning(nil)
		require.NoError(t, err)
		i := slices.IndexFunc(found, func(r tenders.Running) bool { return r.Process == process })
		require.GreaterOrEqual(t, i, 0)
		require.False(t, found[i].Odd)
		require.Equal(t, []tenders.Network{{Name: "service", MAC: mac, MTU: 9000}}, found[i].Guest.Networks)
	})
}

// TestAGuestGivesNetworksBack: nobody else has the other ends any more.
func TestAGuestGivesNetworksBack(t *testing.T) {
	forUsersAndTargets(t, func(t *testing.T, u user, target string) {
		g := tenders.Guest{
			Image: imageOf("several", target), Memory: 2, Argv: []string{"wait"},
			Blocks: []tenders.Block{{Name: "storage", File: u.disk(t, 1<<20)}},
		}
		ends := map[string]string{}
		for _, name := range []string{"management", "service"} { // the manifest has them in another order
			pair, err := tenders.NewPair()
			require.NoError(t, err)
			defer func() { _ = pair.Close() }()
			g.Networks = append(g.Networks, tenders.Network{Name: name, Pair: &pair})
			ends[name], err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", pair.Network.Fd()))
			require.NoError(t, err)
		}
		arguments := []string{"--pass=4", "--confine=user", "--root=" + emptyDir(t), "--cpus=", "--", tender, target}
		l := launchWith(t, u, g.Files(), tender, append(arguments, tenders.Args(g)...)...)
		process, err := runs.Identify(l.command.Process.Pid)
		require.NoError(t, err)
		_, err = tenders.NetworkEnd(process, "service")
		require.ErrorContains(t, err, "cannot get network service of process ")
		require.Equal(t, "+", l.release(t))
		line, err := bufio.NewReader(l.output).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "waits\n", line)
		for name, want := range ends {
			end, err := tenders.NetworkEnd(process, name)
			require.NoError(t, err)
			is, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", end.Fd()))
			require.NoError(t, err)
			require.Equal(t, want, is)
			require.NoError(t, end.Close())
		}
		_, err = tenders.NetworkEnd(process, "storage")
		require.ErrorContains(t, err, "it has no such pair")
		require.NoError(t, l.command.Process.Kill())
		_ = l.command.Wait()
		_, err = tenders.NetworkEnd(process, "service")
		require.ErrorIs(t, err, runs.ErrGone)
	})
}

// TestAFullSocketLosesFrames: the guest answers to more than the socket holds, and is there when
// somebody reads again.
func TestAFullSocketLosesFrames(t *testing.T) {
	forUsersAndTargets(t, func(t *testing.T, u user, target string) {
		guest, other := sockets(t)
		c := connect(t, u, target, []*os.File{guest}, "@3")
		require.NoError(t, guest.Close())
		fd := int(other.Fd())
		const asked = 5000
		question, _ := frames(0)
		for range asked {
			send(t, fd, question) // it waits until the guest has taken some
		}
		requireIdle(t, c)
		lost := asked - drain(t, fd)
		require.Positive(t, lost)
		requireAnswers(t, other, 100)
	})
}

// drain reads all frames that wait.
func drain(t *testing.T, fd int) (count int) {
	t.Helper()
	frame := make([]byte, 2048)
	for {
		_, _, err := unix.Recvfrom(fd, frame, unix.MSG_DONTWAIT)
		switch err {
		case nil:
			count++
		case unix.EAGAIN:
			return count
		case unix.EINTR:
		default:
			require.NoError(t, err)
		}
	}
}

// TestRefusedDescriptors: what is no network is refused before the guest runs.
func TestRefusedDescriptors(t *testing.T) {
	file, err := os.Open(guest("hello"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	tcp, err := listener.(*net.TCPListener).File()
	require.NoError(t, err)
	defer func() { _ = tcp.Close() }()
	end, _ := sockets(t)
	const (
		attach = "cannot attach network service: Could not attach interface: "
		kind   = "it is no Unix socket of the type SOCK_SEQPACKET, of which each message is a frame"
		option = "cannot run: Invalid option: `--net:service=%s': %s, see --help"
		number = "not @ and the number of a descriptor from 3 on"
	)
	for network, want := range map[string]string{
		"@3":                          attach + "@3: it is no socket",
		"@4":                          attach + "@4: " + kind,
		"@5":                          attach + "@5: " + kind,
		"@6":                          attach + "@6: the socket is not connected",
		"@7,@3":                       attach + "@3: it is no socket",
		"@200":                        attach + "@200: there is no such descriptor: whoever starts the unikernel has to pass it on",
		"@7,@7":                       fmt.Sprintf(option, "@7,@7", "descriptor 7 is given twice"),
		"@2":                          fmt.Sprintf(option, "@2", number),
		"@":                           fmt.Sprintf(option, "@", number),
		"@-3":                         fmt.Sprintf(option, "@-3", number),
		"@7,8":                        fmt.Sprintf(option, "@7,8", number),
		"@7,":                         fmt.Sprintf(option, "@7,", number),
		"@99999999999999999999":       fmt.Sprintf(option, "@99999999999999999999", number),
		"@7 --net-mtu:service=9":      "cannot run: Invalid option: `--net-mtu:service=9': not a number of bytes from 68 to 65535, see --help",
		"tap0 --net-mtu:service=1500": "cannot set MTU: no network service without a tap is attached; a tap has its own",
	} {
		for _, target := range []string{"spt", "hvt"} {
			arguments := append(append([]string{target}, strings.Fields("--net:service="+network)...), imageOf("net", target))
			c := users()[len(users())-1].command(t, tender, arguments...)
			c.ExtraFiles = []*os.File{file, tcp, unixSocket(t, unix.SOCK_STREAM), unixSocket(t, unix.SOCK_SEQPACKET), end}
			text, err := c.CombinedOutput()
			require.Error(t, err)
			require.Equal(t, "albatross-tender: "+want+"\n", string(text), "%s %s", target, network)
			require.Equal(t, 1, c.ProcessState.ExitCode())
		}
	}
}

// unixSocket returns a socket that is connected to nothing.
func unixSocket(t *testing.T, kind int) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	f := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { _ = f.Close() })
	return f
}
