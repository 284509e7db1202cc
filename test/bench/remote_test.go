package bench

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/wire"
	"albatross/test/programs"
)

// An afar is a host with an endpoint, and a client with a certificate.
type afar struct {
	*host
	root    *certificate.Authority
	alice   *certificate.Authority
	key     crypto.Signer
	address string
}

func newAfar(b *testing.B) *afar {
	a := &afar{host: newHost(b)}
	require.NoError(b, programs.Build(a.dir, "albatross-tls-endpoint"))
	var err error
	a.key, err = certificate.Ed25519.Generate()
	require.NoError(b, err)
	a.root, err = certificate.NewRoot("root", a.key, time.Now(), time.Hour)
	require.NoError(b, err)
	server, err := a.root.IssueServer("server", a.key.Public(), time.Now(), time.Hour)
	require.NoError(b, err)
	key, err := certificate.EncodeKey(a.key)
	require.NoError(b, err)
	for name, contents := range map[string][]byte{"cacert.pem": a.root.Chain.Encode(), "server.pem": server.Encode(), "server.key": key} {
		require.NoError(b, os.WriteFile(a.path(name), contents, 0o600))
	}
	chain, err := a.root.Issue(certificate.Request{Name: "alice", Key: a.key.Public(), Command: messages.PolicyAdd{Policy: messages.Policy{
		Unikernels: 1000, Memory: 100_000, CPUIDs: []int{0}, Block: messages.Some(1000),
	}}}, time.Now(), time.Hour)
	require.NoError(b, err)
	a.alice, err = certificate.NewAuthority(chain, a.key)
	require.NoError(b, err)
	a.startEndpoint()
	return a
}

// startEndpoint starts it, and finds out where it listens.
func (a *afar) startEndpoint() {
	c := exec.Command(a.path("albatross-tls-endpoint"), "--tmpdir", a.dir, "--spool", a.dir, "--ip", "127.0.0.1", "--port", "0",
		a.path("cacert.pem"), a.path("server.pem"), a.path("server.key"))
	log, err := c.StderrPipe()
	require.NoError(a.b, err)
	require.NoError(a.b, c.Start())
	a.b.Cleanup(func() {
		require.NoError(a.b, c.Process.Signal(unix.SIGTERM))
		_ = c.Wait() // nobody reads its log any more
	})
	line, err := bufio.NewReader(log).ReadString('\n')
	require.NoError(a.b, err)
	_, address, _ := strings.Cut(strings.TrimSpace(line), "address=")
	a.address = address
}

// leaf is a client's certificate with a command, which takes some time to make.
func (a *afar) leaf(name string, command messages.Command) *tls.Config {
	chain, err := a.alice.Issue(certificate.Request{Name: name, Command: command, Key: a.key.Public()}, time.Now(), time.Hour)
	require.NoError(a.b, err)
	return a.present(chain)
}

func (a *afar) present(chain certificate.Chain) *tls.Config {
	own := tls.Certificate{PrivateKey: a.key}
	for _, cert := range chain {
		own.Certificate = append(own.Certificate, cert.Raw)
	}
	return &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true} // what is measured is the server
}

// ask says a command, and what belongs behind it, and reads the answer.
func (a *afar) ask(config *tls.Config, stream ...[]byte) messages.Wire {
	m, err := a.tryAsk(config, stream...)
	require.NoError(a.b, err)
	return m
}

func (a *afar) tryAsk(config *tls.Config, stream ...[]byte) (messages.Wire, error) {
	c, err := tls.Dial("tcp", a.address, config)
	if err != nil {
		return messages.Wire{}, err
	}
	defer func() { _ = c.Close() }()
	for _, chunk := range stream {
		if err := wire.WriteChunk(c, chunk); err != nil {
			return messages.Wire{}, err
		}
	}
	if stream != nil {
		if err := wire.WriteEnd(c); err != nil {
			return messages.Wire{}, err
		}
	}
	frame, err := wire.ReadFrame(c, wire.MaxFrame)
	if err != nil {
		return messages.Wire{}, err
	}
	return wire.Decode(frame)
}

// BenchmarkRemoteInfo tells how long it takes from nothing to an answer: a handshake
// with a policy in the chain, which is put in its place, and info. x-tls is how many
// times as long it takes as a handshake and an echo with a server that verifies the
// same chain and does nothing else; x-local, as the same by the socket.
func BenchmarkRemoteInfo(b *testing.B) {
	a := newAfar(b)
	config := a.leaf(".", messages.UnikernelInfo{Form: 6})
	a.ask(config)
	echo := a.echo()
	var ours, bare, local []time.Duration
	for range 200 {
		ours = append(ours, took(func() { a.ask(config) }))
		bare = append(bare, took(func() { (&afar{host: a.host, address: echo}).ask(config) }))
		local = append(local, took(func() {
			a.host.ask(messages.Name{Path: "alice"}, messages.UnikernelInfo{Form: 6})
		}))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(median(ours)), "ms")
	b.ReportMetric(float64(len(ours))/total(ours).Seconds(), "per-second")
	b.ReportMetric(medianOf(ratios(ours, bare)), "x-tls")
	atMost("handshake, policy and info from afar: a bare handshake", "×", 1.15, ratios(ours, bare))
	b.ReportMetric(float64(median(ours))/float64(median(local)), "x-local")
}

func total(list []time.Duration) (sum time.Duration) {
	for _, d := range list {
		sum += d
	}
	return sum
}

