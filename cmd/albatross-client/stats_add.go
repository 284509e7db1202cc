package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func statsAddCommand(d *daemon, out *printer) *cobra.Command {
	var name messages.Name
	var command messages.StatsAdd
	c := &cobra.Command{
		Use:   "stats-add PID",
		Short: "Have a process watched as if it were a unikernel",
		Long: `Have a process watched as if it were a unikernel, until it ends. The daemon watches
those that it runs by itself.`,
		Args: positional("PID"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if command.PID, err = parseArgument("PID", parseInteger, args[0]); err != nil {
				return err
			}
			return askStats(c.Context(), d, out, name, command)
		},
	}
	registerStatsName(c.Flags(), &name, "what it is called")
	c.Flags().Var(one("DEVICE", parseText, &command.VMMDev), "vmmdev", "of the virtual machine monitor; there is none on Linux")
	c.Flags().Var(many("BRIDGE:TAP", parseTap, &command.Taps), "bridge", "an interface of it, and what that is called; may be repeated")
	return c
}

func parseTap(s string) (messages.Tap, error) {
	device, tap, ok := strings.Cut(s, ":")
	if !ok || strings.Contains(tap, ":") {
		return messages.Tap{}, errors.New("broken, format is bridge:tap")
	}
	if err := messages.CheckText(device); err != nil {
		return messages.Tap{}, err
	}
	return messages.Tap{Device: device, Tap: tap}, messages.CheckInterface(tap)
}
