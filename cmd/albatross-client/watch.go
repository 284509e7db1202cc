package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/sockets/client"
)

// A unikernel may end at once: its tender refuses the image, or it refuses its arguments.
// So the client watches for a moment: the events of our daemon if it can get them, else
// what is listed as running.

const (
	// watchFor is how long the client watches, from the answer on.
	watchFor = time.Second
	// maxLastLines is how many lines of a console are shown at most.
	maxLastLines = 10
	// silence is how long no line must follow before we take the console to be complete,
	// if no end is marked.
	silence = 300 * time.Millisecond
)

const endedAtOnce = "it was started, and has ended at once"

// An endedError says that what was started does not run any more, or is unhealthy.
type endedError struct {
	name   messages.Name
	what   string
	events []string // the events, in lines
	lines  []string // the last lines of its console
}

func (e *endedError) Error() string {
	text := e.what
	for _, line := range e.events {
		text += "\n" + line
	}
	if len(e.lines) > 0 {
		text += "\nThe last that it has printed:\n" + strings.Join(e.lines, "\n")
	}
	return text
}

const noWaitOption = "no-wait"

func registerNoWait(flags *pflag.FlagSet, to *bool) {
	flags.BoolVar(to, noWaitOption, false, "do not look on for a second whether it goes on to run")
}

// A watcher gives commands that start unikernels, and watches whether these go on to run.
type watcher struct {
	daemon    *daemon
	out       *printer
	inventory inventory
}

// start gives a command that starts a unikernel, and watches for a moment.
func (w watcher) start(ctx context.Context, name messages.Name, noWait bool, give func() error) error {
	if noWait || w.daemon.socket == "-" || w.daemon.destination.csr {
		return give()
	}
	events := w.openEvents(ctx, name)
	if events == nil {
		if err := give(); err != nil {
			return err
		}
		return w.watch(ctx, name)
	}
	defer events.conn.Close()
	if err := give(); err != nil {
		return err
	}
	return events.watch(ctx)
}

// A followed unikernel is one whose events are read from before its start.
type followed struct {
	watcher watcher
	name    messages.Name
	conn    *client.Conn
	stream  *client.EventStream

	began   time.Time // its last start
	checked bool      // its health is
	sick    messages.Option[messages.Event]
	ended   messages.Option[messages.Event]
	later   []messages.Event // since that end
}

// openEvents subscribes to the events of a unikernel. It returns nil for a daemon that is not ours,
// and without a session for a remote one.
func (w watcher) openEvents(ctx context.Context, name messages.Name) *followed {
	conn, err := w.daemon.connectBeside(ctx, messages.AtControl)
	if err != nil {
		w.out.message(info, fmt.Sprintf("its events cannot be followed: %v", err))
		return nil
	}
	f := &followed{watcher: w, name: name, conn: conn}
	if f.stream, err = conn.Events(ctx, name, messages.Option[time.Time]{}); err == nil {
		err = f.awaitPresent(ctx)
	}
	if err != nil {
		w.out.message(info, fmt.Sprintf("its events cannot be followed: %v", err))
		conn.Close()
		return nil
	}
	return f
}

// awaitPresent waits until later events cannot be missed.
func (f *followed) awaitPresent(ctx context.Context) error {
	for {
		data, err := f.stream.Next(ctx)
		if _, present := data.(messages.DataPresent); err != nil || present {
			return err
		}
	}
}

// watch reads events until the time is over, or the unikernel has ended for good. Where its health is
// checked, it reads until that is known.
func (f *followed) watch(ctx context.Context) error {
	f.checked = f.isChecked(ctx)
	if !f.checked {
		within, cancel := context.WithTimeout(ctx, watchFor)
		defer cancel()
		f.follow(within)
		return f.judge(ctx)
	}
	until, stop := interruptible(ctx)
	defer stop()
	switch over := f.follow(until); {
	case over:
		return f.judge(ctx)
	case until.Err() != nil:
		return errInterrupted
	}
	return &client.Refusal{Name: f.name, Text: "whether it is healthy is not known, since the daemon says no more: 'wait --for=healthy' asks again"}
}

// follow reads events until nothing more follows, or no more can be read.
func (f *followed) follow(ctx context.Context) (over bool) {
	for {
		data, err := f.stream.Next(ctx)
		if err != nil {
			return false
		}
		if e, ok := data.(messages.DataEvent); ok && f.note(e.Event) {
			return true
		}
	}
}

// isChecked reports whether its health is checked, and not known yet.
func (f *followed) isChecked(ctx context.Context) bool {
	list, err := f.watcher.inventory.statuses(ctx, f.name)
	return err == nil && len(list) == 1 && list[0].Arguments.Health.OK && list[0].Health.State != messages.Healthy
}

// note reports whether nothing more follows. After an end comes its consequence, unless
// it is the end of the former: then comes the start of the successor.
func (f *followed) note(e messages.Event) (over bool) {
	switch {
	case f.ended.OK && e.Kind == messages.EventStarted && (!f.has(messages.EventRestarting) || f.refusesArguments()):
		f.began, f.ended, f.later = e.Time(), messages.Option[messages.Event]{}, nil
	case f.ended.OK:
		f.later = append(f.later, e)
		return e.Kind == messages.EventDestroyed || e.Kind == messages.EventStopped || e.Kind == messages.EventStarted
	case e.Kind == messages.EventStarted:
		f.began = e.Time()
	case e.Kind == messages.EventHealthy:
		return !f.began.IsZero()
	case e.Kind == messages.EventUnhealthy && !f.began.IsZero():
		f.sick = messages.Some(e)
		return true
	case e.Kind == messages.EventExited && !f.began.IsZero():
		f.ended = messages.Some(e)
	}
	return false
}