// echo is a server that verifies its clients, and gives all of them the same answer.
func (a *afar) echo() (address string) {
	own, err := tls.LoadX509KeyPair(a.path("server.pem"), a.path("server.key"))
	require.NoError(a.b, err)
	roots := x509.NewCertPool()
	roots.AddCert(a.root.Chain[0])
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
	})
	require.NoError(a.b, err)
	a.b.Cleanup(func() { _ = l.Close() })
	answer, err := wire.AppendFrame(nil, messages.Wire{Header: messages.Header{Version: 5}, Payload: messages.SuccessEmpty{}})
	require.NoError(a.b, err)
	go serve(l, func(c net.Conn) { _, _ = c.Write(answer) })
	return l.Addr().String()
}

// BenchmarkRemoteCreate tells how long a create with a new image of 10 MB takes,
// which comes as a stream or in the certificate. x-local is how many times as long
// that is as by the socket.
func BenchmarkRemoteCreate(b *testing.B) {
	a := newAfar(b)
	image := func() []byte { return append(largeImage(b), make([]byte, 10<<20-imageSize)...) }
	for _, way := range []string{"stream", "certificate"} {
		b.Run(way, func(b *testing.B) {
			var ours, local []time.Duration
			for i := range rounds {
				name := fmt.Sprint(way, i)
				command := messages.UnikernelCreate{Form: 5, Config: config(image())}
				stream := [][]byte(nil)
				if way == "stream" {
					for rest := command.Config.Image; len(rest) > 0; rest = rest[min(len(rest), wire.ChunkSize):] {
						stream = append(stream, rest[:min(len(rest), wire.ChunkSize)])
					}
					command.Config.Image = nil
				}
				leaf := a.leaf(name, command)
				ours = append(ours, took(func() {
					answer, err := a.tryAsk(leaf, stream...)
					if err != nil && way == "certificate" {
						b.Skip("the endpoint was built without -overlay: run this by make bench")
					}
					require.NoError(b, err)
					require.IsType(b, messages.SuccessText{}, answer.Payload)
				}))
				a.host.ask(messages.Name{Path: "alice", Label: messages.Label(name)}, messages.UnikernelDestroy{})
				command.Config = config(image())
				local = append(local, took(func() { a.host.ask(label("local"), command) }))
				a.host.ask(label("local"), messages.UnikernelDestroy{})
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(milliseconds(median(ours)), "ms")
			b.ReportMetric(float64(median(ours))/float64(median(local)), "x-local")
		})
	}
}

// BenchmarkRemoteDump tells how fast the contents of a block device come over TLS.
// x-openssl is how many times as long it takes as the same bytes from openssl
// s_server, which reads a file; x-local, as by the socket.
func BenchmarkRemoteDump(b *testing.B) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		b.Skip("there is no openssl to compare with")
	}
	a := newAfar(b)
	data := bytes.Repeat([]byte("contents of a block device, more or less "), deviceSize<<20/41+1)[:deviceSize<<20]
	name := messages.Name{Path: "alice", Label: "disk"}
	a.ask(a.leaf(".", messages.PolicyInfo{}))
	a.host.ask(name, messages.BlockAdd{Size: deviceSize})
	a.set(name, data)
	require.NoError(b, os.WriteFile(a.path("contents"), data, 0o600))
	yardstick := a.startOpenSSL(openssl)
	leaf := a.leaf("disk", messages.BlockDump{})
	var ours, theirs, local []time.Duration
	for range 5 {
		ours = append(ours, took(func() { a.dumpTLS(leaf) }))
		theirs = append(theirs, took(func() { a.get(yardstick) }))
		local = append(local, took(func() { a.dump(name) }))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(deviceSize/median(ours).Seconds(), "MB/s")
	b.ReportMetric(medianOf(ratios(ours, theirs)), "x-openssl")
	atMost("dump of 256 MB from afar: openssl s_server", "×", 1.1, ratios(ours, theirs))
	b.ReportMetric(float64(median(ours))/float64(median(local)), "x-local")
	a.host.ask(name, messages.BlockRemove{})
}

func (a *afar) dumpTLS(config *tls.Config) {
	c, err := tls.Dial("tcp", a.address, config)
	require.NoError(a.b, err)
	defer func() { _ = c.Close() }()
	n, err := io.Copy(io.Discard, c)
	require.NoError(a.b, err)
	require.Greater(a.b, n, int64(deviceSize<<20))
}

// startOpenSSL starts a server of files in the directory of the host.
func (a *afar) startOpenSSL(openssl string) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(a.b, err)
	address = l.Addr().String()
	require.NoError(a.b, l.Close())
	c := exec.Command(openssl, "s_server", "-accept", address, "-WWW", "-quiet", "-tls1_3", "-cert", a.path("server.pem"), "-key", a.path("server.key"))
	c.Dir = filepath.Clean(a.dir)
	require.NoError(a.b, c.Start())
	a.b.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	require.Eventually(a.b, func() bool {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		return err == nil && c.Close() == nil
	}, patience, 10*time.Millisecond)
	return address
}

// get reads the same bytes from openssl.
func (a *afar) get(address string) {
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	require.NoError(a.b, err)
	defer func() { _ = c.Close() }()
	_, err = io.WriteString(c, "GET /contents HTTP/1.0\r\n\r\n")
	require.NoError(a.b, err)
	n, err := io.Copy(io.Discard, c)
	require.NoError(a.b, err)
	require.Greater(a.b, n, int64(deviceSize<<20))
}
