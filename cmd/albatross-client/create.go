package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/runtime/compress"
	"albatross/runtime/image"
	"albatross/sockets/registry"
	"albatross/sockets/wire"
)

const imageArgument = "UNIKERNEL-IMAGE"

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

func (a *app) createCommand() *cobra.Command {
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
				return a.createFromRegistry(c, &o, name, args[1])
			}
			return a.createFromFile(c, &o, name, args[1])
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

// createFromFile creates a unikernel with the image in a file.
func (a *app) createFromFile(c *cobra.Command, o *creation, name messages.Name, path string) error {
	if o.target.OK {
		return usageError("option '--target': it is for an image in a registry")
	}
	arguments, err := a.arguments(&o.unikernelOptions, c.Flags(), defaults())
	if err != nil {
		return err
	}
	data, err := a.fileImage(o.typ, path, arguments)
	if err != nil {
		return err
	}
	return a.carry(c.Context(), o, name, arguments, source{File: path}, data)
}

// createFromRegistry creates a unikernel with an image in a registry.
func (a *app) createFromRegistry(c *cobra.Command, o *creation, name messages.Name, text string) error {
	r, err := parseArgument(imageArgument, registry.ParseReference, text)
	if err != nil {
		return err
	}
	return a.withImage(c.Context(), o.registries, r, o.target, func(f fetched) error {
		arguments, err := a.arguments(&o.unikernelOptions, c.Flags(), f.defaults())
		if err != nil {
			return err
		}
		if err := fits(f.image, arguments); err != nil {
			return err
		}
		arguments.Origin = f.origin()
		return a.carry(c.Context(), o, name, arguments, f.source(), f.data)
	})
}

// carry creates a unikernel with an image that was checked, or shows what it would create.
func (a *app) carry(ctx context.Context, o *creation, name messages.Name, args messages.Arguments, from source, image []byte) error {
	if o.dryRun {
		return a.printUnikernel(name, args, from)
	}
	config, err := packedConfig(messages.Config{Type: o.typ, Arguments: args, Image: image}, a.compression(o.level))
	if err != nil {
		return err
	}
	return a.start(ctx, name, o.noWait, func() error { return a.create(ctx, name, wire.OldestCreate(config, o.force)) })
}

// create sends an image, to our daemon in our protocol if it may be on a named network, if its health
// is checked, if it is from a registry, if what it replaces may have what native messages have no word
// for, or from afar, so that the daemon learns who asks.
func (a *app) create(ctx context.Context, name messages.Name, command messages.UnikernelCreate) error {
	switch args := command.Config.Arguments; {
	case a.destination.csr && needsControl(args):
		return inputError("--publish, --health, and addresses and rates of --net, are not possible with --csr: a certificate cannot say them")
	case !a.destination.csr && (command.Force || usesNetworks(args) || args.Health.OK || args.Origin.OK || a.destination.address != ""):
		return a.deploy(ctx, name, command, "")
	}
	return a.sendCreate(ctx, name, command)
}

// sendCreate sends an image in a native message. For a remote daemon it follows the command as
// a stream, and so may be larger than a certificate, which must contain it in a mere request.
func (a *app) sendCreate(ctx context.Context, name messages.Name, command messages.UnikernelCreate) error {
	if a.destination.address == "" {
		return a.ask(ctx, name, command)
	}
	image := command.Config.Image
	command.Config.Image = nil
	return a.upload(ctx, name, command, contentsOf(image), 0)
}

// mayRun refuses a name that no unikernel can have.
func mayRun(name messages.Name) error {
	if name.IsPath() {
		return usageError(nameArgument + " argument: a path, with ':' at its end, cannot be run; leave the ':' out")
	}
	return nil
}

// fileImage returns the image in a file, if the daemon gets it, after checking it.
func (a *app) fileImage(typ messages.Type, path string, args messages.Arguments) ([]byte, error) {
	if _, err := parseArgument(imageArgument, parseFile, path); err != nil {
		return nil, err
	}
	if typ == messages.BHyve {
		return nil, nil
	}
	if args.CPUs != 1 || args.LinuxBoot.OK {
		a.message(warning, "--cpus and --linux-boot have no effect with --typ=solo5")
	}
	return readImage(path, args)
}

