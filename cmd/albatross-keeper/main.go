// Albatross-keeper keeps running when albatrossd is stopped, upgraded or killed. It is the
// parent of the tenders, remembers their exits until a daemon has acknowledged them, and
// moves what they print to the history of their consoles while no daemon reads it. It
// decides nothing.
//
// Package albatross/runtime/keeper/wire documents what a daemon can ask for.
//
// The program is one loop that polls descriptors (keeper.go). Goroutines beside it do what
// may take long (aside.go). What it keeps is also on disk (journal.go). Another build takes
// over by an exec, with all children and descriptors (upgrade.go).
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"albatross/runtime/detach"
	"albatross/runtime/keeper/wire"
)

// version is set when a release is built.
var version = "devel"

const usage = `usage: albatross-keeper --dbdir=DIR

Remembers how the unikernels of an albatrossd end, and keeps what they print, while that
daemon does not run. The daemon connects to DIR/keeper/socket. To end the keeper ends no
unikernel; the next keeper takes them over.

  --dbdir=DIR   directory of the database (/var/lib/albatross)
  --version     show version
  --help        show this help
`

const (
	// collectAt is by how many percent the heap may grow before garbage is collected. It is
	// low because memory matters here, and time does not.
	collectAt = 20
	// processors: one for the loop, and one for what runs beside it.
	processors = 2
)

func main() {
	debug.SetGCPercent(collectAt)
	runtime.GOMAXPROCS(processors)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "albatross-keeper: %v\n", err)
		if errors.Is(err, errTaken) {
			os.Exit(wire.Taken)
		}
		os.Exit(1)
	}
}

var errTaken = errors.New("another keeper runs for it")

// options are the command line. A descriptor that is not given is -1.
type options struct {
	dbdir   string
	ready   int // descriptor to write to when the keeper listens, or why it cannot
	resume  int // descriptor of the state that another build has left
	accepts int // the version of such a state: can this build read it?
	action  string
	// transient: it ends when a daemon has been connected, none is any more, and it keeps
	// nothing. A daemon starts it again.
	transient bool
}

func parse(arguments []string) (o options, err error) {
	o = options{dbdir: "/var/lib/albatross", ready: -1, resume: -1}
	for _, argument := range arguments {
		option, value, _ := strings.Cut(argument, "=")
		switch option {
		case "--dbdir":
			o.dbdir = value
		case "--ready":
			o.ready, err = strconv.Atoi(value)
		case "--resume":
			o.resume, err = strconv.Atoi(value)
		case "--accepts":
			o.action = option
			o.accepts, err = strconv.Atoi(value)
		case "--transient":
			o.transient = true
		case "--version", "--help", "--detach":
			o.action = option
		default:
			err = errors.New("it is not known; see --help")
		}
		if err != nil {
			return o, fmt.Errorf("cannot use option %s: %w", argument, err)
		}
	}
	if o.dbdir == "" {
		return o, errors.New("--dbdir needs a directory")
	}
	o.dbdir, err = filepath.Abs(o.dbdir)
	return o, err
}

func run(arguments []string) error {
	o, err := parse(arguments)
	if err != nil {
		return err
	}
	switch o.action {
	case "--help":
		fmt.Print(usage)
		return nil
	case "--version":
		fmt.Println("albatross-keeper, version", version)
		return nil
	case "--detach":
		return begins(o)
	case "--accepts":
		if o.accepts != stateVersion {
			return fmt.Errorf("this build understands version %d, not %d, of what it would go on with", stateVersion, o.accepts)
		}
		return nil
	}
	k, err := begin(o)
	if err != nil {
		o.report(err.Error())
		return err
	}
	o.report(detach.Ready)
	if o.resume < 0 {
		if err := notifyReady(); err != nil {
			k.trouble.note("Cannot notify the service manager that the keeper is ready: %v", err)
		}
	}
	return k.run()
}

// manager is the environment variable with the socket of the service manager, if that has
// started this program.
const manager = "NOTIFY_SOCKET"

// notifyReady notifies the service manager that the keeper listens; see sd_notify(3).
func notifyReady() error {
	path := os.Getenv(manager)
	if path == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	return os.NewSyscallError("sendto", unix.Sendto(fd, []byte("READY=1"), unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: path}))
}

func (o options) report(text string) {
	if o.ready >= 0 {
		_ = detach.Report(o.ready, text) // whoever started us may be gone
	}
}

// begins starts a keeper that is no child of the caller, and returns when that one listens.
func begins(o options) error {
	crash := filepath.Join(o.dbdir, wire.Dir, wire.Crash)
	text, err := detach.Start([]string{"--dbdir=" + o.dbdir, fmt.Sprintf("--ready=%d", detach.Descriptor), "--transient"}, crash)
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

// begin returns a keeper that listens: a new one, or one that continues for another build.
func begin(o options) (*keeper, error) {
	k, err := newKeeper(o.dbdir)
	if err != nil {
		return nil, fmt.Errorf("cannot keep %s: %w", o.dbdir, err)
	}
	if o.resume >= 0 {
		err = k.resume(o.resume)
	} else {
		k.transient = o.transient
		err = k.start()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot keep %s: %w", o.dbdir, err)
	}
	return k, nil
}
