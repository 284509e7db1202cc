package main

import (
	"github.com/spf13/cobra"
)

func networkCommand(d *daemon, out *printer, inv inventory, complete completer) *cobra.Command {
	c := &cobra.Command{
		Use:   "network",
		Short: "Make, show and remove networks",
		Long: `Make, show and remove networks. The daemon makes what a network needs: as root a bridge, whose
unikernels the kernel connects with the outside, else a process. Each unikernel on it has an
address, which DHCP and DNS know (NAME.NETWORK.internal).

A network below a path, such as org:web, is used as --net service:org.web, and under that name
it is allowed by policies.`,
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(networkCreateCommand(d), networkListCommand(out, inv), networkShowCommand(out, inv, complete), networkRemoveCommand(d, complete))
	return c
}