// packedConfig returns a configuration as it is sent, with its image compressed unless the level is 0.
func packedConfig(config messages.Config, level int) (_ messages.Config, err error) {
	if level == 0 || len(config.Image) == 0 {
		return config, nil
	}
	config.Compressed = true
	config.Image, err = compressed(config.Image, level)
	return config, err
}

// compressed returns a zlib stream of an image.
func compressed(image []byte, level int) ([]byte, error) {
	stream, err := compress.Deflate(bytes.NewReader(image), level)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(stream)
}

func parseType(s string) (messages.Type, error) {
	for _, t := range []messages.Type{messages.Solo5, messages.BHyve} {
		if t.String() == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("invalid value '%s', expected solo5 or bhyve", escape(s))
}

// readImage reads an image and checks that it gets exactly the devices that it declares.
// The daemon checks that, too, but only after the whole upload.
func readImage(path string, args messages.Arguments) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	i, err := image.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, noUnikernel(path, err)
	}
	return data, fits(i, args)
}

// noUnikernel returns the error for an image that cannot be read.
func noUnikernel(from string, err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		err = cause
	}
	return inputError(fmt.Sprintf("cannot use %s: %s\n%s must be a unikernel that was built for Solo5, such as the .hvt or .spt file of a MirageOS build.",
		escape(from), escape(err.Error()), imageArgument))
}

// fits returns why an image cannot be started with arguments, and what to do.
func fits(i *image.Image, args messages.Arguments) error {
	if err := i.MatchDevices(blockNames(args.Blocks), networkNames(args.Networks)); err != nil {
		return inputError(escape(err.Error()) +
			"\nEach of them must be given, with --block NAME or --net NAME:BRIDGE, and no other.")
	}
	if err := i.CheckMemory(uint64(args.Memory) << 20); err != nil {
		return inputError(escape(err.Error()) + "\nGive it more with --mem.")
	}
	return nil
}

// unikernelOptions are the options of a unikernel's start.
type unikernelOptions struct {
	cpuids    []int
	cpus      int
	memory    int
	argv      []string
	blocks    []messages.BlockDevice
	networks  []messages.Network
	publish   []messages.Publication
	health    messages.Option[messages.HealthCheck]
	noHealth  bool
	within    time.Duration
	restart   bool
	codes     []int
	startup   messages.Option[int]
	noAddName bool
	linuxBoot messages.Option[string]
}

// defaultMemory is the default memory of a unikernel, in MB.
const defaultMemory = 32

func (u *unikernelOptions) register(flags *pflag.FlagSet) {
	u.memory, u.cpus = defaultMemory, 1
	flags.Var(many("CPU", parseNumber, &u.cpuids), "cpu", "the CPU to run on; repeat for several (default 0)")
	flags.Var(one("N", parsePositive, &u.cpus), "cpus", "how many virtual CPUs it has; unikernels of Solo5 have one")
	flags.VarP(one("SIZE", megabytes(parsePositive), &u.memory), "mem", "m", "memory in MB, or with a unit: 64M, 1G")
	flags.Var(many("ARG", parseText, &u.argv), "arg", "an argument to start it with; repeat for several")
	flags.Var(many("NAME[:DEVICE][@SIZE]", parseBlock, &u.blocks), "block",
		"attach a block device, under its NAME in the image's manifest, with sectors of SIZE bytes")
	flags.Var(many("NAME[:NETWORK][@MAC][,SETTING]", parseNetwork, &u.networks), "net",
		"attach a network device, under its NAME in the image's manifest, to a bridge or a named network; on that, address=auto or address=A.B.C.D gives it its address as arguments of MirageOS, and rate=SIZE bounds what it may send in a second")
	flags.BoolVar(&u.restart, "restart-on-fail", false, "start it again when it exits (also: --restart)")
	flags.Var(many("CODE", parseNumber, &u.codes), "exit-code",
		"with --restart-on-fail: only when it exits with this; repeat for several")
	flags.Var(maybe("N", parseNumber, &u.startup), "startup",
		fmt.Sprintf("when the daemon starts, start those with a low N first (default %d)", messages.DefaultStartup))
	flags.Var(maybe("PARTITION", parseText, &u.linuxBoot), "linux-boot", "the partition that a Linux is booted from, which daemons on FreeBSD can do")
	flags.BoolVar(&u.noAddName, "no-add-name", false, "do not add --name=NAME to the arguments")
	otherNames(flags, map[string]string{"restart": "restart-on-fail"})
}

