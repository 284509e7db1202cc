package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/registry"
	"albatross/sockets/wire"
)

// A creation is what the options of create say.
type creation struct {
	unikernelOptions
	typ    messages.Type
	force  bool
	noWait bool
	dryRun bool
	level  messages.Option[int]
	// These are for images in a registry.
	target     messages.Option[string]
	registries registryOptions
}

func createCommand(d *daemon, out *printer, creates creator, watch watcher) *cobra.Command {
	var o creation
	c := &cobra.Command{
		Use:   "create " + nameArgument + " " + imageArgument,
		Short: "Create a unikernel and start it",
		Long: `Create a unikernel and start it. Its image is a file, or one in a registry,
oci://REGISTRY/REPOSITORY[:TAG|@DIGEST], where memory and arguments may be kept with it that it gets
if none are given here. A tag is looked up once: what it leads to then is what runs.`,
		Example: `  albatross-client create hello hello.spt --arg=world
  albatross-client create web website.hvt --mem=64 --net=service:br0 --block=storage:data --restart-on-fail
  albatross-client create web web.spt --force --net=service --publish=8080:80 --health=http://:80/
  albatross-client create site oci://localhost:5000/web:1 --net=service`,
		Args: positional(nameArgument, imageArgument),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(nameArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			if err := mayRun(name); err != nil {
				return err
			}
			if registry.IsReference(args[1]) && o.typ == messages.Solo5 {
				return starter{d, out, creates, watch}.createFromRegistry(c, &o, name, args[1])
			}
			return starter{d, out, creates, watch}.createFromFile(c, &o, name, args[1])
		},
	}
	o.register(c.Flags())
	o.registerHealth(c.Flags())
	c.Flags().VarP(many("[ADDRESS:]PORT:PORT[/udp]", messages.ParsePublication, &o.publish), "publish", "p",
		"a port of the host that leads to a port of the unikernel, on its first network, which must be a named one; repeat for several")
	c.Flags().Var(one("TYPE", parseType, &o.typ), "typ", "solo5; or bhyve, which daemons on FreeBSD can run, and whose image is not sent")
	registerNoWait(c.Flags(), &o.noWait)
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "create nothing, and write what would be as a file for 'apply'")
	c.Flags().BoolVarP(&o.force, "force", "f", false, "replace the unikernel of that name, if there is one")
	c.Flags().Var(maybe("LEVEL", parseLevel, &o.level), "compression-level", "compress the image to send it, 0 (not) to 9 (most)"+levelDefault)
	c.Flags().Var(maybe("TARGET", parseTarget, &o.target), "target", "of an image in a registry: spt or hvt (default the first of them that there is, and that can run)")
	o.registries.register(c.Flags())
	return c
}

// A starter creates unikernels as the options of create say.
type starter struct {
	daemon  *daemon
	out     *printer
	creator creator
	watcher watcher
}

// createFromFile creates a unikernel with the image in a file.
func (s starter) createFromFile(c *cobra.Command, o *creation, name messages.Name, path string) error {
	if o.target.OK {
		return usageError("option '--target': it is for an image in a registry")
	}
	arguments, err := o.arguments(s.out, c.Flags(), defaults())
	if err != nil {
		return err
	}
	data, err := fileImage(s.out, o.typ, path, arguments)
	if err != nil {
		return err
	}
	return s.carry(c.Context(), o, name, arguments, source{File: path}, data)
}

// createFromRegistry creates a unikernel with an image in a registry.
func (s starter) createFromRegistry(c *cobra.Command, o *creation, name messages.Name, text string) error {
	r, err := parseArgument(imageArgument, registry.ParseReference, text)
	if err != nil {
		return err
	}
	return withImage(c.Context(), s.out, o.registries, r, o.target, func(f fetched) error {
		arguments, err := o.arguments(s.out, c.Flags(), f.defaults())
		if err != nil {
			return err
		}
		if err := fits(f.image, arguments); err != nil {
			return err
		}
		arguments.Origin = f.origin()
		return s.carry(c.Context(), o, name, arguments, f.source(), f.data)
	})
}

// carry creates a unikernel with an image that was checked, or shows what it would create.
func (s starter) carry(ctx context.Context, o *creation, name messages.Name, args messages.Arguments, from source, image []byte) error {
	if o.dryRun {
		return printUnikernel(s.out, name, args, from)
	}
	config, err := packedConfig(messages.Config{Type: o.typ, Arguments: args, Image: image}, s.daemon.compression(o.level))
	if err != nil {
		return err
	}
	return s.watcher.start(ctx, name, o.noWait, func() error { return s.creator.create(ctx, name, wire.OldestCreate(config, o.force)) })
}

// mayRun refuses a name that no unikernel can have.
func mayRun(name messages.Name) error {
	if name.IsPath() {
		return usageError(nameArgument + " argument: a path, with ':' at its end, cannot be run; leave the ':' out")
	}
	return nil
}

// fileImage returns the image in a file, if the daemon gets it, after checking it.
func fileImage(out *printer, typ messages.Type, path string, args messages.Arguments) ([]byte, error) {
	if _, err := parseArgument(imageArgument, parseFile, path); err != nil {
		return nil, err
	}
	if typ == messages.BHyve {
		return nil, nil
	}
	if args.CPUs != 1 || args.LinuxBoot.OK {
		out.message(warning, "--cpus and --linux-boot have no effect with --typ=solo5")
	}
	return readImage(path, args)
}

func parseType(s string) (messages.Type, error) {
	for _, t := range []messages.Type{messages.Solo5, messages.BHyve} {
		if t.String() == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("invalid value '%s', expected solo5 or bhyve", escape(s))
}

// printUnikernel writes a unikernel as a manifest.
func printUnikernel(out *printer, name messages.Name, args messages.Arguments, from source) error {
	if err := from.find(); err != nil {
		return err
	}
	m := manifest{Unikernels: []unikernelEntry{unikernelOf(name, args, from)}}
	text, err := m.text()
	if err != nil {
		return err
	}
	return out.print(text)
}
