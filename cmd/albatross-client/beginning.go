package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"albatross/messages"
)

const (
	// keptLines is how many lines of a console a daemon keeps.
	keptLines = 1024
	// historyPause is how long no line must follow history before we take it to be
	// complete: no daemon marks its end.
	historyPause = 300 * time.Millisecond
)

// A beginning prints all lines since the start of a run, and the last few before, where
// the former run has said why it ended.
type beginning struct {
	start time.Time // zero: print all lines
	few   int
	print func(messages.DataConsole) error

	mu     sync.Mutex
	held   []messages.DataConsole // the last of those before the start
	begun  bool                   // the held lines were printed
	failed error                  // printing them failed
	pause  *time.Timer            // nil: none is held yet
}

// add prints a line, or holds it while more history may follow.
func (b *beginning) add(line messages.DataConsole) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.begun && line.Time.Before(b.start) {
		b.hold(line)
		return nil
	}
	if b.begin(); b.failed != nil {
		return b.failed
	}
	return b.print(line)
}

func (b *beginning) hold(line messages.DataConsole) {
	b.held = append(b.held, line)
	b.held = b.held[max(0, len(b.held)-b.few):]
	if b.pause == nil {
		b.pause = time.AfterFunc(historyPause, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.begin()
		})
		return
	}
	b.pause.Reset(historyPause)
}

// begin prints what is held, once.
func (b *beginning) begin() {
	b.begun = true
	for _, line := range b.held {
		b.failed = errors.Join(b.failed, b.print(line))
	}
	b.held = nil
}

// end prints what is held when no more lines follow.
func (b *beginning) end() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause != nil {
		b.pause.Stop()
	}
	b.begin()
	return b.failed
}

// started returns the start of the current run, or of the last one, if it is known.
func (cs consoles) started(ctx context.Context, name messages.Name) (start time.Time, ok bool) {
	if cs.daemon.socket != "" || cs.daemon.destination.csr || name.IsPath() {
		return start, false
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	_, answer, err := cs.inventory.infos(ctx, name)
	infos, _ := answer.(messages.SuccessInfos)
	switch {
	case err != nil:
		return start, false
	case len(infos.List) == 1:
		return infos.List[0].Info.Started, true
	}
	return cs.lastStarted(ctx, name)
}

// lastStarted returns the start of the last run of a unikernel that does not run.
func (cs consoles) lastStarted(ctx context.Context, name messages.Name) (start time.Time, ok bool) {
	conn, err := cs.daemon.connectSocket(ctx, messages.AtControl)
	if err != nil { // a native daemon has no such socket
		return start, false
	}
	defer conn.Close()
	stream, err := conn.Events(ctx, name, messages.Some(time.Unix(0, 0).UTC()))
	for err == nil {
		var next messages.Data
		next, err = stream.Next(ctx)
		switch d := next.(type) {
		case messages.DataEvent:
			if d.Event.Kind == messages.EventStarted {
				start, ok = d.Event.Time(), true
			}
		case messages.DataPresent:
			return start, ok
		}
	}
	return time.Time{}, false
}

// startTimeout bounds the wait for the start of a run before its console is shown.
const startTimeout = 5 * time.Second