// registerHealth registers the options of a health check.
func (u *unikernelOptions) registerHealth(flags *pflag.FlagSet) {
	flags.Var(maybe("CHECK", messages.ParseHealthCheck, &u.health), "health",
		"how to find out that it does what it is for: http://:PORT/PATH, tcp://:PORT, dns://:PORT/NAME, with its own port, or exit-free=10s; if it replaces another and is not healthy in time, that one is started again")
	flags.DurationVar(&u.within, "health-timeout", messages.DefaultHealthTime, "how long it may take from its start until it is healthy")
}

// The options of a health check.
const (
	healthOption   = "health"
	noHealthOption = "no-health"
	healthTime     = "health-timeout"
)

func isHealthOption(name string) bool {
	return name == healthOption || name == noHealthOption || name == healthTime
}

// givenHealth reports whether an option of a health check is given.
func givenHealth(flags *pflag.FlagSet) bool {
	return flags.Changed(healthOption) || flags.Changed(noHealthOption) || flags.Changed(healthTime)
}

// registerNoHealth registers the option that takes the health check of what exists away.
func (u *unikernelOptions) registerNoHealth(flags *pflag.FlagSet) {
	flags.BoolVar(&u.noHealth, noHealthOption, false, "do not check its health any more")
}

// setHealth replaces the health check by what options say, if they do.
func (u *unikernelOptions) setHealth(flags *pflag.FlagSet, args *messages.Arguments) error {
	switch {
	case u.noHealth && (flags.Changed(healthOption) || flags.Changed(healthTime)):
		return usageError("option '--no-health' excludes '--health' and '--health-timeout'")
	case u.noHealth:
		args.Health = messages.Option[messages.HealthCheck]{}
	case flags.Changed(healthOption):
		args.Health = u.health
	}
	return u.setHealthTime(flags, args)
}

// setHealthTime sets how long the check of the health may take.
func (u *unikernelOptions) setHealthTime(flags *pflag.FlagSet, args *messages.Arguments) error {
	switch {
	case !flags.Changed("health-timeout"):
		return nil
	case !args.Health.OK || args.Health.Value.Kind == messages.HealthRuns:
		return usageError("option '--health-timeout': it is for a --health that asks something")
	}
	args.Health.Value = args.Health.Value.Lasting(u.within)
	if err := args.Health.Value.Usable(); err != nil {
		return usageError("option '--health-timeout': " + err.Error())
	}
	return nil
}

// defaults returns the default arguments of a unikernel.
func defaults() messages.Arguments {
	return messages.Arguments{AddName: true, CPUIDs: []int{0}, Memory: defaultMemory, CPUs: 1}
}

// arguments returns args, with the given options replaced.
func (a *app) arguments(u *unikernelOptions, flags *pflag.FlagSet, args messages.Arguments) (messages.Arguments, error) {
	if err := distinct(u.blocks, u.networks); err != nil {
		return messages.Arguments{}, err
	}
	for name, change := range map[string]func(){
		"cpu":        func() { args.CPUIDs = u.cpuids },
		"cpus":       func() { args.CPUs = u.cpus },
		"mem":        func() { args.Memory = u.memory },
		"arg":        func() { args.Argv = messages.Some(u.argv) },
		"block":      func() { args.Blocks = u.blocks },
		"net":        func() { args.Networks = u.networks },
		"publish":    func() { args.Publish = u.publish },
		"startup":    func() { args.Startup = u.startup },
		"linux-boot": func() { args.LinuxBoot = u.linuxBoot },

		"no-add-name":     func() { args.AddName = !u.noAddName },
		"restart-on-fail": func() { args.Fail.Restart = u.restart },
		"exit-code":       func() { args.Fail.Codes = u.codes },
	} {
		if flags.Changed(name) {
			change()
		}
	}
	if err := u.setHealth(flags, &args); err != nil {
		return messages.Arguments{}, err
	}
	if !args.Fail.Restart {
		args.Fail.Codes = nil
		if flags.Changed("exit-code") {
			a.message(warning, "--exit-code has no effect without --restart-on-fail")
		}
	}
	return args, nil
}
