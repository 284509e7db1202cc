package remote

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/guests"
)

// TestWrongCommandLines: the endpoint prints in one line what is wrong.
func TestWrongCommandLines(t *testing.T) {
	w := newWorld(t)
	files := []string{w.path("cacert.pem"), w.path("server.pem"), w.path("server.key")}
	w.put("two.pem", append(w.root.Chain.Encode(), w.root.Chain.Encode()...))
	require.NoError(t, os.Mkdir(w.path("open"), 0o700))
	require.NoError(t, os.Chmod(w.path("open"), 0o777))
	for want, args := range map[string][]string{
		"accepts 3 arg":                     {},
		"no such file":                      {w.path("none"), files[1], files[2]},
		"there are 2 certificates":          {w.path("two.pem"), files[1], files[2]},
		"not the certificate of a CA":       {files[1], files[1], files[2]},
		"holds no certificate":              {files[2], files[1], files[2]},
		"the certificate of this server":    {files[0], files[0], files[2]},
		"use another directory for --spool": append(files, "--spool", w.path("none")),
		"cannot read the list of revoked":   append(files, "--crl", w.path("none")),
		"there is none in it":               append(files, "--crl", w.path("cacert.pem")),
		"cannot open the audit log":         append(files, "--audit", w.path("none", "audit")),
		"chmod go-w " + w.path("open"):      append(files, "--audit", w.path("open", "audit")),
		"--handshake-timeout 0s":            append(files, "--handshake-timeout", "0s"),
		"address already in use":            append(files, "--ip", "127.0.0.1", "--port", portOf(w.address)),
		"standard input, which has to be":   append(files, "--inetd"),
		"none of the others can be":         append(files, "--inetd", "--port", "1"),
		"has not opened a socket for":       append(files, "--systemd-socket-activation"),
		"were all set":                      append(files, "--systemd-socket-activation", "--port", "1"),
	} {
		full := args
		if !strings.Contains(strings.Join(args, " "), "--spool") {
			full = append(args[:len(args):len(args)], "--spool", w.dir)
		}
		out, err := exec.Command(filepath.Join(bin, "albatross-tls-endpoint"), full...).CombinedOutput()
		require.Error(t, err, "%s", want)
		require.Contains(t, string(out), want)
		require.Equal(t, 1, strings.Count(string(out), "albatross-tls-endpoint: "), "%s", out)
	}
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// TestSocketActivation: systemd has opened the port, and the endpoint runs as a user who may only
// use the sockets.
func TestSocketActivation(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	defer f.Close()
	c := w.command("--systemd-socket-activation", "--color=auto", "--verbosity=info") // as in a native unit
	c.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, c.Path}, c.Args[1:]...)
	c.Path = "/bin/sh"
	c.Env = append(os.Environ(), "LISTEN_FDS=1")
	c.ExtraFiles = []*os.File{f}
	if os.Geteuid() == 0 {
		const nobody = 65534
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, NoSetGroups: false, Groups: []uint32{0}, Gid: nobody}}
		require.NoError(t, os.Chmod(w.dir, 0o770))
		require.NoError(t, os.Chmod(bin, 0o755))
		require.NoError(t, os.Chmod(w.path("server.key"), 0o640))
		require.NoError(t, os.Chmod(w.path("server.pem"), 0o640))
		require.NoError(t, os.Chmod(w.path("cacert.pem"), 0o640))
	}
	require.NoError(t, c.Start())
	defer w.stop(c)
	w.address = l.Addr().String()
	answer := w.send(w.leaf(w.root, "x", creates(config(nil))), guests.Image("hello", "spt"))
	require.Equal(t, text("created unikernel"), answer.Payload)
}

// TestInetd serves one connection, and writes nothing but TLS to it.
func TestInetd(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	w.address = l.Addr().String()
	started := make(chan *exec.Cmd, 1)
	inetd := func(args ...string) {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Error(err)
			return
		}
		p := w.command(append(args, "--inetd")...)
		p.Stdin, p.Stdout, p.Stderr = f, f, f
		if err := p.Start(); err != nil {
			t.Error(err)
		}
		_, _ = c.Close(), f.Close()
		started <- p
	}
	go inetd()
	answer := w.send(w.leaf(w.root, "x", creates(config(nil))), guests.Image("hello", "spt"))
	require.Equal(t, text("created unikernel"), answer.Payload)
	require.NoError(t, (<-started).Wait())

	// A stranger, and command lines about which the program prints much.
	for _, args := range [][]string{nil, {"--crl", "/none"}, {"--wrong"}} {
		go inetd(args...)
		raw, err := net.Dial("tcp", w.address)
		require.NoError(t, err)
		_, err = io.WriteString(raw, "hello\n")
		require.NoError(t, err)
		p := <-started
		said, err := io.ReadAll(raw)
		require.True(t, err == nil || bytes.Contains([]byte(err.Error()), []byte("reset")), "%v", err)
		require.NotContains(t, string(said), "level=")
		require.NotContains(t, string(said), "albatross")
		require.NoError(t, raw.Close())
		_ = p.Wait() // a failure does not matter
	}
	require.Len(t, w.local(messages.Name{}, info).(messages.SuccessInfos).List, 1)
}
