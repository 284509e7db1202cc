package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// interruptible returns a context that ends when the user interrupts the program, or somebody
// terminates it, so that nothing is left half done. A second interrupt ends the program at once,
// as any other does once stop was called.
func interruptible(ctx context.Context) (_ context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(ctx, os.Interrupt, unix.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
