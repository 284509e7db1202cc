package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

func (a *app) restartCommand() *cobra.Command {
	var (
		u       unikernelOptions
		replace bool
		noWait  bool
	)
	c := a.aboutUnikernels(&cobra.Command{
		Use:   "restart",
		Short: "Stop unikernels and start them again, with the same images",
		Long: `Stop unikernels and start them again, one after the other, with the same images and the same
arguments; with --replace-arguments, with those that are given here instead of their own:
what is not given stays as it is. One that is stopped is started.

--health, --health-timeout and --no-health change how its health is checked in any case.`,
		Example: "  albatross-client restart web:site --replace-arguments --mem=128\n  albatross-client restart web:site --health=http://:80/",
	}, func(c *cobra.Command, name messages.Name) error {
		return a.start(c.Context(), name, noWait, func() error { return a.restart(c, name, &u, replace) })
	})
	u.register(c.Flags())
	u.registerHealth(c.Flags())
	u.registerNoHealth(c.Flags())
	registerNoWait(c.Flags(), &noWait)
	c.Flags().BoolVar(&replace, "replace-arguments", false, "start it with the arguments that are given here instead of its own")
	return c
}

// restart restarts a unikernel, with the arguments that the options say. Our daemon gets all of them;
// another one those that it knows.
func (a *app) restart(c *cobra.Command, name messages.Name, u *unikernelOptions, replace bool) error {
	ctx := c.Context()
	changesHealth := givenHealth(c.Flags())
	if !replace && anyGiven(c.LocalNonPersistentFlags()) {
		a.message(warning, "without --replace-arguments it is started as it was before: the other options have no effect")
	}
	if !replace && !changesHealth {
		return a.ask(ctx, name, wire.OldestRestart(messages.Option[messages.Arguments]{}))
	}
	if a.destination.csr || a.socket != "" {
		return a.restartNatively(c, name, u)
	}
	args, known, err := a.allArguments(ctx, name)
	switch {
	case err != nil:
		return err
	case !known && changesHealth:
		return errOldDaemon
	case !known:
		return a.restartNatively(c, name, u)
	}
	if args, err = a.rearranged(u, c.Flags(), args, replace); err != nil {
		return err
	}
	return a.onControl(ctx, name.String(), messages.RestartDeploy{
		Restart: wire.OldestRestart(messages.Some(args)), KeepArgv: !(replace && c.Flags().Changed("arg")),
	}, "created unikernel")
}

// restartNatively restarts a unikernel by a native message.
func (a *app) restartNatively(c *cobra.Command, name messages.Name, u *unikernelOptions) error {
	args, err := a.argumentsOf(c.Context(), name, c.Flags().Changed("no-add-name"))
	if err != nil {
		return err
	}
	if args, err = a.arguments(u, c.Flags(), args); err != nil {
		return err
	}
	if givenHealth(c.Flags()) || needsControl(args) {
		return inputError("a restart leaves the health check, and addresses and rates of --net, as they are with --csr, --socket and daemons that are native: use 'create --force'")
	}
	return a.ask(c.Context(), name, wire.OldestRestart(messages.Some(args)))
}

func anyGiven(flags *pflag.FlagSet) (given bool) {
	flags.VisitAll(func(f *pflag.Flag) { given = given || f.Changed && f.Name != noWaitOption && !isHealthOption(f.Name) })
	return given
}

// errOldDaemon is about a change of the health check by a daemon that cannot be asked for arguments.
const errOldDaemon = inputError("this daemon does not tell the arguments of its unikernels, and so their health checks cannot be changed: use 'create --force'")

// allArguments returns all arguments of a unikernel, except what it is started with, whether it runs or
// not. A daemon that is not ours, or behind an endpoint without sessions, does not know them.
func (a *app) allArguments(ctx context.Context, name messages.Name) (args messages.Arguments, known bool, err error) {
	list, known, err := a.knownStatuses(ctx, name)
	switch {
	case err != nil || !known:
		return args, known, err
	case name.IsPath() || len(list) != 1 || list[0].State == messages.StateEnded:
		return args, true, &client.Refusal{Name: name, Text: "destroy: not found"} // in the daemon's words
	}
	settings, err := a.settings(ctx, name)
	if err != nil || len(settings) != 1 {
		return args, true, err
	}
	args = list[0].Arguments
	args.CPUs = 1
	for _, b := range list[0].Blocks {
		args.Blocks = append(args.Blocks, messages.BlockDevice{
			Name: b.Name, Device: unless(b.Name, b.HostDevice()), SectorSize: unless(messages.BlockInfo{}.SectorBytes(), b.SectorBytes()),
		})
	}
	for i, n := range args.Networks {
		args.Networks[i] = messages.Network{
			Name: n.Name, Bridge: unless(n.Name, n.OnBridge()), MAC: unless(messages.Network{Name: n.Name}.Address(name), n.Address(name)),
		}
	}
	addSettings(&args, settings[0])
	return args, true, nil
}

// rearranged returns arguments with the given options replaced; those that are about health in any case.
func (a *app) rearranged(u *unikernelOptions, flags *pflag.FlagSet, args messages.Arguments, replace bool) (messages.Arguments, error) {
	if replace {
		return a.arguments(u, flags, args)
	}
	err := u.setHealth(flags, &args)
	return args, err
}

// argumentsOf returns the arguments of a running unikernel, as far as they matter: with
// named, it need not ask whether its name is added. If no daemon is asked, it returns the
// defaults.
func (a *app) argumentsOf(ctx context.Context, name messages.Name, named bool) (messages.Arguments, error) {
	if a.destination.csr || a.socket == "-" {
		a.message(warning, "nobody is asked what runs: what is not given is as for 'create'")
		return defaults(), nil
	}
	infos, err := as[messages.SuccessInfos](a.infos(ctx, name))
	switch {
	case err != nil:
		return messages.Arguments{}, err
	case name.IsPath() || len(infos.List) != 1:
		return messages.Arguments{}, &client.Refusal{Name: name, Text: "destroy: not found"} // in the daemon's words
	}
	args := configOf(infos.List[0], nil).Arguments
	if !named {
		args.AddName = a.addsName(ctx, name)
	}
	return args, nil
}

// addsName reports whether the name of a unikernel is added to its arguments.
func (a *app) addsName(ctx context.Context, name messages.Name) bool {
	known, err := a.settings(ctx, name)
	if err != nil {
		a.message(warning, "the daemon does not tell whether it was created with --no-add-name: if it was, give that again")
		return true
	}
	return len(known) != 1 || known[0].AddName
}

// settings returns the settings of unikernels that an info lacks. Native daemons cannot
// be asked, and remote ones in a session only.
func (a *app) settings(ctx context.Context, name messages.Name) ([]messages.NamedSettings, error) {
	conn, err := a.connectBeside(ctx, messages.AtControl)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Settings(ctx, name)
}
