package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"albatross/actors"
	"albatross/actors/console"
	"albatross/actors/host"
	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/activation"
	"albatross/runtime/block"
	"albatross/runtime/cgroup"
	"albatross/runtime/fair"
	"albatross/runtime/guest"
	"albatross/runtime/history"
	"albatross/runtime/machine"
	"albatross/runtime/store"
	"albatross/runtime/tender"
	"albatross/sockets/gateway"
	"albatross/sockets/wire"
)

const (
	// stopTimeout bounds the stop of the daemon. What it has answered is on disk long
	// before.
	stopTimeout = 30 * time.Second
	// haltTimeout is what all unikernels may need in addition to their grace: mostly for
	// the kernel, which removes one tap after the other.
	haltTimeout = 20 * time.Second
)

// run runs the daemon until ctx is done.
func run(ctx context.Context, o options) (err error) {
	log, err := o.log.Logger("albatrossd")
	if err != nil {
		return err
	}
	started := endUntilStarted(ctx, log)
	defer started() // also if the start fails
	chaos, err := readChaos(o.chaos, log)
	if err != nil {
		return err
	}
	defer activation.OnHangup(log, chaos.reader())()
	if o.zvols != "" {
		log.Warn("--allow-zvol-for has no effect: block devices are files in the database directory, not volumes of ZFS", "path", o.zvols)
	}
	influx, err := newReporter(o, log)
	if err != nil {
		return err
	}
	memory, err := useMemory(log)
	if err != nil {
		return err
	}
	manager, err := activation.NewManager(log)
	if err != nil {
		return err
	}
	if err := makeDatabaseDir(o); err != nil {
		return err
	}
	if err := makeDirs(o, group()); err != nil {
		return err
	}
	activation.OnAbort(log, filepath.Join(o.tmpdir, "aborted.txt"))
	if err := shareDirs(o, group(), log); err != nil {
		return err
	}
	if err := checkRemains(o, log); err != nil {
		return err
	}
	db, err := store.Open(o.dbdir)
	if err != nil {
		return err
	}
	logDatabase(o, db, log)
	defer func() { err = errors.Join(err, db.Close()) }()
	claim, err := claimDir(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claim.close()) }()
	keeping, release, err := useKeeper(ctx, o, log)
	if err != nil {
		return err
	}
	defer release()
	config, guests, err := configure(o, db, log)
	if err != nil {
		return err
	}
	defer guests.Void.Close()
	guests.Keeping = keeping
	for _, a := range db.Aside {
		config.Meter.SetAside(a.Kind)
		guests.KeepImages = guests.KeepImages || a.Kind == store.Unikernels
	}
	prometheus, err := listenForPrometheus(o, log)
	if err != nil {
		return err
	}
	listeners, err := listen(o, memory, config.Meter, log)
	if err != nil {
		return err
	}
	logStart(o, guests, log)
	logSockets(listeners, log)
	if guests.Strangers, err = importBeside(o, db, guests, log); err != nil {
		return err
	}
	system := supervise.New(supervise.WallClock(), log)
	if chaos != nil {
		system.InjectFaults(chaos.faults)
		defer chaos.report()
	}
	a, err := actors.Start(system, config)
	if err != nil {
		return err
	}
	started()
	var attending sync.WaitGroup
	attending.Go(func() {
		manager.Attend(ctx, func(ctx context.Context) (string, error) { return status(ctx, a) })
	})
	attending.Go(func() { stayReachable(ctx, claim, listeners, log) })
	attending.Go(func() { influx.run(ctx) })
	attending.Go(func() { returnMemory(ctx) })
	attending.Go(func() { prometheus.serve(ctx, config.Meter, system, a) })
	serve(ctx, a, listeners, log)
	attending.Wait()
	err = stop(context.WithoutCancel(ctx), o, a, log.With("cause", context.Cause(ctx)))
	err = errors.Join(err, guests.Networks.Close())
	if guests.Cgroups != nil {
		err = errors.Join(err, guests.Cgroups.Close())
	}
	return err
}

// endUntilStarted ends the program at once when ctx is done, whatever it waits for, until
// started is called. Nothing was acknowledged before, and a kill could leave the same
// files.
func endUntilStarted(ctx context.Context, log *slog.Logger) (started func()) {
	keep := context.AfterFunc(ctx, func() {
		log.Info("Stopping before the start is complete", "cause", context.Cause(ctx))
		os.Exit(0)
	})
	return sync.OnceFunc(func() {
		if !keep() {
			select {} // until the program ends
		}
	})
}

// stop stops the actors, and before them the unikernels if requested.
func stop(ctx context.Context, o options, a *actors.Actors, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, o.grace+stopTimeout)
	defer cancel()
	if !o.stopUnikernels {
		log.Info("Stopping; the unikernels go on")
		return a.Stop(ctx)
	}
	log.Info("Stopping with all unikernels")
	halting, cancel := context.WithTimeout(ctx, o.grace+haltTimeout)
	defer cancel()
	return errors.Join(a.Halt(halting), a.Stop(ctx))
}

func utilDir(o options) string    { return filepath.Join(o.tmpdir, "util") }
func fifoDir(o options) string    { return filepath.Join(o.tmpdir, "fifo") }
func emptyDir(o options) string   { return filepath.Join(o.tmpdir, "empty") }
func blockDir(o options) string   { return filepath.Join(o.dbdir, "block") }
func historyDir(o options) string { return filepath.Join(o.dbdir, "console") }

