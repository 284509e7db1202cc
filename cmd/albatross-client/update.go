package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/sockets/builds"
	"albatross/sockets/client"
	"albatross/sockets/registry"
	"albatross/sockets/wire"
)

// defaultBuilds is native's default server.
const defaultBuilds = "https://builds.robur.coop"

// An updateOrder is what the options of update say.
type updateOrder struct {
	server   *url.URL
	patience time.Duration
	dryRun   bool
	noWait   bool
	level    messages.Option[int]
	options  unikernelOptions // those of a health check
	flags    *pflag.FlagSet
	web      registryOptions
	to       registry.Reference // the image to take; zero: the newest of what each is from
}

func updateCommand(d *daemon, out *printer, inv inventory, complete completer, creates creator, watch watcher) *cobra.Command {
	server, _ := builds.ParseBase(defaultBuilds)
	order := updateOrder{server: server, patience: builds.DefaultPatience}
	c := complete.aboutUnikernels(&cobra.Command{
		Use:   "update",
		Short: "Replace unikernels by the newest builds of their images",
		Long: `Replace unikernels by the newest builds of their images, or by the image of the REFERENCE, which is
oci://REGISTRY/REPOSITORY[:TAG|@DIGEST]. Without one, the tag of an image from a registry is looked
up again. For any other image, a server with builder-web finds the build that it is from, and the
newest one of the same job. A unikernel goes on with the same arguments, addresses, published ports
and health check, unless --health, --health-timeout or --no-health say another one. One that runs the
newest build goes on undisturbed.`,
		Example: "  albatross-client update hello --dry-run\n  albatross-client update site oci://localhost:5000/web:2\n" +
			"  albatross-client update web:site --http-host=https://builds.example.org",
	}, func(c *cobra.Command, name messages.Name) error {
		if d.destination.csr {
			return inputError("an update cannot be requested: whoever may ask what runs can give it")
		}
		return updater{d, out, inv, creates, watch}.update(c.Context(), name, order, c.Flags().Changed("http-host"))
	})
	replace := c.RunE
	c.Use += " [" + referenceArgument + "]"
	c.RunE = func(c *cobra.Command, args []string) error {
		names, err := order.take(args)
		if err != nil {
			return err
		}
		return replace(c, names)
	}
	flags := c.Flags()
	order.flags = flags
	order.options.registerHealth(flags)
	order.options.registerNoHealth(flags)
	flags.Var(one("URL", builds.ParseBase, &order.server), "http-host", "the server with the builds")
	flags.Var(one("DURATION", parsePatience, &order.patience), "timeout", "how long the server may be silent")
	flags.BoolVar(&order.dryRun, "dry-run", false, "only show what would be done")
	registerNoWait(flags, &order.noWait)
	order.web.register(flags)
	flags.Var(maybe("LEVEL", parseLevel, &order.level), "compression-level", "compress the image to send it, 0 (not) to 9 (most)"+levelDefault)
	return c
}

// take reads the reference at the end of the arguments, if there is one, and returns the others.
func (o *updateOrder) take(args []string) (names []string, err error) {
	last := len(args) - 1
	if !registry.IsReference(args[last]) {
		return args, nil
	}
	switch {
	case last == 0:
		return nil, usageError("a name is missing before the reference: which unikernel is to be replaced by its image?")
	case o.flags.Changed("http-host"):
		return nil, exclusive([]string{referenceArgument, "--http-host"})
	}
	o.to, err = parseArgument(referenceArgument, registry.ParseReference, args[last])
	return args[:last], err
}

func parsePatience(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("invalid value '%s', expected a duration such as 30s or 2m", escape(s))
	}
	return d, nil
}

// An updater replaces unikernels by newer images.
type updater struct {
	daemon    *daemon
	out       *printer
	inventory inventory
	creator   creator
	watcher   watcher
}

// update replaces a unikernel by a newer one. What is from a registry is looked for there, unless a
// server with builds was named.
func (u updater) update(ctx context.Context, name messages.Name, order updateOrder, named bool) error {
	asking, stop := interruptible(ctx)
	defer stop()
	runs, err := u.runningUnikernel(asking, name)
	if err != nil {
		return err
	}
	if order.to != (registry.Reference{}) {
		stop()
		return u.updateTo(ctx, runs, order)
	}
	if args := u.inventory.knownArguments(asking, runs); args.Origin.OK && !named {
		stop()
		return u.updateFromRegistry(ctx, runs, args, order)
	}
	server := builds.At(order.server, order.patience)
	defer server.Close()
	newest, err := u.newerBuild(asking, server, runs)
	if err != nil || newest == (builds.Build{}) || order.dryRun {
		return err
	}
	image, err := u.fetch(asking, server, newest)
	if err != nil {
		return err
	}
	stop()
	return u.replaceImage(ctx, runs, image, order)
}

