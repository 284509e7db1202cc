package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/client"
)

// A goal is what 'wait' waits for.
type goal string

const (
	untilRunning goal = "running"
	untilHealthy goal = "healthy"
	untilExit    goal = "exit"
)

func parseGoal(s string) (goal, error) {
	if g := goal(s); g == untilRunning || g == untilHealthy || g == untilExit {
		return g, nil
	}
	return "", fmt.Errorf("invalid value '%s', expected running, healthy or exit", escape(s))
}

func waitCommand(d *daemon, out *printer, inv inventory, complete completer) *cobra.Command {
	until := untilExit
	var timeout time.Duration
	c := complete.aboutUnikernel(&cobra.Command{
		Use:   "wait",
		Short: "Wait until a unikernel has exited, or runs, or is healthy",
		Long: `Wait until a unikernel has exited, and print how: its run that goes on, or the last one if none
does. With --for=running wait until it runs, also if it has yet to be created, and with
--for=healthy until its health check has succeeded.`,
		Example: `  albatross-client wait batch
  albatross-client wait web:site --for=running --timeout=10s`,
	}, func(c *cobra.Command, name messages.Name) error {
		switch {
		case d.destination.csr:
			return errNoRequest
		case d.socket != "":
			return errSocketGiven
		case timeout < 0:
			return usageError("option '--timeout': it is negative")
		}
		return waiter{d, out, inv}.wait(c.Context(), name, until, timeout)
	})
	c.Flags().Var(one("GOAL", parseGoal, &until), "for", "running, healthy or exit")
	c.Flags().DurationVar(&timeout, "timeout", 0, "give up after so long, such as 10s or 2m, with exit code 117; 0: never")
	return c
}

// errTimeout is the cause of a wait that is given up.
var errTimeout = errors.New("the time is over")

// A waiter waits until a unikernel has come to a state.
type waiter struct {
	daemon    *daemon
	out       *printer
	inventory inventory
}

// wait waits, and prints what it has waited for.
func (w waiter) wait(ctx context.Context, name messages.Name, until goal, timeout time.Duration) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	within, cancel := ctx, context.CancelFunc(func() {})
	if timeout > 0 {
		within, cancel = context.WithTimeoutCause(ctx, timeout, errTimeout)
	}
	defer cancel()
	err := w.await(within, name, until)
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case context.Cause(within) == errTimeout:
		return &client.Refusal{Name: name, Text: fmt.Sprintf("it has not come to that within %v: %s", timeout, until)}
	}
	return err
}

// await asks how the unikernel is, and then reads events, also those that the host may not have
// known when it answered.
func (w waiter) await(ctx context.Context, name messages.Name, until goal) error {
	asked := time.Now()
	list, err := w.inventory.statuses(ctx, name)
	if err != nil {
		return err
	}
	if over, err := w.isThere(name, list, until); over || err != nil {
		return err
	}
	conn, err := w.daemon.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := conn.Events(ctx, name, messages.Some(until.since(list, asked)))
	if err != nil {
		return err
	}
	var last messages.Event // of those that matter
	for present := false; ; {
		data, err := stream.Next(ctx)
		if err != nil {
			return err
		}
		switch d := data.(type) {
		case messages.DataPresent:
			present = true
		case messages.DataEvent:
			if d.Event.Kind == messages.EventExited || until.reachedBy(d.Event) {
				last = d.Event
			}
			if present && until == untilHealthy && d.Event.Kind == messages.EventStarted { // maybe without a check
				if list, err = w.inventory.statuses(ctx, name); err != nil {
					return err
				}
				if over, err := w.isThere(name, list, until); over || err != nil {
					return err
				}
			}
		}
		if (present || until == untilExit) && until.reachedBy(last) {
			return w.reached(name, until, last.Exit.Value)
		}
	}
}

// lateness is far more than it takes until the host knows of an event that is on record.
const lateness = time.Minute

// since returns the time from which on an event shows that it has come to what is waited for: of
// an exit, the start of the run that goes on.
func (g goal) since(list []messages.UnikernelStatus, asked time.Time) time.Time {
	switch {
	case g == untilRunning, g == untilHealthy:
		return asked.Add(-lateness)
	case list[0].State == messages.StateRunning:
		return list[0].Started
	}
	return asked
}

// isThere reports whether there is nothing to wait for.
func (w waiter) isThere(name messages.Name, list []messages.UnikernelStatus, until goal) (bool, error) {
	switch {
	case until == untilRunning:
		if len(list) == 1 && list[0].State == messages.StateRunning {
			return true, w.reached(name, until, messages.Exit{})
		}
	case until == untilHealthy:
		switch {
		case len(list) == 0, list[0].State == messages.StateEnded:
		case !list[0].Arguments.Health.OK:
			return true, &client.Refusal{Name: name, Text: "its health is not checked: that is an option of its creation, --health"}
		case list[0].Health.State == messages.Healthy:
			return true, w.reached(name, until, messages.Exit{})
		}
	case len(list) == 0:
		return true, &client.Refusal{Name: name, Text: "there is no unikernel of this name"}
	case list[0].State == messages.StateEnded:
		return true, w.reached(name, until, list[0].End.Value.Exit)
	}
	return false, nil
}

func (g goal) reachedBy(e messages.Event) bool {
	switch g {
	case untilRunning:
		return e.Kind == messages.EventStarted || e.Kind == messages.EventAdopted
	case untilHealthy:
		return e.Kind == messages.EventHealthy
	default:
		return e.Kind == messages.EventExited
	}
}

// reached prints that it has come to what was waited for.
func (w waiter) reached(name messages.Name, until goal, exit messages.Exit) error {
	text := string(until)
	if until == untilExit {
		text = exit.String()
	}
	if w.out.format != jsonFormat {
		return w.out.print(w.out.of(name) + text)
	}
	o := waitObject{Name: shortName(name), Reached: string(until)}
	if until == untilExit {
		o.Exit = toExitObject(messages.Some(messages.End{Exit: exit}))
	}
	return w.out.print(asciiJSON(o))
}

// A waitObject is what 'wait' has waited for.
type waitObject struct {
	Name    string      `json:"name"`
	Reached string      `json:"reached"`
	Exit    *exitObject `json:"exit,omitempty"`
}
