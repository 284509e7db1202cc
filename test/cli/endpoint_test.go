package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// An endpoint is the one that a script has started for its daemon.
type endpoint struct {
	process *exec.Cmd
	ended   chan error
}

type endpointKey struct{}

// endpointCommand starts an endpoint, and puts its address into $ENDPOINT, and the port of that into
// $ENDPOINT_PORT, or stops it.
func endpointCommand(ts *testscript.TestScript, neg bool, args []string) {
	e := ts.Value(endpointKey{}).(*endpoint)
	switch {
	case neg || len(args) == 0:
		ts.Fatalf("usage: endpoint start CACERT CERT KEY [OPTION]... | endpoint stop")
	case args[0] == "start":
		address, err := e.start(ts.MkAbs("."), ts.Getenv("RUN"), args[1:])
		ts.Check(err)
		_, port, err := net.SplitHostPort(address)
		ts.Check(err)
		ts.Setenv("ENDPOINT", address)
		ts.Setenv("ENDPOINT_PORT", port)
	case args[0] == "stop":
		ts.Check(e.stop())
	default:
		ts.Fatalf("there is no endpoint %s", args[0])
	}
}

func (e *endpoint) start(work, run string, args []string) (address string, err error) {
	spool, log := filepath.Join(run, "spool"), filepath.Join(work, "endpoint.log")
	if err := os.MkdirAll(spool, 0o700); err != nil {
		return "", err
	}
	f, err := os.Create(log)
	if err != nil {
		return "", err
	}
	defer f.Close()
	c := exec.Command(filepath.Join(bin, "albatross-tls-endpoint"),
		append([]string{"--ip=127.0.0.1", "--port=0", "--tmpdir=" + run, "--spool=" + spool}, args...)...)
	c.Dir, c.Stderr = work, f
	if err := c.Start(); err != nil {
		return "", err
	}
	e.process, e.ended = c, make(chan error, 1)
	go func() { e.ended <- c.Wait() }()
	return e.listening(log)
}

var listening = regexp.MustCompile(`Listening.*address=(\S+)`)

// listening waits until the log has the address.
func (e *endpoint) listening(log string) (address string, err error) {
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(log)
		if err != nil {
			return "", err
		}
		if found := listening.FindSubmatch(text); found != nil {
			return string(found[1]), nil
		}
		select {
		case <-tick.C:
		case err := <-e.ended:
			e.process = nil
			return "", fmt.Errorf("the endpoint has ended (%v): %s", err, text)
		case <-deadline:
			return "", fmt.Errorf("the endpoint does not listen: %s", text)
		}
	}
}

func (e *endpoint) stop() error {
	if e.process == nil {
		return errors.New("no endpoint was started")
	}
	if err := e.process.Process.Signal(unix.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-e.ended:
		e.process = nil
		return err
	case <-time.After(patience):
		return errors.New("the endpoint does not stop")
	}
}

// clean ends the processes of a script that has failed.
func (e *endpoint) clean() {
	if e.process != nil {
		e.process.Process.Kill()
		<-e.ended
	}
}
