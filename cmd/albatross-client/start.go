package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func (a *app) startCommand() *cobra.Command {
	var noWait bool
	c := a.aboutUnikernels(&cobra.Command{
		Use:   "start",
		Short: "Start stopped unikernels",
		Long: `Start unikernels that 'stop' has stopped, as they were. One that cannot be started, or exits
with 1 in its first second, stays stopped.`,
	}, func(c *cobra.Command, name messages.Name) error {
		return a.start(c.Context(), name, noWait, func() error {
			return a.onControl(c.Context(), name.String(), messages.StartRequest{}, "started unikernel")
		})
	})
	c.ValidArgsFunction = a.completeStopped
	registerNoWait(c.Flags(), &noWait)
	return c
}

// completeStopped completes the names of stopped unikernels that are not given yet.
func (a *app) completeStopped(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := slices.DeleteFunc(a.known(c, a.stopped), func(name cobra.Completion) bool { return slices.Contains(args, name) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// stopped asks what is stopped. It returns their names only.
func (a *app) stopped(ctx context.Context, name messages.Name) (messages.Name, messages.Success, error) {
	conn, err := a.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return name, nil, err
	}
	defer conn.Close()
	ends, err := conn.Ends(ctx, name)
	var list []messages.NamedInfo
	for _, e := range ends {
		if e.StoppedMillis != 0 {
			list = append(list, messages.NamedInfo{Name: e.Name})
		}
	}
	return name, messages.SuccessInfos{List: list}, err
}
