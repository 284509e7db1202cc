// Package launcher is the process between albatrossd and a tender: the daemon forks it,
// and it becomes the tender. It owns the gate, which makes a start safe against crashes.
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
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"albatross/runtime/cpulist"
	"albatross/runtime/signals"
)

// The descriptors that the daemon passes, besides standard input and output.
const (
	// Gate delivers one byte: become the tender. Its end of file: exit.
	Gate = 3
	// Status receives the report: first Began, when the gate was open, and then, if
	// something fails, now or before, the reason. The exec closes it, so its end of file
	// without a reason means success.
	Status = 4
)

// Began comes first over the status pipe when the gate was opened.
const Began = "+"

// An order says what to become.
type order struct {
	tasks []string // files of cgroups to join
	cpus  []int    // to run on; none: any
	argv  []string
}

// Main is the program: arguments are [--join=FILE]... --cpus=LIST -- PROGRAM ARGUMENTS.
// It returns an exit status, or not at all.
func Main(arguments []string) int {
	// Affinity, signal mask and cgroups belong to a thread, and an exec keeps those of
	// the thread that calls it.
	runtime.LockOSThread()
	err := launch(arguments)
	if err == nil {
		return 0
	}
	if _, failed := writeStatus(err.Error()); failed != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

// launch returns nil if the daemon is gone.
func launch(arguments []string) error {
	if !isPipe(Gate) || !isPipe(Status) {
		return errors.New("cannot launch: only albatrossd can call this")
	}
	o, err := parse(arguments)
	if err != nil {
		return err
	}
	if err := prepare(o); err != nil {
		return err
	}
	if opened, err := awaitGate(); err != nil || !opened {
		return err
	}
	if _, err := writeStatus(Began); err != nil {
		return nil // nobody reads it any more
	}
	return fmt.Errorf("cannot execute %s: %w", o.argv[0], syscall.Exec(o.argv[0], o.argv, []string{}))
}

func isPipe(fd int) bool {
	var stat unix.Stat_t
	return unix.Fstat(fd, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO
}

func parse(arguments []string) (o order, err error) {
	for len(arguments) > 0 {
		file, ok := strings.CutPrefix(arguments[0], "--join=")
		if !ok {
			break
		}
		o.tasks = append(o.tasks, file)
		arguments = arguments[1:]
	}
	if len(arguments) < 3 || arguments[1] != "--" {
		return order{}, errors.New("cannot launch: usage: launch [--join=FILE]... --cpus=LIST -- PROGRAM [ARGUMENTS]")
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
	if err := unix.CloseRange(Gate, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("cannot close descriptors: %w", err)
	}
	if err := resetSignals(); err != nil {
		return fmt.Errorf("cannot reset signals: %w", err)
	}
	return nil
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
