package activation

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
)

// OnHangup calls reopen at each SIGHUP, until stop is called. The signal never ends the
// program: the terminal that started it may have been closed. reopen may be nil.
//
// Output to a terminal or pipe that is gone is lost, and does not end the program either.
func OnHangup(log *slog.Logger, reopen func() error) (stop func()) {
	hangups, pipes := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	signal.Notify(pipes, unix.SIGPIPE) // the write fails instead
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangups {
			hangUp(log, reopen)
		}
	}()
	return func() {
		signal.Stop(pipes)
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}

func hangUp(log *slog.Logger, reopen func() error) {
	if reopen == nil {
		log.Info("SIGHUP is ignored: there is no file to be opened again")
		return
	}
	if err := reopen(); err != nil {
		log.Error("The old file is used on after SIGHUP", "error", err)
		return
	}
	log.Info("The file was opened again after SIGHUP")
}

const (
	// maxTrace bounds the trace of a daemon with many goroutines.
	maxTrace = 16 << 20
	// A shell adds exitSignal to the number of the signal that has ended a program.
	exitSignal = 128
)

// OnAbort ends the program at SIGABRT, which a service manager sends to a daemon whose
// watchdog has expired, and at SIGQUIT. The stacks of all goroutines go to a file: they
// are too long for a log.
func OnAbort(log *slog.Logger, file string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGABRT, unix.SIGQUIT)
	go func() {
		s := (<-signals).(unix.Signal)
		if err := writeTrace(file); err != nil {
			log.Error("Ended by a signal", "signal", unix.SignalName(s), "error", err)
		} else {
			log.Error("Ended by a signal; a file tells what the daemon was doing", "signal", unix.SignalName(s), "file", file)
		}
		os.Exit(exitSignal + int(s))
	}()
}

// writeTrace replaces the file of an earlier end.
func writeTrace(file string) error {
	trace := make([]byte, maxTrace)
	trace = trace[:runtime.Stack(trace, true)]
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot write down what the daemon was doing: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write down what the daemon was doing: %w", err)
	}
	_, err = f.Write(trace)
	return errors.Join(err, f.Close())
}
