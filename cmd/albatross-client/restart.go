package main

import (
	"context"
	"fmt"

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
what is not given stays as it is.`,
		Example: "  albatross-client restart web:site --replace-arguments --mem=128",
	}, func(c *cobra.Command, name messages.Name) error {
		with, err := a.newArguments(c, name, &u, replace)
		if err != nil {
			return err
		}
		return a.start(c.Context(), name, noWait, func() error { return a.ask(c.Context(), name, wire.OldestRestart(with)) })
	})
	u.register(c.Flags())
	registerNoWait(c.Flags(), &noWait)
	c.Flags().BoolVar(&replace, "replace-arguments", false, "start it with the arguments that are given here instead of its own")
	return c
}

// newArguments returns the arguments of the restart; absent: the same as before.
func (a *app) newArguments(c *cobra.Command, name messages.Name, u *unikernelOptions, replace bool) (with messages.Option[messages.Arguments], err error) {
	if !replace {
		if anyGiven(c.LocalNonPersistentFlags()) {
			a.message(warning, "without --replace-arguments it is started as it was before: the other options have no effect")
		}
		return with, nil
	}
	args, err := a.argumentsOf(c.Context(), name, c.Flags().Changed("no-add-name"))
	if err != nil {
		return with, err
	}
	args, err = a.arguments(u, c.Flags(), args)
	if err == nil && needsControl(args) {
		err = inputError("a restart leaves addresses and rates of --net as they are: use 'create --force'")
	}
	return messages.Some(args), err
}

func anyGiven(flags *pflag.FlagSet) (given bool) {
	flags.VisitAll(func(f *pflag.Flag) { given = given || f.Changed && f.Name != noWaitOption })
	return given
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
		return messages.Arguments{}, a.notListed(ctx, name)
	}
	args := configOf(infos.List[0], nil).Arguments
	if !named {
		args.AddName = a.addsName(ctx, name)
	}
	return args, nil
}

// notListed returns why a unikernel cannot be restarted with other arguments.
func (a *app) notListed(ctx context.Context, name messages.Name) error {
	if idle, err := a.idle(ctx, nil); err == nil && idle[name] != "" {
		return &client.Refusal{Name: name, Text: fmt.Sprintf("its arguments are not known while it is %s: start it first, or use 'create --force'", idle[name])}
	}
	return &client.Refusal{Name: name, Text: "destroy: not found"} // in the daemon's words
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
