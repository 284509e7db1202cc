package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

func restartCommand(d *daemon, out *printer, inv inventory, complete completer, watch watcher) *cobra.Command {
	var (
		u       unikernelOptions
		replace bool
		noWait  bool
	)
	c := complete.aboutUnikernels(&cobra.Command{
		Use:   "restart",
		Short: "Stop unikernels and start them again, with the same images",
		Long: `Stop unikernels and start them again, one after the other, with the same images and the same
arguments; with --replace-arguments, with those that are given here instead of their own:
what is not given stays as it is. One that is stopped is started.

--health, --health-timeout and --no-health change how its health is checked in any case.`,
		Example: "  albatross-client restart web:site --replace-arguments --mem=128\n  albatross-client restart web:site --health=http://:80/",
	}, func(c *cobra.Command, name messages.Name) error {
		return watch.start(c.Context(), name, noWait, func() error { return restarter{d, out, inv}.restart(c, name, &u, replace) })
	})
	u.register(c.Flags())
	u.registerHealth(c.Flags())
	u.registerNoHealth(c.Flags())
	registerNoWait(c.Flags(), &noWait)
	c.Flags().BoolVar(&replace, "replace-arguments", false, "start it with the arguments that are given here instead of its own")
	return c
}

// A restarter restarts unikernels, with arguments that it asks for where that is necessary.
type restarter struct {
	daemon    *daemon
	out       *printer
	inventory inventory
}

// restart restarts a unikernel, with the arguments that the options say. Our daemon gets all of them;
// another one those that it knows.
func (r restarter) restart(c *cobra.Command, name messages.Name, u *unikernelOptions, replace bool) error {
	ctx := c.Context()
	changesHealth := givenHealth(c.Flags())
	if !replace && anyGiven(c.LocalNonPersistentFlags()) {
		r.out.message(warning, "without --replace-arguments it is started as it was before: the other options have no effect")
	}
	if !replace && !changesHealth {
		return r.daemon.ask(ctx, name, wire.OldestRestart(messages.Option[messages.Arguments]{}))
	}
	if r.daemon.destination.csr || r.daemon.socket != "" {
		return r.restartNatively(c, name, u)
	}
	args, known, err := r.inventory.allArguments(ctx, name)
	switch {
	case err != nil:
		return err
	case !known && changesHealth:
		return errOldDaemon
	case !known:
		return r.restartNatively(c, name, u)
	}
	if args, err = r.rearranged(u, c.Flags(), args, replace); err != nil {
		return err
	}
	return r.daemon.onControl(ctx, name.String(), messages.RestartDeploy{
		Restart: wire.OldestRestart(messages.Some(args)), KeepArgv: !(replace && c.Flags().Changed("arg")),
	}, "created unikernel")
}

// restartNatively restarts a unikernel by a native message.
func (r restarter) restartNatively(c *cobra.Command, name messages.Name, u *unikernelOptions) error {
	args, err := r.argumentsOf(c.Context(), name, c.Flags().Changed("no-add-name"))
	if err != nil {
		return err
	}
	if args, err = u.arguments(r.out, c.Flags(), args); err != nil {
		return err
	}
	if givenHealth(c.Flags()) || needsControl(args) {
		return inputError("a restart leaves the health check, and addresses and rates of --net, as they are with --csr, --socket and daemons that are native: use 'create --force'")
	}
	return r.daemon.ask(c.Context(), name, wire.OldestRestart(messages.Some(args)))
}

func anyGiven(flags *pflag.FlagSet) (given bool) {
	flags.VisitAll(func(f *pflag.Flag) { given = given || f.Changed && f.Name != noWaitOption && !isHealthOption(f.Name) })
	return given
}

// rearranged returns arguments with the given options replaced; those that are about health in any case.
func (r restarter) rearranged(u *unikernelOptions, flags *pflag.FlagSet, args messages.Arguments, replace bool) (messages.Arguments, error) {
	if replace {
		return u.arguments(r.out, flags, args)
	}
	err := u.setHealth(flags, &args)
	return args, err
}

// argumentsOf returns the arguments of a running unikernel, as far as they matter: with
// named, it need not ask whether its name is added. If no daemon is asked, it returns the
// defaults.
func (r restarter) argumentsOf(ctx context.Context, name messages.Name, named bool) (messages.Arguments, error) {
	if r.daemon.destination.csr || r.daemon.socket == "-" {
		r.out.message(warning, "nobody is asked what runs: what is not given is as for 'create'")
		return defaults(), nil
	}
	infos, err := as[messages.SuccessInfos](r.inventory.infos(ctx, name))
	switch {
	case err != nil:
		return messages.Arguments{}, err
	case name.IsPath() || len(infos.List) != 1:
		return messages.Arguments{}, &client.Refusal{Name: name, Text: "destroy: not found"} // in the daemon's words
	}
	args := configOf(infos.List[0], nil).Arguments
	if !named {
		args.AddName = r.inventory.addsName(ctx, name)
	}
	return args, nil
}
