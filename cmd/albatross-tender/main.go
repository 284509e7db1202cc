// Albatross-tender runs a Solo5 image with the command line of Solo5's own tenders, so
// that a machine without them can run unikernels. It checks and opens everything. For spt it
// then becomes the unikernel: the same process, without any of the tender. For hvt it stays,
// and serves the unikernel in its virtual machine.
//
// It must not set up the network poller of Go, which a confined process cannot use; the
// directives keep the runtime from looking for the limits of its cgroup, now and later.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"albatross/runtime/confine"
	"albatross/runtime/hvt"
	"albatross/runtime/image"
	"albatross/runtime/solo5"
	"albatross/runtime/spt"
	"albatross/runtime/tender/launcher"
)

// version is set when a release is built.
var version = "devel"

// The main thread gives the process its name, and is the only one that runs a guest. A launcher
// joins cgroups with its thread; the kernel counts what the process has in memory in the
// cgroup of the first thread.
func init() { runtime.LockOSThread() }

func main() {
	if _, solo5 := calledAsSolo5(os.Args[0]); !solo5 && len(os.Args) > 1 && os.Args[1] == "launch" {
		os.Exit(launcher.Main(os.Args[2:], own)) // for albatrossd, so not in the usage
	}
	o, err := ordered()
	if err != nil {
		fmt.Fprintf(os.Stderr, "albatross-tender: %v\n", err)
		os.Exit(1)
	}
	os.Exit(tend(os.Args, o))
}

// ordered returns how a launcher has this program confine itself, or nil.
func ordered() (*confine.Order, error) {
	o, given, err := confine.FromEnvironment()
	if err != nil || !given {
		return nil, err
	}
	return &o, nil
}

// own returns what the launcher goes on as, or nil if it must execute the command line: a
// tender for hvt keeps its process, all threads of which must be in the cgroups.
func own(argv []string, o *confine.Order) func() int {
	if len(argv) < 2 || argv[1] != "spt" {
		return nil
	}
	return func() int { return tend(argv, o) }
}

// tend runs a command line, and returns an exit status, or not at all. An order, if there is
// one, is carried out before anything of the image is read.
func tend(argv []string, o *confine.Order) int {
	status, err := run(argv, o)
	if err != nil {
		fmt.Fprintf(os.Stderr, "albatross-tender: %v\n", err)
		return 1
	}
	return status
}

func run(argv []string, o *confine.Order) (status int, err error) {
	c, err := parse(argv)
	if err != nil {
		return 0, err
	}
	switch c.action {
	case showHelp:
		if _, solo5 := calledAsSolo5(argv[0]); solo5 {
			fmt.Fprint(os.Stderr, usage)
			return 1, nil
		}
		fmt.Print(usage)
		return 0, nil
	case showVersion:
		// On standard error, as Solo5's tenders do, where programs look for it.
		fmt.Fprintf(os.Stderr, "albatross-tender, version %s\nABI version %d\n", version, c.abiVersion())
		return 0, nil
	}
	if c.target == image.HVT {
		return serve(c.config, o)
	}
	return 0, become(c.config.Config, argv, o)
}

func (c *command) abiVersion() int {
	if c.target == image.HVT {
		return hvt.ABIVersion
	}
	return spt.ABIVersion
}

// become returns only if it fails.
func become(c solo5.Config, argv []string, o *confine.Order) error {
	if o != nil {
		if err := c.Acquire(); err != nil {
			return err
		}
		if err := o.EnterAlone(); err != nil {
			return err
		}
		c.Secret = o.User
	}
	guest, err := spt.Prepare(c)
	if err != nil {
		return err
	}
	if o != nil { // now that the executable is written
		if err := confine.LimitFiles(c.Largest()); err != nil {
			return err
		}
	}
	return guest.Exec(argv)
}

// serve runs a guest in a virtual machine, and returns its exit status.
func serve(c hvt.Config, o *confine.Order) (status int, err error) {
	if err := requireBlocking(); err != nil {
		return 0, err
	}
	if o != nil {
		if err := c.Acquire(); err != nil {
			return 0, err
		}
		if err := errors.Join(o.Enter(), confine.LimitFiles(c.Largest())); err != nil {
			return 0, err
		}
	}
	guest, err := hvt.Prepare(c)
	if err != nil {
		return 0, err
	}
	return guest.Run()
}

// requireBlocking makes the console blocking, and starts the program again if it was not:
// the runtime of Go has begun to poll it then.
func requireBlocking() error {
	again := false
	for fd := range 3 {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK == 0 {
			continue
		}
		if err := unix.SetNonblock(fd, false); err != nil {
			return fmt.Errorf("cannot make console blocking: %w", err)
		}
		again = true
	}
	if !again {
		return nil
	}
	return fmt.Errorf("cannot start again: %w", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}
