// Demo shows in a few seconds what albatross does: it starts a daemon, creates a
// unikernel, kills the daemon, starts it again, and shows that the unikernel has
// noticed nothing; then the same with one that serves HTTP on a network that the daemon
// has made. It needs no privileges, no Solo5 and no network, and leaves nothing behind. "make demo" builds the programs and runs it.
//
// show, below, runs all commands, and prints each as you would type it. How it
// waits and cleans up is in scratch.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// limit is how long the demo may take on a slow machine.
const limit = time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := demo(ctx)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

// demo shows everything in a scratch directory, and cleans up in any case.
func demo(ctx context.Context) (err error) {
	s, err := newScratch()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.clean()) }()
	err = show(ctx, s)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("stopped before the end: %w", context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("%w%s", err, s.daemonLog())
	}
	return nil
}

func show(ctx context.Context, s *scratch) error {
	say("A daemon that owns nothing but a scratch directory:")
	if err := s.startDaemon(ctx); err != nil {
		return err
	}

	say("A unikernel from an image that comes with albatross:")
	image, err := s.writeImage("hello")
	if err != nil {
		return err
	}
	if _, err := s.client(ctx, "create", "hello", image, "--mem=8", "--arg=world"); err != nil {
		return err
	}

	say("What it prints, as it comes:")
	before, err := s.console(ctx, 2)
	if err != nil {
		return err
	}

	say("What the daemon knows about it:")
	started, err := s.started(ctx)
	if err != nil {
		return err
	}
	process, err := s.tender()
	if err != nil {
		return err
	}

	say("Now the daemon dies, without a chance to clean up:")
	if err := s.killDaemon(); err != nil {
		return err
	}
	say("The unikernel, which is process %d, goes on. A new daemon takes it over:", process)
	if err := s.startDaemon(ctx); err != nil {
		return err
	}
	again, err := s.started(ctx)
	if err != nil {
		return err
	}
	after, err := s.console(ctx, before.last()+1)
	if err != nil {
		return err
	}
	if err := sameUnikernel(started, again, before, after); err != nil {
		return err
	}
	if now, err := s.tender(); err != nil || now != process {
		return fmt.Errorf("the unikernel should still be process %d, but it is %d (%v)", process, now, err)
	}
	say("Started once, still process %d, and it has gone on counting.", process)

	say("Enough of that one:")
	if _, err := s.client(ctx, "destroy", "hello"); err != nil {
		return err
	}
	if err := showNetwork(ctx, s); err != nil {
		return err
	}
	if err := s.stopDaemon(ctx); err != nil {
		return err
	}
	if err := s.nothingLeft(); err != nil {
		return err
	}
	say("No process and no file is left. That was albatross; README.md says how to go on.")
	return nil
}

// showNetwork shows a unikernel that serves HTTP, with a daemon, without one, and with the next.
func showNetwork(ctx context.Context, s *scratch) error {
	image, err := s.writeImage("web")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	say("A network, for which nobody has prepared anything:")
	if _, err := s.client(ctx, "network", "create", "inside", "--backend=user"); err != nil {
		return err
	}
	say("A unikernel on it, which port %d of this machine leads to:", port)
	publish := fmt.Sprintf("--publish=127.0.0.1:%d:80", port)
	if _, err := s.client(ctx, "create", "web", image, "--mem=16", "--net=service:inside", publish); err != nil {
		return err
	}
	if err := s.requireServed(ctx, port); err != nil {
		return err
	}
	say("It goes on serving when the daemon dies:")
	if err := s.killDaemon(); err != nil {
		return err
	}
	if err := s.requireServed(ctx, port); err != nil {
		return err
	}
	if err := s.startDaemon(ctx); err != nil {
		return err
	}
	if _, err := s.client(ctx, "network", "show", "inside"); err != nil {
		return err
	}
	if err := s.requireServed(ctx, port); err != nil {
		return err
	}
	if _, err := s.client(ctx, "destroy", "web"); err != nil {
		return err
	}
	_, err = s.client(ctx, "network", "remove", "inside")
	return err
}

// sameUnikernel checks that what was seen before and after the daemon died is one unikernel that
// was started once.
func sameUnikernel(started, again string, before, after ticks) error {
	switch {
	case started != again:
		return fmt.Errorf("the unikernel was started again: first it was %q, now it is %q", started, again)
	case after.starts > 1 || after.starts == 1 && before.starts == 0:
		return errors.New("the unikernel was started again: it has said hello twice")
	case after.last() <= before.last():
		return fmt.Errorf("the unikernel has not gone on counting: first to %d, then to %d", before.last(), after.last())
	case !after.contiguous():
		return fmt.Errorf("the unikernel has not counted without a gap: %v", after.numbers)
	}
	return nil
}
