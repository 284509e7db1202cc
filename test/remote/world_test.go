// Package remote tests the endpoint as its clients see it: the program itself, with
// real TLS, in front of a real daemon that runs real unikernels.
package remote

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/client"
	"albatross/sockets/wire"
	"albatross/test/netns"
	"albatross/test/programs"
)

// patience bounds what must happen.
const patience = 30 * time.Second

// pause is the interval of polls.
const pause = 2 * time.Millisecond

// bin is the directory of the programs.
var bin string

func TestMain(m *testing.M) {
	netns.Enter()
	var err error
	if bin, err = os.MkdirTemp("", "remote-bin"); err != nil {
		panic(err)
	}
	if err := programs.Build(bin, "albatrossd", "albatross-tender", "albatross-keeper", "albatross-tls-endpoint"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(bin)
		os.Exit(code)
	}))
}

// A world is a machine with a daemon and an endpoint, and the authority of its clients.
type world struct {
	t    testing.TB
	dir  string
	root *certificate.Authority
	key  crypto.Signer // of all certificates of clients

	rootKey crypto.Signer

	daemon   *exec.Cmd
	endpoint *exec.Cmd
	address  string
}

// newWorld returns a world whose endpoint has these additional arguments.
func newWorld(t testing.TB, args ...string) *world {
	return newWorldWith(t, func(*world) []string { return args })
}

// newWorldWith is newWorld with arguments that depend on the world.
func newWorldWith(t testing.TB, args func(*world) []string) *world {
	dir, err := os.MkdirTemp("", "remote") // a short name, for the sockets
	require.NoError(t, err)
	w := &world{t: t, dir: dir, key: newKey(t), rootKey: newKey(t)}
	t.Cleanup(w.end)
	w.root, err = certificate.NewRoot("root", w.rootKey, time.Now(), time.Hour)
	require.NoError(t, err)
	w.putFiles()
	w.startDaemon()
	w.startEndpoint(args(w)...)
	return w
}

func newKey(t testing.TB) crypto.Signer {
	key, err := certificate.Ed25519.Generate()
	require.NoError(t, err)
	return key
}

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

// putFiles makes the files in the command line of the endpoint.
func (w *world) putFiles() {
	key := newKey(w.t)
	server, err := w.root.IssueServer("server", key.Public(), time.Now(), time.Hour)
	require.NoError(w.t, err)
	text, err := certificate.EncodeKey(key)
	require.NoError(w.t, err)
	w.put("cacert.pem", w.root.Chain.Encode())
	w.put("server.pem", server.Encode())
	w.put("server.key", text)
}

func (w *world) put(name string, contents []byte) {
	require.NoError(w.t, os.WriteFile(w.path(name+"~"), contents, 0o600))
	require.NoError(w.t, os.Rename(w.path(name+"~"), w.path(name)))
}

func (w *world) startDaemon() {
	w.daemon = exec.Command(filepath.Join(bin, "albatrossd"), "--tmpdir", w.dir, "--dbdir", w.path("db"), "--tender", "builtin", "--cgroup", "")
	w.daemon.Stderr = w.log("daemon")
	require.NoError(w.t, w.daemon.Start())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.until("the daemon answers", func() bool { return programs.Answers(ctx, w.dir) })
}

// unhurried is a time-out that no handshake reaches, however busy the machine is.
const unhurried = "10m"

var listening = regexp.MustCompile(`msg=Listening address=(\S+)`)

func (w *world) startEndpoint(args ...string) {
	w.endpoint = w.command(append([]string{"--ip", "127.0.0.1", "--port", "0", "--handshake-timeout", unhurried}, args...)...)
	require.NoError(w.t, w.endpoint.Start())
	w.until("the endpoint listens", func() bool {
		found := listening.FindSubmatch(w.read("endpoint.log"))
		if found != nil {
			w.address = string(found[1])
		}
		return found != nil
	})
}

// command returns the endpoint, without the address where it listens.
func (w *world) command(args ...string) *exec.Cmd {
	all := append([]string{w.path("cacert.pem"), w.path("server.pem"), w.path("server.key"), "--tmpdir", w.dir, "--spool", w.dir}, args...)
	c := exec.Command(filepath.Join(bin, "albatross-tls-endpoint"), all...)
	c.Stderr = w.log("endpoint")
	return c
}

func (w *world) log(name string) *os.File {
	f, err := os.OpenFile(w.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = f.Close() })
	return f
}

func (w *world) read(name string) []byte {
	text, err := os.ReadFile(w.path(name))
	require.NoError(w.t, err)
	return text
}

