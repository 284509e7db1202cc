package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fair"
	"albatross/runtime/guest"
	"albatross/runtime/history"
	"albatross/runtime/store"
)

// A Config is what the actors need of the machine. It is not changed once it is
// in use.
type Config struct {
	DB         *store.DB
	History    *history.Dir
	Machine    *guest.Machine                  // where unikernels run
	RootPolicy messages.Policy                 // what the machine has at the start
	Look       func() (messages.Policy, error) // what it has now
	Meter      *meter.Meter
	Work       *fair.Workers // long work with images

	Grace          time.Duration // between SIGTERM and SIGKILL
	Trial          time.Duration // of what replaces something; see Trial
	MaxSubscribers int           // of one console
	StatsInterval  time.Duration // between statistics
}

// Trial is how long a unikernel that has replaced another one has to run. What it
// has replaced comes back where it cannot be started, or where its tender refuses
// by then what could not be checked before.
const Trial = time.Second

// Actors are the running actors.
type Actors struct {
	system *supervise.System
	events *supervise.Ref
	meter  *meter.Meter
	store  *supervise.Ref
	host   *supervise.Ref
}

// Start starts the host, which takes over all that is on record.
func Start(system *supervise.System, config *Config) (*Actors, error) {
	a := &Actors{system: system, meter: config.Meter}
	var err error
	a.events, err = system.Spawn("events", func() supervise.Actor { return &events{db: config.DB} }, supervise.Restart)
	if err != nil {
		return nil, err
	}
	events := a.events.PID()
	a.store, err = system.Spawn("store", func() supervise.Actor { return &storeActor{db: config.DB, meter: config.Meter, events: events} }, supervise.Restart)
	if err != nil {
		return nil, err
	}
	store, began := a.store.PID(), messages.DaemonStarted
	a.host, err = system.Spawn("host", func() supervise.Actor {
		h := &host{config: config, machine: config.Machine, store: store, began: began}
		began = messages.DaemonRecovers
		return h
	}, supervise.Restart)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// sessionEnd is how long a session may take to end: it has nothing to wait for.
const sessionEnd = 10 * time.Second

// Serve answers the commands of one client, until that leaves or ctx is done.
func (a *Actors) Serve(ctx context.Context, endpoint messages.Endpoint, client Client) error {
	host, events := a.host.PID(), a.events.PID()
	s, err := a.system.Spawn("session", func() supervise.Actor {
		if endpoint == messages.AtStats {
			return &statsSession{client: client, host: host, meter: a.meter}
		}
		return &session{endpoint: endpoint, client: client, host: host, events: events, meter: a.meter}
	}, supervise.Stop)
	if err != nil {
		return errors.Join(err, client.Close())
	}
	if s.Wait(ctx) == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sessionEnd)
	defer cancel()
	return s.Stop(ctx)
}

// Halt stops all unikernels, which stay on record: the next daemon starts them.
// Commands are refused from here on.
func (a *Actors) Halt(ctx context.Context) error {
	host := a.host.PID()
	s, err := a.system.Spawn("halter", func() supervise.Actor { return &halter{host: host} }, supervise.Restart)
	if err != nil {
		return err
	}
	if err := s.Wait(ctx); err != nil {
		return fmt.Errorf("cannot stop all unikernels: %w", err)
	}
	return nil
}

// Stop stops the actors, the ones that others depend on last. Unikernels go on.
func (a *Actors) Stop(ctx context.Context) error {
	return errors.Join(a.host.Stop(ctx), a.flush(ctx), a.store.Stop(ctx), a.events.Stop(ctx), a.system.Shutdown(ctx))
}

// flush waits until all is on disk, also what nobody waits for.
func (a *Actors) flush(ctx context.Context) error {
	store := a.store.PID()
	f, err := a.system.Spawn("flusher", func() supervise.Actor { return &flusher{store: store} }, supervise.Stop)
	if err != nil {
		return err
	}
	return f.Wait(ctx)
}
