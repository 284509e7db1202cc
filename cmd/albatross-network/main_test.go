package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/network/process"
	"albatross/runtime/network/wire"
	"albatross/test/netns"
	"albatross/test/programs"
	"albatross/test/station"
)

const (
	// patience bounds what happens on a busy machine.
	patience = time.Minute
	// ordinary is a user without any privilege.
	ordinary = 12345
	// builtDir is an environment variable with the directory of the program, for the tests as an
	// ordinary user.
	builtDir = "ALBATROSS_TEST_NETWORK_BUILT"
	// outside is an address of the host that stands for the outside.
	outside = "192.0.2.1"
)

var program string

// The tests run as root, if root starts them, and then once more as an ordinary user.
func TestMain(m *testing.M) {
	netns.Enter()
	if dir := os.Getenv(builtDir); dir != "" {
		program = filepath.Join(dir, "albatross-network")
		goleak.VerifyTestMain(m)
		return
	}
	os.Exit(run2(m))
}

func run2(m *testing.M) int {
	dir, err := os.MkdirTemp("", "albatross-network-*")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := programs.Build(dir, "albatross-network"); err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "albatross-network")
	if os.Geteuid() != 0 {
		return m.Run()
	}
	stop, err := prepare(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot prepare the namespace:", err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		code = again(dir)
	}
	stop()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// prepare gives the host an address that is not loopback, and a resolver there.
func prepare(dir string) (stop func(), err error) {
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	bridge.Name = "outside"
	address, err := netlink.ParseAddr(outside + "/24")
	if err != nil {
		return nil, err
	}
	resolver := filepath.Join(dir, "resolv.conf")
	for _, step := range []func() error{
		func() error { return os.Chmod(dir, 0o755) },
		func() error { return netlink.LinkAdd(bridge) },
		func() error { return netlink.AddrAdd(bridge, address) },
		func() error { return netlink.LinkSetUp(bridge) },
		func() error { return os.WriteFile(resolver, []byte("nameserver "+outside+"\n"), 0o644) },
		func() error { return unix.Mount(resolver, resolvers, "", unix.MS_BIND, "") },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	conn, err := net.ListenPacket("udp4", outside+":53")
	if err != nil {
		return nil, err
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		reply := new(dns.Msg).SetReply(m)
		reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IP{192, 0, 2, 77}}}
		_ = w.WriteMsg(reply)
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.ActivateAndServe() }()
	return func() {
		_ = conn.Close()
		<-ended
		_ = unix.Unmount(resolvers, 0)
	}, nil
}

// again runs the tests as an ordinary user.
func again(dir string) int {
	self, err := os.Open("/proc/self/exe") // it is in a directory that others may not read
	if err != nil {
		panic(err)
	}
	defer func() { _ = self.Close() }()
	tmp, err := os.MkdirTemp("", "albatross-network-user-*")
	if err == nil {
		err = os.Chown(tmp, ordinary, ordinary)
	}
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	c := exec.Command("/proc/self/fd/3")
	for _, argument := range os.Args[1:] {
		if strings.HasPrefix(argument, "-test.v") || strings.HasPrefix(argument, "-test.run") {
			c.Args = append(c.Args, argument)
		}
	}
	c.ExtraFiles, c.Stdout, c.Stderr = []*os.File{self}, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), builtDir+"="+dir, "TMPDIR="+tmp)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}}
	if err := c.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "as an ordinary user:", err)
		return 1
	}
	return 0
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

var (
	web = wire.Station{Name: "web", MAC: messages.MAC{2, 0, 0, 0, 0, 1}, Addresses: []netip.Addr{addr("10.90.0.2")}}
	db  = wire.Station{Name: "a:db", MAC: messages.MAC{2, 0, 0, 0, 0, 2}, Addresses: []netip.Addr{addr("10.90.0.3")}}
)

const gateway = "10.90.0.1"

func userMode() wire.Config {
	return wire.Config{Backend: messages.UserNetwork, Name: "service", Gateway: netip.MustParsePrefix(gateway + "/24"), MTU: 1500, NAT: true}
}

// A world is a network with its process, and the daemon that uses it.
type world struct {
	t      *testing.T
	config process.Config
	*process.Client

	mu  sync.Mutex
	log []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	netns.Need(t)
	w := &world{t: t}
	w.config = process.Config{Dir: filepath.Join(t.TempDir(), "service"), Bridge: "service", Program: program, Build: "test", Log: w.note}
	w.connect()
	t.Cleanup(func() {
		w.Close()
		w.connect()
		require.NoError(t, w.Quit(context.Background()))
		w.Close()
		require.NoDirExists(t, w.config.Dir)
	})
	return w
}

func (w *world) note(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, text)
}

// connect is the begin of a daemon.
func (w *world) connect() {
	w.t.Helper()
	c, err := process.Connect(context.Background(), w.config)
	require.NoError(w.t, err)
	w.Client = c
}

func (w *world) configure(c wire.Config, list ...wire.Station) {
	w.t.Helper()
	require.NoError(w.t, w.Configure(w.t.Context(), c))
	for _, s := range list {
		require.NoError(w.t, w.Admit(w.t.Context(), s))
	}
}

// attach connects a station, and returns the daemon's copy of the descriptor.
func (w *world) attach(s wire.Station) (station.Line, *os.File) {
	w.t.Helper()
	line, plug := station.Pair(w.t)
	file := os.NewFile(uintptr(plug), "plug")
	w.t.Cleanup(func() { _ = file.Close() })
	require.NoError(w.t, w.Attach(w.t.Context(), s.MAC, file))
	return line, file
}

func (w *world) host(s wire.Station) *station.Host {
	w.t.Helper()
	line, _ := w.attach(s)
	return newHost(w.t, line, s)
}

func newHost(t *testing.T, line station.Line, s wire.Station) *station.Host {
	t.Helper()
	return station.NewHost(t, line, s.MAC, netip.PrefixFrom(s.Addresses[0], 24), addr(gateway), 1500)
}

// kill ends the process as no process notices.
func (w *world) kill() {
	w.t.Helper()
	require.NoError(w.t, unix.Kill(w.PID(), unix.SIGKILL))
	select {
	case <-w.Done():
	case <-time.After(patience):
		require.Fail(w.t, "the process does not end")
	}
}
