// Package launcher is the process between albatrossd and a tender: the daemon forks it,
// and it becomes the tender, either by an exec, or by going on as that if both are the same
// program. It owns the gate, which makes a start safe against crashes.
//
// A tender must be on record on disk before it executes its first instruction; otherwise
// a daemon that dies in between leaves an unknown unikernel. So the daemon starts this
// program in its place, records it, and then opens the gate. If the daemon dies before,
// the gate closes, and the process ends. Becoming the tender changes neither pid nor
// start time.
//
// Package tender is the daemon's side. This package runs in the new process, and imports
// next to nothing, so that it starts fast.
package launcher

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"albatross/runtime/confine"
	"albatross/runtime/cpulist"
	"albatross/runtime/signals"
)

// The descriptors that the daemon passes, besides standard input and output.
const (
	// Gate delivers one byte: become the tender. Its end of file: exit.
	Gate = 3
	// Status receives the report: first a line for each layer of the confinement that is
	// missing, each after Missing; then Began, when the gate was open; and then, if
	// something fails, now or before, the reason. Who has become the tender has closed it,
	// so its end of file without a reason means success.
	Status = 4
	// Passed is the first of those that the tender gets; --pass=N says how many there are. Those
	// of a void come next, if there is one.
	Passed = 5
)

const (
	// Began comes over the status pipe when the gate was opened.
	Began = "+"
	// Missing comes before a line that names a layer which is missing.
	Missing = "-"
)

// An order says what to become.
type order struct {
	tasks   []string       // files of cgroups to join
	confine *confine.Order // nil: the process keeps what it has
	cpus    []int          // to run on; none: any
	pass    int            // how many descriptors the tender gets, from Passed on
	argv    []string
	goOn    func() int // what this program goes on as; nil: it executes a program
}

// A Continuation returns what this program goes on as for a command line, or nil if it has to
// execute that. It carries out the order, if there is one.
type Continuation func(argv []string, o *confine.Order) func() int

const usage = "usage: launch [--join=FILE]... [--pass=N] [--confine[=user] [--root=DIR] [--void=FD]] --cpus=LIST -- PROGRAM [ARGUMENTS]"

