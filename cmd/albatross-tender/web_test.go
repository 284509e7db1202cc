package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	tenders "albatross/runtime/tender"
	"albatross/test/netns"
)

// A hub sends each frame to all others: the tap of the machine, at 10.9.0.1, and guests.
type hub struct {
	t       *testing.T
	running sync.WaitGroup

	mu    sync.Mutex
	ports []*os.File
	loses func() bool // whether a frame is lost
	seen  [][]byte    // frames to guests
}

const hubTap = "hub0"

func newHub(t *testing.T) *hub {
	t.Helper()
	netns.Need(t)
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("there is no tap: %v", err)
	}
	request, err := unix.NewIfreq(hubTap)
	require.NoError(t, err)
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	require.NoError(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	link, err := netlink.LinkByName(hubTap)
	require.NoError(t, err)
	address, err := netlink.ParseAddr("10.9.0.1/24")
	require.NoError(t, err)
	require.NoError(t, netlink.AddrAdd(link, address))
	require.NoError(t, netlink.LinkSetUp(link))
	h := &hub{t: t, loses: func() bool { return false }}
	h.add(os.NewFile(uintptr(fd), "tap"))
	t.Cleanup(func() {
		h.mu.Lock()
		for _, p := range h.ports {
			_ = p.Close()
		}
		h.mu.Unlock()
		h.running.Wait()
	})
	return h
}

func (h *hub) add(port *os.File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ports = append(h.ports, port)
	h.running.Go(func() {
		frame := make([]byte, 65536)
		for {
			n, err := port.Read(frame)
			if err != nil || n == 0 { // the guest has ended, or the test
				return
			}
			h.send(port, frame[:n])
		}
	})
}

// send sends a frame to all but its sender.
func (h *hub) send(from *os.File, frame []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loses() {
		return
	}
	for i, p := range h.ports {
		if p == from {
			continue
		}
		if i > 0 && from == h.ports[0] {
			h.seen = append(h.seen, append([]byte(nil), frame...))
		}
		_, _ = p.Write(frame) // who has ended gets none
	}
}

// A webGuest is the guest web, on a hub.
type webGuest struct {
	t     *testing.T
	port  *os.File
	lines *bufio.Reader
}

func (h *hub) run(target string, options []string, arguments ...string) webGuest {
	t := h.t
	t.Helper()
	pair, err := tenders.NewPair()
	require.NoError(t, err)
	options = append([]string{target, "--mem=2", "--net:service=@3,@4"}, options...)
	c := user{}.command(t, tender, append(append(options, "--", imageOf("web", target)), arguments...)...)
	c.ExtraFiles = []*os.File{pair.Device, pair.Network}
	output, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = c.Stdout
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	require.NoError(t, pair.Device.Close())
	h.add(pair.Network)
	return webGuest{t, pair.Network, bufio.NewReader(output)}
}

// says checks the next line that the guest prints.
func (g webGuest) says(want string) {
	g.t.Helper()
	line, err := g.lines.ReadString('\n')
	require.NoError(g.t, err)
	require.Equal(g.t, want+"\n", line)
}

// static runs a guest at an address, with its options.
func (h *hub) static(target, address string, options ...string) webGuest {
	h.t.Helper()
	g := h.run(target, options, "--name=site", "--ipv4="+address+"/24", "--ipv4-gateway=10.9.0.1")
	g.says("address " + address)
	return g
}

// get asks for a page, over a connection of its own.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	c := http.Client{Timeout: deadline, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get(url)
	require.NoError(t, err)
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return r.StatusCode, string(text)
}

func servedPage(address string, request int) string {
	return fmt.Sprintf("site\naddress %s\nrequest %d\n", address, request)
}

// TestWebServes what a kernel and a library ask for that are not ours.
func TestWebServes(t *testing.T) {
	forTargets(t, func(t *testing.T, target string) {
		h := newHub(t)
		h.static(target, "10.9.0.2")
		status, body := get(t, "http://10.9.0.2/")
		require.Equal(t, 200, status)
		require.Equal(t, servedPage("10.9.0.2", 1), body)
		status, _ = get(t, "http://10.9.0.2/nothing")
		require.Equal(t, 404, status)
		r, err := http.Post("http://10.9.0.2/", "text/plain", strings.NewReader(strings.Repeat("x", 5000)))
		require.NoError(t, err)
		require.Equal(t, 405, r.StatusCode)
		require.NoError(t, r.Body.Close())

		_, err = net.Dial("tcp", "10.9.0.2:81")
		require.ErrorIs(t, err, unix.ECONNREFUSED)

		echo, err := net.Dial("udp", "10.9.0.2:7")
		require.NoError(t, err)
		defer func() { _ = echo.Close() }()
		require.NoError(t, echo.SetDeadline(time.Now().Add(deadline)))
		for _, size := range []int{0, 1, 100, 1472} {
			said := strings.Repeat("e", size)
			_, err = echo.Write([]byte(said))
			require.NoError(t, err)
			heard := make([]byte, 2000)
			n, err := echo.Read(heard)
			require.NoError(t, err)
			require.Equal(t, said, string(heard[:n]))
		}
		ping(t, [4]byte{10, 9, 0, 2})
	})
}

