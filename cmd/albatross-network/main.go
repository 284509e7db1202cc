// Albatross-network serves one network: it gives its stations their addresses by DHCP and answers
// their questions by DNS, and holds the ports of the host that are published. For a network in
// user mode, it is also the switch, and takes connections to the outside and from published
// ports. It goes on when the daemon stops, and the next daemon takes it over.
//
// What stations send reaches this process, and not the daemon. It has no privileges: it gives up
// all that root has, except to use ports below 1024, before it serves anybody.
//
// Package albatross/runtime/network/wire documents what a daemon can ask for.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/confine"
	"albatross/runtime/detach"
	"albatross/runtime/network/wire"
)

// version is set when a release is built.
var version = "devel"

const usage = `usage: albatross-network DIR BRIDGE

Serves the network of a bridge for an albatrossd, which starts it and connects to DIR/socket.
To end it ends the connections of a network in user mode; the daemon starts the next one.

  --version     show version
  --help        show this help
`

const (
	// collectAt is by how many percent the heap may grow before garbage is collected. It is a few
	// MB: with 50, frames of a network in user mode fill that so often that a tenth of the
	// processor time is the collection.
	collectAt = 200
	// memoryLimit is where garbage is collected more often, in bytes. What all stations may use
	// at once is more.
	memoryLimit = 512 << 20
)

func main() {
	debug.SetGCPercent(collectAt)
	debug.SetMemoryLimit(memoryLimit)
	signal.Ignore(unix.SIGPIPE, unix.SIGHUP)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "albatross-network: %v\n", err)
		if errors.Is(err, errTaken) {
			os.Exit(wire.Taken)
		}
		os.Exit(1)
	}
}

var errTaken = errors.New("another process serves it")

// options are the command line.
type options struct {
	dir    string
	bridge string
	ready  int // descriptor to report to that it listens, or why it cannot; -1: none
	detach bool
}

func parse(arguments []string) (o options, err error) {
	o.ready = -1
	var rest []string
	for _, argument := range arguments {
		option, value, _ := strings.Cut(argument, "=")
		switch {
		case !strings.HasPrefix(argument, "--"):
			rest = append(rest, argument)
		case option == "--ready":
			if o.ready, err = strconv.Atoi(value); err != nil {
				return o, fmt.Errorf("cannot use option %s: %w", argument, err)
			}
		case option == "--detach":
			o.detach = true
		default:
			return o, fmt.Errorf("cannot use option %s: it is not known; see --help", argument)
		}
	}
	if len(rest) != 2 {
		return o, errors.New("a directory and the name of a bridge are needed; see --help")
	}
	o.bridge = rest[1]
	if err := messages.CheckInterface(o.bridge); err != nil {
		return o, err
	}
	o.dir, err = filepath.Abs(rest[0])
	return o, err
}

func run(arguments []string) error {
	switch {
	case slices.Contains(arguments, "--help"):
		fmt.Print(usage)
		return nil
	case slices.Contains(arguments, "--version"):
		fmt.Println("albatross-network, version", version)
		return nil
	}
	o, err := parse(arguments)
	if err != nil {
		return err
	}
	if o.detach {
		return begins(o)
	}
	s, err := begin(o)
	if err != nil {
		err = fmt.Errorf("cannot serve %s: %w", o.bridge, err)
		return errors.Join(err, o.report(err.Error()))
	}
	if err := o.report(detach.Ready); err != nil {
		return errAbandoned
	}
	return s.serve()
}

func (o options) report(text string) error {
	if o.ready < 0 {
		return nil
	}
	return detach.Report(o.ready, text)
}

// errAbandoned says that who has started this process has given up. Nobody would know of it.
var errAbandoned = errors.New("nobody waits for it any more")

// begins starts a process that is no child of the caller, and returns when that one listens.
func begins(o options) error {
	text, err := detach.Start([]string{fmt.Sprintf("--ready=%d", detach.Descriptor), o.dir, o.bridge}, filepath.Join(o.dir, wire.Crash))
	switch {
	case err != nil:
		return err
	case text != detach.Ready:
		if cause, taken := strings.CutSuffix(text, errTaken.Error()); taken {
			return fmt.Errorf("%s%w", cause, errTaken)
		}
		return errors.New(text)
	}
	return nil
}

// begin returns a server that listens, and has given up all privileges.
func begin(o options) (*server, error) {
	if err := o.lock(); err != nil {
		return nil, err
	}
	listener, err := listen(o.dir)
	if err != nil {
		return nil, err
	}
	s := newServer(o.bridge, listener, unix.Geteuid() == 0)
	s.upstream = readResolvers()
	raiseFiles()
	missing, err := enter(o.dir, s.root)
	if err != nil {
		return nil, err
	}
	for _, text := range missing {
		s.news.note("The process of network " + o.bridge + " has more than it needs: " + text)
	}
	return s, nil
}

const (
	// takeoverTime bounds the wait for a process that was killed to be gone: its lock lasts
	// until its last thread has ended.
	takeoverTime  = time.Second
	takeoverPause = 10 * time.Millisecond
)

// lock takes the lock of the network for as long as this process runs.
func (o options) lock() error {
	fd, err := unix.Open(filepath.Join(o.dir, wire.Lock), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the lock: %w", err)
	}
	for end := time.Now().Add(takeoverTime); ; time.Sleep(takeoverPause) {
		switch err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); {
		case o.ready >= 0 && detach.Abandoned(o.ready):
			return errAbandoned
		case err == nil:
			return nil
		case err != unix.EWOULDBLOCK && err != unix.EINTR:
			return os.NewSyscallError("flock", err)
		case time.Now().After(end):
			return errTaken
		}
	}
}

// raiseFiles allows as many open files as this process may have: each connection takes one.
func raiseFiles() {
	var now unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &now) == nil {
		now.Cur = now.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &now) // it goes on with fewer
	}
}

// enter gives up what this process does not need.
func enter(dir string, root bool) (missing []string, err error) {
	empty := filepath.Join(dir, wire.Empty)
	if root {
		if err := os.Mkdir(empty, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
	}
	return confine.Service{Root: empty, Keep: []int{unix.CAP_NET_BIND_SERVICE}}.Enter()
}