// end checks that nothing is left.
func (w *world) end() {
	defer os.RemoveAll(w.dir)
	if w.t.Failed() {
		for _, name := range []string{"daemon.log", "endpoint.log"} {
			text, _ := os.ReadFile(w.path(name))
			w.t.Logf("%s:\n%s", name, text[max(0, len(text)-4000):])
		}
	}
	if w.endpoint != nil {
		w.stop(w.endpoint)
		require.NotContains(w.t, string(w.read("endpoint.log")), "panic")
		require.NotContains(w.t, string(w.read("endpoint.log")), "nternal error")
	}
	if w.daemon != nil {
		w.destroyAll()
		require.Len(w.t, programs.Keepers(w.path("db")), 1, "the daemon has a keeper")
		w.stop(w.daemon)
		w.until("the keeper ends, which keeps nothing", func() bool { return len(programs.Keepers(w.path("db"))) == 0 })
	}
}

func (w *world) stop(c *exec.Cmd) {
	require.NoError(w.t, c.Process.Signal(unix.SIGTERM))
	require.NoError(w.t, c.Wait())
}

func (w *world) destroyAll() {
	infos := w.local(messages.Name{}, messages.UnikernelInfo{Form: 6}).(messages.SuccessInfos)
	for _, i := range infos.List {
		w.local(i.Name, messages.UnikernelDestroy{})
	}
}

// local asks the daemon by its own socket.
func (w *world) local(name messages.Name, command messages.Command) messages.Success {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, w.path("util", "vmmd.sock"))
	require.NoError(w.t, err)
	defer func() { _ = c.Close() }()
	answer, err := c.Ask(ctx, name, command)
	require.NoError(w.t, err)
	return answer
}

func (w *world) until(what string, true func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !true(); time.Sleep(pause) {
		require.True(w.t, time.Now().Before(end), what)
	}
}

// below returns an authority for a path.
func (w *world) below(above *certificate.Authority, name string, policy messages.Policy) *certificate.Authority {
	key := newKey(w.t)
	chain, err := above.Issue(certificate.Request{Name: name, Command: messages.PolicyAdd{Policy: policy}, Key: key.Public()}, time.Now(), time.Hour)
	require.NoError(w.t, err)
	a, err := certificate.NewAuthority(chain, key)
	require.NoError(w.t, err)
	return a
}

// leaf returns a client that has a command, below an authority.
func (w *world) leaf(a *certificate.Authority, name string, command messages.Command) certificate.Chain {
	chain, err := a.Issue(certificate.Request{Name: name, Command: command, Key: w.key.Public()}, time.Now(), time.Hour)
	require.NoError(w.t, err)
	return chain
}

// tls returns how a client with a chain connects to the endpoint.
func (w *world) tls(chain certificate.Chain) *tls.Config {
	own := tls.Certificate{PrivateKey: w.key}
	for _, cert := range chain {
		own.Certificate = append(own.Certificate, cert.Raw)
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.root.Chain[0])
	return &tls.Config{
		Certificates: []tls.Certificate{own}, RootCAs: roots, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, // the name of the server does not matter, and its chain is checked here
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			return err
		},
	}
}

// A guest is a connection to the endpoint.
type guest struct {
	t testing.TB
	*tls.Conn
}

// connect connects a client with a chain.
func (w *world) connect(chain certificate.Chain) *guest {
	w.t.Helper()
	raw, err := net.Dial("tcp", w.address)
	require.NoError(w.t, err)
	c := tls.Client(raw, w.tls(chain))
	w.t.Cleanup(func() { _ = raw.Close() })
	require.NoError(w.t, c.SetDeadline(time.Now().Add(2*patience)))
	require.NoError(w.t, c.Handshake())
	return &guest{w.t, c}
}

// hear reads a message.
func (g *guest) hear() messages.Wire {
	g.t.Helper()
	frame, err := wire.ReadFrame(g, wire.MaxFrame)
	require.NoError(g.t, err)
	m, err := wire.Decode(frame)
	require.NoError(g.t, err)
	return m
}

// leave reads to the end, which must come in good order.
func (g *guest) leave() {
	g.t.Helper()
	_, err := g.Read(make([]byte, 1))
	require.ErrorContains(g.t, err, "EOF")
	require.NoError(g.t, g.Close())
}

// ask gives a command that is only in a certificate, and returns the answer.
func (w *world) ask(chain certificate.Chain) messages.Wire {
	w.t.Helper()
	g := w.connect(chain)
	answer := g.hear()
	g.leave()
	return answer
}

// send gives a command that a stream follows, and returns the answer.
func (w *world) send(chain certificate.Chain, chunks ...[]byte) messages.Wire {
	w.t.Helper()
	g := w.connect(chain)
	for _, chunk := range chunks {
		_, err := g.Write(framed(chunk))
		require.NoError(w.t, err)
	}
	require.NoError(w.t, wire.WriteEnd(g))
	answer := g.hear()
	g.leave()
	return answer
}

func text(s string) messages.SuccessText { return messages.SuccessText{Text: messages.Public(s)} }

func must(t testing.TB, format string, args ...any) messages.Name {
	name, err := messages.ParseName(fmt.Sprintf(format, args...))
	require.NoError(t, err)
	return name
}
