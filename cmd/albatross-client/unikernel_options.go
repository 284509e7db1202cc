package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"albatross/messages"
)

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

// The options of a health check.
const (
	healthOption   = "health"
	noHealthOption = "no-health"
	healthTime     = "health-timeout"
)

// registerHealth registers the options of a health check.
func (u *unikernelOptions) registerHealth(flags *pflag.FlagSet) {
	flags.Var(maybe("CHECK", messages.ParseHealthCheck, &u.health), "health",
		"how to find out that it does what it is for: http://:PORT/PATH, tcp://:PORT, dns://:PORT/NAME, with its own port, or exit-free=10s; if it replaces another and is not healthy in time, that one is started again")
	flags.DurationVar(&u.within, "health-timeout", messages.DefaultHealthTime, "how long it may take from its start until it is healthy")
}

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
func (u *unikernelOptions) arguments(out *printer, flags *pflag.FlagSet, args messages.Arguments) (messages.Arguments, error) {
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
			out.message(warning, "--exit-code has no effect without --restart-on-fail")
		}
	}
	return args, nil
}