// Main is the program; usage describes its arguments. It returns an exit status, or not at all.
// If PROGRAM is this program, by the path by which this one was called, and own returns a
// function for the command line, that runs instead of an exec: the start of another Go program
// would take longer than all else that a tender does. It must replace the process by the guest.
// Own may be nil.
func Main(arguments []string, own Continuation) int {
	// Affinity, signal mask and cgroups belong to a thread, and an exec keeps those of
	// the thread that calls it.
	runtime.LockOSThread()
	o, begun, err := launch(arguments, own)
	switch {
	case err == nil && !begun:
		return 0
	case err == nil:
		if o.goOn != nil {
			_, _ = unix.Close(Gate), unix.Close(Status) // which are open
			return o.goOn()
		}
		err = fmt.Errorf("cannot execute %s: %w", o.argv[0], o.execute())
	}
	if _, failed := writeStatus(err.Error()); failed != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

func (o order) isOwn() bool { return o.argv[0] == os.Args[0] }

// execute replaces this program. One that is not ours cannot confine itself.
func (o order) execute() error {
	environment := []string{}
	switch {
	case o.confine == nil:
	case o.isOwn():
		if err := confine.PassVoid(o.confine.Void); err != nil {
			return err
		}
		environment = []string{o.confine.Environment()}
	default:
		if err := confine.Other(o.argv); err != nil {
			return err
		}
	}
	return syscall.Exec(o.argv[0], o.argv, environment)
}

// launch returns when it is time to become the tender, or not begun if the daemon is gone.
func launch(arguments []string, own Continuation) (o order, begun bool, err error) {
	if !isPipe(Gate) || !isPipe(Status) {
		return o, false, errors.New("cannot launch: only albatrossd can call this")
	}
	if o, err = parse(arguments); err != nil {
		return o, false, err
	}
	if err := prepare(o); err != nil {
		return o, false, err
	}
	if o.confine != nil {
		if err := o.findConfinement(); err != nil {
			return o, false, err
		}
	}
	if own != nil && o.isOwn() {
		o.goOn = own(o.argv, o.confine)
	}
	if o.confine != nil && o.goOn != nil {
		if err := confine.DropBounding(); err != nil {
			return o, false, fmt.Errorf("cannot confine: %w", err)
		}
	}
	if opened, err := awaitGate(); err != nil || !opened {
		return o, false, err
	}
	_, gone := writeStatus(Began)
	return o, gone == nil, nil // otherwise nobody reads it any more
}

func isPipe(fd int) bool {
	var stat unix.Stat_t
	return unix.Fstat(fd, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO
}

func parse(arguments []string) (o order, err error) {
	for len(arguments) > 0 && o.option(arguments[0]) {
		arguments = arguments[1:]
	}
	if len(arguments) < 3 || arguments[1] != "--" {
		return order{}, errors.New("cannot launch: " + usage)
	}
	list, ok := strings.CutPrefix(arguments[0], "--cpus=")
	if !ok {
		return order{}, fmt.Errorf("cannot launch: --cpus=LIST expected, not %q", arguments[0])
	}
	o.argv = arguments[2:]
	if o.cpus, err = cpulist.Parse(list); err != nil {
		return o, fmt.Errorf("cannot launch: %w", err)
	}
	return o, nil
}

// option takes an option, except the last one.
func (o *order) option(text string) bool {
	option, value, _ := strings.Cut(text, "=")
	switch {
	case option == "--join":
		o.tasks = append(o.tasks, value)
	case option == "--pass":
		n, err := strconv.ParseUint(value, 10, 16)
		o.pass = int(n)
		return err == nil
	case text == "--confine", text == "--confine=user":
		o.confine = &confine.Order{User: value == "user"}
	case option == "--root" && o.confine != nil:
		o.confine.Root = value
	case option == "--void" && o.confine != nil:
		n, err := strconv.ParseUint(value, 10, 16)
		o.confine.Void = int(n)
		return err == nil
	default:
		return false
	}
	return true
}

// findConfinement gives up what no tender needs, and reports the layers that there cannot be.
func (o *order) findConfinement() error {
	if err := confine.Begin(); err != nil {
		return fmt.Errorf("cannot confine: %w", err)
	}
	missing := confine.Separate(o.argv, o.isOwn())
	if o.isOwn() {
		can, without := confine.Find(*o.confine)
		o.confine, missing = &can, append(missing, without...)
	} else {
		missing = append(missing, confine.MissingOther(o.argv)...)
	}
	for _, text := range missing {
		if _, err := writeStatus(Missing + strings.ReplaceAll(text, "\n", " ") + "\n"); err != nil {
			return err
		}
	}
	return nil
}

// prepare sets all that the tender shall inherit, and removes what the process inherited
// by accident.
func prepare(o order) error {
	for _, file := range o.tasks { // before pin: a cgroup resets the CPUs
		if err := join(file); err != nil {
			return fmt.Errorf("cannot join cgroup: %w", err)
		}
	}
	if err := pin(o.cpus); err != nil {
		return fmt.Errorf("cannot run on CPUs %v: %w", o.cpus, err)
	}
	if err := errors.Join(closeOnExec(Gate, Passed-1), closeOnExec(uint(Passed+o.pass), ^uint(0)>>32)); err != nil {
		return fmt.Errorf("cannot close descriptors: %w", err)
	}
	if err := resetSignals(); err != nil {
		return fmt.Errorf("cannot reset signals: %w", err)
	}
	return nil
}

func closeOnExec(first, last uint) error {
	return unix.CloseRange(first, last, unix.CLOSE_RANGE_CLOEXEC)
}

// join moves this thread into the cgroup of the file. A thread moves itself for free; to
// move another one, the kernel waits until all of them stand still.
func join(file string) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.Write(fd, []byte("0")); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

func pin(cpus []int) error {
	if len(cpus) == 0 {
		return nil
	}
	set := unix.NewCPUSet(cpulist.Max + 1)
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	return unix.SchedSetaffinityDynamic(0, set)
}

// resetSignals makes sure that no signal is blocked or ignored. An exec resets those that
// the Go runtime handles.
func resetSignals() error {
	for signal := unix.Signal(1); signal <= 64; signal++ {
		if signal == unix.SIGKILL || signal == unix.SIGSTOP {
			continue
		}
		if err := stopIgnoring(signal); err != nil {
			return err
		}
	}
	return unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
}

func stopIgnoring(signal unix.Signal) error {
	ignored, err := signals.Ignored(signal)
	if err != nil || !ignored {
		return err
	}
	return signals.Reset(signal)
}

// awaitGate reports whether the gate was opened; otherwise it was closed.
func awaitGate() (opened bool, err error) {
	var b [1]byte
	for {
		n, err := unix.Read(Gate, b[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("cannot read the gate: %w", err)
		}
		return n == 1, nil
	}
}

func writeStatus(text string) (int, error) { return unix.Write(Status, []byte(text)) }
