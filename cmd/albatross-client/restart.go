package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/sockets/wire"
)

func (a *app) restartCommand() *cobra.Command {
	var (
		u       unikernelOptions
		replace bool
	)
	c := &cobra.Command{
		Use:               "restart " + nameArgument,
		Short:             "Stop a unikernel and start it again, with the same image",
		Args:              positional(nameArgument),
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(nameArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			with, err := a.newArguments(c, &u, replace)
			if err != nil {
				return err
			}
			return a.ask(c.Context(), name, wire.OldestRestart(with))
		},
	}
	u.register(c.Flags())
	c.Flags().BoolVar(&replace, "replace-arguments", false, "start it with the arguments given here instead of those it had")
	return c
}

// newArguments are those to restart with; absent: the same as before.
func (a *app) newArguments(c *cobra.Command, u *unikernelOptions, replace bool) (with messages.Option[messages.Arguments], err error) {
	if !replace {
		if anyGiven(c.LocalNonPersistentFlags()) {
			a.tell(warning, "without --replace-arguments it is started as it was before: the other options have no effect")
		}
		return with, nil
	}
	args, err := a.arguments(u)
	return messages.Some(args), err
}

func anyGiven(flags *pflag.FlagSet) (given bool) {
	flags.VisitAll(func(f *pflag.Flag) { given = given || f.Changed })
	return given
}