func configure(o options, db *store.DB, log *slog.Logger) (*actors.Config, *guest.Machine, error) {
	images, err := store.OpenImages(o.dbdir)
	if err != nil {
		return nil, nil, err
	}
	blocks, err := block.Open(blockDir(o))
	if err != nil {
		return nil, nil, err
	}
	consoles, err := history.Open(historyDir(o), time.Now)
	if err != nil {
		return nil, nil, err
	}
	cgroups, err := openCgroups(o, log)
	if err != nil {
		return nil, nil, err
	}
	look := func() (messages.Policy, error) { return machine.RootPolicy(blockDir(o)) }
	policy, err := look()
	if err != nil {
		return nil, nil, err
	}
	allowed, err := tender.ParsePolicy(o.tender)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot use --tender: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot find albatross-tender: %w", err)
	}
	// It is installed beside this program.
	builtin := filepath.Join(filepath.Dir(self), "albatross-tender")
	if _, err := os.Stat(builtin); err != nil {
		return nil, nil, fmt.Errorf("cannot find albatross-tender, which has to be in the same directory as albatrossd: %w", err)
	}
	guests := &guest.Machine{
		Images:    images,
		Blocks:    blocks,
		Cgroups:   cgroups,
		Tenders:   &tender.Finder{Dir: o.dbdir, Path: os.Getenv("PATH"), Builtin: builtin, Policy: allowed},
		Launcher:  []string{builtin, "launch"},
		FIFODir:   fifoDir(o),
		FullNames: o.noDropPath,
	}
	if err := confinement(guests, o, log); err != nil {
		return nil, nil, err
	}
	networks, err := openNetworks(o, filepath.Dir(self), log)
	if err != nil {
		return nil, nil, err
	}
	guests.Networks = networks
	return &actors.Config{DB: db, Config: host.Config{
		Networks:       networks,
		History:        consoles,
		Console:        console.New,
		Machine:        guests,
		Blocks:         blocks,
		RootPolicy:     policy,
		Measure:        look,
		Watch:          machine.WatchAll,
		Grace:          o.grace,
		Trial:          host.Trial,
		Versions:       o.versions,
		MaxSubscribers: o.maxSubscribers,
		Meter:          meter.New(version),
		Work:           fair.New(2 * runtime.GOMAXPROCS(0)), // half of it waits for the disk
		StatsInterval:  o.interval,
	}}, guests, nil
}

// openCgroups returns the cgroups for unikernels, if this machine lets us have any.
func openCgroups(o options, log *slog.Logger) (*cgroup.Tree, error) {
	parent := o.cgroup
	if parent == "auto" {
		dir, err := filepath.Abs(o.dbdir)
		if err != nil {
			return nil, fmt.Errorf("cannot find the database directory: %w", err)
		}
		parent = "albatross" + strings.ReplaceAll(dir, "/", "-")
	}
	if parent == "" {
		return nil, nil
	}
	tree, err := cgroup.Open(parent)
	if machine.Passing(err) {
		return nil, fmt.Errorf("%w: try again, or do without by --cgroup=", err)
	}
	if err != nil {
		log.Warn("Unikernels are not limited by cgroups", "cause", err)
		return nil, nil
	}
	return tree, nil
}

// listen opens the sockets, except for those that systemd has opened for us.
func listen(o options, b budget, counts *meter.Meter, log *slog.Logger) (map[messages.Endpoint]*gateway.Listener, error) {
	memory := gateway.NewMemory(b.commands)
	sockets := map[messages.Endpoint]struct {
		codec gateway.Codec
		frame int
	}{
		messages.AtVMMD:    {gateway.Wire, b.frame},
		messages.AtConsole: {gateway.Wire, wire.MaxCommand},
		messages.AtStats:   {gateway.Wire, wire.MaxCommand},
		messages.AtControl: {gateway.Control, b.frame},
	}
	paths := map[string]string{}
	for endpoint := range sockets {
		paths[string(endpoint)] = filepath.Join(utilDir(o), string(endpoint)+".sock")
	}
	inherited, err := activation.Sockets(paths)
	if err != nil {
		return nil, err
	}
	if o.inherits && len(inherited) == 0 {
		return nil, errors.New("cannot use --systemd-socket-activation: systemd has not opened a socket for this program")
	}
	listeners := map[messages.Endpoint]*gateway.Listener{}
	for endpoint, socket := range sockets {
		limits := gateway.Limits{
			Conns: gateway.MaxConns, Frame: socket.frame, Memory: memory, Patience: gateway.Patience,
			Rejected: func() { counts.Rejected(string(endpoint)) },
		}
		if l, ok := inherited[string(endpoint)]; ok {
			listeners[endpoint] = gateway.Inherit(l, group(), socket.codec, limits, log)
			continue
		}
		l, err := gateway.Listen(paths[string(endpoint)], group(), socket.codec, limits, log)
		if err != nil {
			return nil, err
		}
		listeners[endpoint] = l
	}
	return listeners, nil
}

// group returns the group that may use the sockets; -1 if it does
// not exist or we may not give it files.
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
func serve(ctx context.Context, a *actors.Actors, listeners map[messages.Endpoint]*gateway.Listener, log *slog.Logger) {
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