// ping waits for the answer to one.
func ping(t *testing.T, address [4]byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	require.NoError(t, err)
	defer func() { _ = unix.Close(fd) }()
	timeout := unix.NsecToTimeval(deadline.Nanoseconds())
	require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	question := append([]byte{8, 0, 0, 0, 1, 2, 3, 4}, "albatross"...)
	binary.BigEndian.PutUint16(question[2:], ^fold(0, question))
	require.NoError(t, unix.Sendto(fd, question, 0, &unix.SockaddrInet4{Addr: address}))
	for packet := make([]byte, 2000); ; {
		n, _, err := unix.Recvfrom(fd, packet, 0)
		if err == unix.EINTR {
			continue
		}
		require.NoError(t, err)
		if n > 20 && packet[20] == 0 {
			require.Equal(t, question[4:], packet[24:n])
			return
		}
	}
}

// fold is the sum of which checksums are the complement.
func fold(n uint32, data []byte) uint16 {
	for i, b := range data {
		n += uint32(b) << (8 * (1 - i%2))
	}
	for n>>16 != 0 {
		n = n&0xffff + n>>16
	}
	return uint16(n)
}

// TestWebServesManyAtOnce: connections that have not asked yet do not keep it from others.
func TestWebServesManyAtOnce(t *testing.T) {
	h := newHub(t)
	h.static("spt", "10.9.0.2")
	var clients []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", "10.9.0.2:80")
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		clients = append(clients, c)
	}
	for _, part := range []string{"GET / HT", "TP/1.1\r\nHost: a\r", "\n\r", "\n"} {
		for _, c := range clients {
			_, err := io.WriteString(c, part)
			require.NoError(t, err)
		}
	}
	for i, c := range clients {
		require.NoError(t, c.SetDeadline(time.Now().Add(deadline)))
		text, err := io.ReadAll(c)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(string(text), "\r\n\r\n"+servedPage("10.9.0.2", i+1)), "%s", text)
	}
	for i := range 200 {
		_, body := get(t, "http://10.9.0.2/")
		require.Equal(t, servedPage("10.9.0.2", len(clients)+i+1), body)
	}
}

// TestWebWhereFramesAreLost, and where a packet has little room.
func TestWebWhereFramesAreLost(t *testing.T) {
	forTargets(t, func(t *testing.T, target string) {
		h := newHub(t)
		h.static(target, "10.9.0.2", "--net-mtu:service=100")
		random := rand.New(rand.NewPCG(1, 2))
		h.mu.Lock()
		h.loses = func() bool { return random.IntN(5) == 0 }
		h.mu.Unlock()
		var done sync.WaitGroup
		for range 10 {
			done.Go(func() {
				c := http.Client{Timeout: deadline, Transport: &http.Transport{DisableKeepAlives: true}}
				r, err := c.Get("http://10.9.0.2/")
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = r.Body.Close() }()
				if text, err := io.ReadAll(r.Body); err != nil || !strings.HasPrefix(string(text), "site\naddress 10.9.0.2\nrequest ") {
					t.Errorf("%q %v", text, err)
				}
			})
		}
		done.Wait()
	})
}

// TestWebFindsItsAddressAndOthers by DHCP and DNS, and fetches from another guest. The first
// name that it asks for is not known yet.
func TestWebFindsItsAddressAndOthers(t *testing.T) {
	forTargets(t, func(t *testing.T, target string) {
		h := newHub(t)
		serveUDP(t, "0.0.0.0:67", dhcpAnswer)
		asked := 0
		serveUDP(t, "10.9.0.1:53", func(question []byte) ([]byte, *net.UDPAddr) {
			asked++
			return dnsAnswer(question, asked > 1), nil
		})
		one := h.run(target, []string{"--net-mac:service=02:00:00:00:00:03"}, "--name=site", "--text=other")
		one.says("address 10.9.0.3")
		_, body := get(t, "http://10.9.0.3/")
		require.Equal(t, "other\naddress 10.9.0.3\nrequest 1\n", body)
		two := h.run(target, []string{"--net-mac:service=02:00:00:00:00:04"}, "--name=two", "--fetch=site.test")
		two.says("address 10.9.0.4")
		two.says("site.test is unknown")
		two.says("site.test is 10.9.0.3")
		two.says("HTTP/1.1 200 OK")
		_, body = get(t, "http://10.9.0.3/")
		require.Equal(t, "other\naddress 10.9.0.3\nrequest 3\n", body)

		three := h.run(target, []string{"--net-mac:service=02:00:00:00:00:05"}, "--fetch=10.9.0.1:81")
		three.says("address 10.9.0.5")
		three.says("10.9.0.1 is 10.9.0.1")
		three.says("10.9.0.1 does not answer")
	})
}