// refusesArguments reports whether it has ended like a unikernel that does not know its
// arguments: with its name among them, it is started once more without.
func (f *followed) refusesArguments() bool {
	exit := f.ended.Value.Exit.Value
	return exit.Known && exit.Signal == 0 && (exit.Code == 64 || exit.Code == 124)
}

func (f *followed) judge(ctx context.Context) error {
	again := f.has(messages.EventRestarting)
	switch {
	case f.sick.OK:
		return &endedError{
			name: f.name, what: "it was started, and runs, but is unhealthy",
			events: []string{eventLine(f.sick.Value)}, lines: f.watcher.lastLines(ctx, f.name, f.began, time.Time{}),
		}
	case f.checked && f.ended.OK && again: // its former, or itself
	case !f.ended.OK, f.ended.Value.Exit.Value == (messages.Exit{Known: true}), f.refusesArguments() && again:
		return nil
	case !again && !f.has(messages.EventDestroyed) && !f.has(messages.EventStopped): // it was replaced
		return nil
	}
	e := &endedError{name: f.name, what: endedAtOnce, events: []string{eventLine(f.ended.Value)}}
	if f.checked {
		e.what = "it was started, and has ended before it was healthy"
	}
	until := time.Time{}
	for _, event := range f.later {
		e.events = append(e.events, eventLine(event))
		if event.Kind == messages.EventStarted { // the following lines are those of another run
			until = event.Time()
		}
	}
	e.lines = f.watcher.lastLines(ctx, f.name, f.began, until)
	return e
}

// has reports whether an event of this kind has come since the end.
func (f *followed) has(kind messages.EventKind) bool {
	return slices.ContainsFunc(f.later, func(e messages.Event) bool { return e.Kind == kind })
}

// watch asks what runs, now and at the end of the time. The listing does not say how
// something has ended.
func (w watcher) watch(ctx context.Context, name messages.Name) error {
	if w.daemon.destination.made != nil { // it is for one command
		return nil
	}
	asked := time.Now()
	before, err := w.running(ctx, name)
	if err != nil {
		w.out.message(info, fmt.Sprintf("whether it goes on to run is not known: %v", err))
		return nil
	}
	if before == nil {
		return w.vanished(ctx, name, asked.Add(-watchFor), "")
	}
	select {
	case <-time.After(watchFor):
	case <-ctx.Done():
		return nil
	}
	after, err := w.running(ctx, name)
	switch {
	case err != nil:
		w.out.message(info, fmt.Sprintf("whether it goes on to run is not known: %v", err))
	case after == nil:
		return w.vanished(ctx, name, before.Started, "")
	case !sameBut(*before, *after):
		return w.vanished(ctx, name, before.Started, "What it had replaced runs again.")
	}
	return nil
}

// sameBut reports whether both are the same unikernel, although one may have been started
// later, such as without its name.
func sameBut(a, b messages.Info) bool {
	a.Started = b.Started
	return reflect.DeepEqual(a, b)
}

// running returns what runs under a name; nil: nothing.
func (w watcher) running(ctx context.Context, name messages.Name) (*messages.Info, error) {
	infos, err := as[messages.SuccessInfos](w.inventory.infos(ctx, name))
	if err != nil || len(infos.List) == 0 {
		return nil, err
	}
	return &infos.List[0].Info, nil
}

func (w watcher) vanished(ctx context.Context, name messages.Name, since time.Time, how string) error {
	e := &endedError{name: name, what: endedAtOnce, events: []string{"Whoever asks here is not told how."}}
	if how != "" {
		e.events = append(e.events, how)
	}
	e.lines = w.lastLines(ctx, name, since.Truncate(time.Second), time.Time{}) // older daemons have full seconds
	return e
}

// lastLines returns the last lines of a console between two times, as far as possible;
// without a second time, until now.
func (w watcher) lastLines(ctx context.Context, name messages.Name, since, until time.Time) (lines []string) {
	conn, err := w.openConsole(ctx, name, since)
	if err != nil {
		w.out.message(info, fmt.Sprintf("what it has printed cannot be had: %v", err))
		return nil
	}
	defer conn.Close()
	for {
		patient, cancel := context.WithTimeout(ctx, silence)
		line, err := conn.NextLine(patient)
		cancel()
		if err != nil || !until.IsZero() && !line.Time.Before(until) {
			return lines
		}
		lines = append(lines, escapeLine(line.Line))
		lines = lines[max(0, len(lines)-maxLastLines):]
	}
}

// openConsole subscribes to a console. Our daemon ends the stream after the existing
// lines, because we close our side of the connection.
func (w watcher) openConsole(ctx context.Context, name messages.Name, since time.Time) (*client.Conn, error) {
	subscribe := messages.ConsoleSubscribe{Since: messages.Some(since)}
	if w.daemon.destination.address != "" {
		conn, _, err := w.daemon.open(ctx, name, subscribe)
		if err == nil && !conn.OneCommand() {
			err = conn.CloseWrite()
		}
		return conn, err
	}
	conn, err := client.Dial(ctx, w.daemon.beside(messages.AtConsole))
	if err != nil {
		return nil, err
	}
	if _, err = conn.Ask(ctx, name, subscribe); err == nil {
		err = conn.CloseWrite()
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
