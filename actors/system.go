package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"albatross/actors/events"
	"albatross/actors/host"
	"albatross/actors/meter"
	"albatross/actors/session"
	"albatross/actors/store"
	"albatross/actors/supervise"
	"albatross/messages"
	storage "albatross/runtime/store"
)

// A Config is what the actors are made with. It does not change once it is in use.
type Config struct {
	DB *storage.DB
	host.Config
}

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
	a.events, err = system.Spawn("events", events.New(config.DB), supervise.Restart)
	if err != nil {
		return nil, err
	}
	a.store, err = system.Spawn("store", store.New(config.DB, config.Meter, a.events.PID()), supervise.Restart)
	if err != nil {
		return nil, err
	}
	a.host, err = system.Spawn("host", host.New(&config.Config, a.store.PID()), supervise.Restart)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// sessionEnd bounds the end of a session, which waits for nothing.
const sessionEnd = 10 * time.Second

// Serve answers the commands of one client, until it leaves or ctx is done.
func (a *Actors) Serve(ctx context.Context, endpoint messages.Endpoint, client session.Client) error {
	host, events := a.host.PID(), a.events.PID()
	s, err := a.system.Spawn("session", func() supervise.Actor {
		return session.New(endpoint, client, host, events, a.meter)
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

// Halt stops all unikernels, which stay on record: the next daemon starts them. The host
// refuses commands from then on.
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

// Stop stops the actors; those on which others depend come last. Unikernels go on.
func (a *Actors) Stop(ctx context.Context) error {
	return errors.Join(a.host.Stop(ctx), a.flush(ctx), a.store.Stop(ctx), a.events.Stop(ctx), a.system.Shutdown(ctx))
}

// flush waits until all is on disk, also writes that no actor waits for.
func (a *Actors) flush(ctx context.Context) error {
	store := a.store.PID()
	f, err := a.system.Spawn("flusher", func() supervise.Actor { return &flusher{store: store} }, supervise.Stop)
	if err != nil {
		return err
	}
	return f.Wait(ctx)
}