// serveUDP answers datagrams until the end of the test.
func serveUDP(t *testing.T, address string, answer func(question []byte) ([]byte, *net.UDPAddr)) {
	t.Helper()
	socket, err := net.ListenPacket("udp4", address)
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		question := make([]byte, 2000)
		for {
			n, from, err := socket.ReadFrom(question)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			text, to := answer(question[:n])
			if to == nil {
				to = from.(*net.UDPAddr)
			}
			_, _ = socket.WriteTo(text, to)
		}
	})
	t.Cleanup(func() {
		_ = socket.Close()
		running.Wait()
	})
}

// dhcpAnswer gives everybody the address with the last number of the hardware address.
func dhcpAnswer(question []byte) ([]byte, *net.UDPAddr) {
	answer := make([]byte, 240)
	copy(answer, question[:240])
	answer[0] = 2
	copy(answer[16:], []byte{10, 9, 0, question[33]})
	kind := byte(2) // an offer
	if question[242] == 3 {
		kind = 5
	}
	answer = append(answer, 53, 1, kind, 0, 54, 4, 10, 9, 0, 1, 51, 4, 0, 1, 0, 0, 1, 4, 255, 255, 255, 0)
	answer = append(answer, 3, 4, 10, 9, 0, 1, 6, 8, 10, 9, 0, 1, 9, 9, 9, 9, 255)
	return answer, &net.UDPAddr{IP: net.IPv4(10, 9, 0, 255), Port: 68}
}

// dnsAnswer knows one name, by way of another one.
func dnsAnswer(question []byte, known bool) []byte {
	answer := append([]byte(nil), question...)
	answer[2] |= 0x80
	if !known {
		answer[3] = 3 // no such name
		return answer
	}
	answer[7] = 2
	answer = append(answer, 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, 'b', 0xc0, 17)
	return append(answer, 1, 'b', 0xc0, 17, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 9, 0, 3)
}

// TestWebAndHostileFrames: what is wrong in a frame costs nothing but that.
func TestWebAndHostileFrames(t *testing.T) {
	forTargets(t, func(t *testing.T, target string) {
		h := newHub(t)
		g := h.static(target, "10.9.0.2")
		for range 5 {
			get(t, "http://10.9.0.2/")
		}
		ping(t, [4]byte{10, 9, 0, 2})
		h.mu.Lock()
		seen := h.seen
		h.mu.Unlock()
		random := rand.New(rand.NewPCG(3, 4))
		count := 20_000
		if target == "hvt" { // which takes long where KVM is emulated
			count = 1000
		}
		for range count {
			frame := append([]byte(nil), seen[random.IntN(len(seen))]...)
			frame = frame[:len(frame)-random.IntN(2)*random.IntN(len(frame))]
			for range random.IntN(4) {
				if len(frame) > 12 {
					frame[12+random.IntN(len(frame)-12)] = byte(random.Uint32())
				}
			}
			if len(frame) == 0 {
				continue
			}
			correct(frame)
			_, err := g.port.Write(frame)
			require.NoError(t, err)
		}
		status, _ := get(t, "http://10.9.0.2/")
		require.Equal(t, 200, status)
	})
}

// correct makes the checksums of a packet right, as far as it is one.
func correct(frame []byte) {
	be := binary.BigEndian
	if len(frame) < 34 {
		return
	}
	p := frame[14:]
	header := int(p[0]&15) * 4
	if header < 20 || header > len(p) {
		return
	}
	be.PutUint16(p[10:], 0)
	be.PutUint16(p[10:], ^fold(0, p[:header]))
	total := min(int(be.Uint16(p[2:])), len(p))
	if total < header+20 || p[9] != unix.IPPROTO_TCP {
		return
	}
	segment := p[header:total]
	be.PutUint16(segment[16:], 0)
	pseudo := uint32(fold(uint32(unix.IPPROTO_TCP)+uint32(len(segment)), p[12:20]))
	be.PutUint16(segment[16:], ^fold(pseudo, segment))
}
