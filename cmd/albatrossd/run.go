package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"albatross/actors"
	"albatross/actors/supervise"
	"albatross/runtime/block"
	"albatross/runtime/cgroup"
	"albatross/runtime/machine"
	"albatross/runtime/store"
	"albatross/runtime/tender"
	"albatross/sockets/events"
	"albatross/sockets/gateway"
	"albatross/sockets/wire"
)

const (
	// commandMemory is what commands that are under way may take together: an
	// image is in memory until it has been written to the image store.
	commandMemory = 1 << 30
	// stopTimeout is how long the daemon takes to stop at most. What it has
	// answered is on disk long before.
	stopTimeout = 30 * time.Second
)

// run is the daemon, until ctx is done.
func run(ctx context.Context, o options) (err error) {
	log := logger(o)
	if err := makeDirs(o); err != nil {
		return err
	}
	db, err := store.Open(o.dbdir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	config, err := configure(o, db, log)
	if err != nil {
		return err
	}
	listeners, err := listen(o, log)
	if err != nil {
		return err
	}
	a, err := actors.Start(supervise.New(supervise.WallClock(), log), config)
	if err != nil {
		return err
	}
	serve(ctx, a, listeners, log)
	log.Info("Stopping; the unikernels go on")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return a.Stop(stopping)
}

func logger(o options) *slog.Logger {
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

func utilDir(o options) string  { return filepath.Join(o.tmpdir, "util") }
func fifoDir(o options) string  { return filepath.Join(o.tmpdir, "fifo") }
func blockDir(o options) string { return filepath.Join(o.dbdir, "block") }

// makeDirs makes the directories that are not there. Whether they are ours
// alone is for whoever has made them before us.
func makeDirs(o options) error {
	for _, dir := range []string{utilDir(o), fifoDir(o)} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("cannot create directory: %w (albatrossd runs as root, or with --tmpdir and --dbdir that you may write to)", err)
		}
	}
	return nil
}

func configure(o options, db *store.DB, log *slog.Logger) (*actors.Config, error) {
	images, err := store.OpenImages(o.dbdir)
	if err != nil {
		return nil, err
	}
	blocks, err := block.Open(blockDir(o))
	if err != nil {
		return nil, err
	}
	policy, err := machine.RootPolicy(blockDir(o))
	if err != nil {
		return nil, err
	}
	allowed, err := tender.ParsePolicy(o.tender)
	if err != nil {
		return nil, fmt.Errorf("cannot use --tender: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find albatross-tender: %w", err)
	}
	// It is installed beside this program.
	builtin := filepath.Join(filepath.Dir(self), "albatross-tender")
	if _, err := os.Stat(builtin); err != nil {
		return nil, fmt.Errorf("cannot find albatross-tender, which has to be in the same directory as albatrossd: %w", err)
	}
	return &actors.Config{
		DB:             db,
		Images:         images,
		Blocks:         blocks,
		Cgroups:        cgroups(o, log),
		Tenders:        &tender.Finder{Dir: o.dbdir, Path: os.Getenv("PATH"), Builtin: builtin, Policy: allowed},
		Launcher:       []string{builtin, "launch"},
		FIFODir:        fifoDir(o),
		GID:            group(),
		RootPolicy:     policy,
		Grace:          o.grace,
		MaxSubscribers: o.maxSubscribers,
	}, nil
}

// cgroups are those of unikernels, where this machine lets us have any.
func cgroups(o options, log *slog.Logger) *cgroup.Tree {
	if o.cgroup == "" {
		return nil
	}
	tree, err := cgroup.Open(o.cgroup)
	if err != nil {
		log.Warn("Unikernels are not limited by cgroups", "cause", err)
		return nil
	}
	return tree
}

// listen makes the sockets.
func listen(o options, log *slog.Logger) (map[actors.Endpoint]*gateway.Listener, error) {
	memory := gateway.NewMemory(commandMemory)
	sockets := map[actors.Endpoint]struct {
		codec gateway.Codec
		frame int
	}{
		actors.VMMD:    {gateway.Wire, wire.MaxFrame},
		actors.Console: {gateway.Wire, wire.MaxCommand},
		actors.Stats:   {gateway.Wire, wire.MaxCommand},
		actors.Events:  {gateway.Events, events.MaxItem},
	}
	listeners := map[actors.Endpoint]*gateway.Listener{}
	for endpoint, socket := range sockets {
		path := filepath.Join(utilDir(o), string(endpoint)+".sock")
		limits := gateway.Limits{Conns: gateway.MaxConns, Frame: socket.frame, Memory: memory, Patience: gateway.Patience}
		l, err := gateway.Listen(path, group(), socket.codec, limits, log)
		if err != nil {
			return nil, err
		}
		listeners[endpoint] = l
	}
	return listeners, nil
}

// group is the group of those who may use the sockets and read the consoles, or
// -1 where there is none or we may not give them files.
func group() int {
	g, err := user.LookupGroup("albatross")
	if err != nil || os.Geteuid() != 0 {
		return -1
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return gid
}

// serve answers clients until ctx is done.
func serve(ctx context.Context, a *actors.Actors, listeners map[actors.Endpoint]*gateway.Listener, log *slog.Logger) {
	var serving sync.WaitGroup
	for endpoint, l := range listeners {
		serving.Go(func() {
			l.Serve(ctx, func(c *gateway.Conn) {
				if err := a.Serve(ctx, endpoint, c); err != nil {
					log.Error("Cannot serve a client", "error", err)
				}
			})
		})
	}
	serving.Wait()
}