// runningUnikernel returns what runs under a name.
func (u updater) runningUnikernel(ctx context.Context, name messages.Name) (messages.NamedInfo, error) {
	infos, err := as[messages.SuccessInfos](u.inventory.infos(ctx, name))
	switch {
	case err != nil:
		return messages.NamedInfo{}, err
	case name.IsPath() || len(infos.List) != 1:
		return messages.NamedInfo{}, &client.Refusal{Name: name, Text: "get: no unikernel found"}
	}
	return messages.NamedInfo{Name: name, Info: infos.List[0].Info}, nil
}

// newerBuild returns the newest build of what runs, and prints where to compare it with that; or
// none if that runs already.
func (u updater) newerBuild(ctx context.Context, server *builds.Server, runs messages.NamedInfo) (newest builds.Build, err error) {
	build, err := server.Of(ctx, runs.Info.Digest)
	if errors.Is(err, builds.ErrUnknown) {
		return newest, &unbuiltError{runs.Name, err}
	}
	if err != nil {
		return newest, err
	}
	newest, err = server.Latest(ctx, build.Job)
	if err != nil {
		return newest, err
	}
	if newest.ID == build.ID {
		return builds.Build{}, u.out.say(runs.Name, fmt.Sprintf("%s: already up to date (build %s of %s)", shortName(runs.Name), build.ID, build.Job))
	}
	return newest, u.out.say(runs.Name, fmt.Sprintf("%s: compare at %s", shortName(runs.Name), server.Comparison(build, newest)))
}

// fetch returns the image of a build.
func (u updater) fetch(ctx context.Context, server *builds.Server, build builds.Build) ([]byte, error) {
	done := func() {}
	defer func() { done() }()
	return server.Fetch(ctx, build, builds.MaxImage, func(size int64, r io.Reader) (counted io.Reader) {
		counted, done = u.out.progress("fetching", size, r)
		return counted
	})
}

// replaceImage replaces a unikernel by one with another image, and with the same arguments. What
// a native message has no word for, such as published ports, stays as it is.
func (u updater) replaceImage(ctx context.Context, runs messages.NamedInfo, image []byte, order updateOrder) error {
	if sum := sha256.Sum256(image); bytes.Equal(sum[:], runs.Info.Digest) {
		return u.out.say(runs.Name, shortName(runs.Name)+": already up to date (the newest build has the same image)")
	}
	config := configOf(runs, image)
	replaces := func(config messages.Config) error {
		return u.creator.sendCreate(ctx, runs.Name, wire.OldestCreate(config, true))
	}
	if givenHealth(order.flags) {
		args, err := u.argumentsOf(ctx, runs)
		if err != nil {
			return err
		}
		args.Origin = messages.Option[messages.Origin]{} // that was of the former image
		if err := order.options.setHealth(order.flags, &args); err != nil {
			return err
		}
		config.Arguments = args
		replaces = func(config messages.Config) error {
			return u.creator.deploy(ctx, runs.Name, wire.OldestCreate(config, true), "")
		}
	} else {
		config.AddName = u.inventory.addsName(ctx, runs.Name)
	}
	if err := usable(image, config.Arguments); err != nil {
		return fmt.Errorf("cannot update %s to the newest build: %w; it was left as it is", shortName(runs.Name), err)
	}
	config, err := packedConfig(config, u.daemon.compression(order.level))
	if err != nil {
		return err
	}
	return u.watcher.start(ctx, runs.Name, order.noWait, func() error { return replaces(config) })
}

// argumentsOf returns all arguments of a unikernel, also those that a native message has no word for.
func (u updater) argumentsOf(ctx context.Context, runs messages.NamedInfo) (messages.Arguments, error) {
	args, known, err := u.inventory.allArguments(ctx, runs.Name)
	if err == nil && !known {
		err = errOldDaemon
	}
	args.Argv = runs.Info.Argv
	return args, err
}
