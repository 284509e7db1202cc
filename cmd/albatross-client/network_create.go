package main

import (
	"net/netip"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func networkCreateCommand(d *daemon) *cobra.Command {
	var asked messages.NetworkAsk
	c := &cobra.Command{
		Use:     "create " + networkArgument,
		Short:   "Make a network",
		Example: "  albatross-client network create service\n  albatross-client network create org:web --subnet=10.1.0.0/24 --ipv6=fd00:1::/64",
		Args:    positional(networkArgument),
		RunE: func(c *cobra.Command, args []string) error {
			return d.onControl(c.Context(), args[0], messages.NetworkCreate{Asked: asked}, "created network")
		},
	}
	flags := c.Flags()
	flags.Var(one("SUBNET", netip.ParsePrefix, &asked.Subnet), "subnet", "its IPv4 subnet, such as 10.1.0.0/24 (default a free one)")
	flags.Var(one("ADDRESS", netip.ParseAddr, &asked.Gateway), "gateway", "the host's address on it (default the first of the subnet)")
	flags.Var(one("SUBNET", netip.ParsePrefix, &asked.Subnet6), "ipv6", "its IPv6 subnet, of 64 bits")
	flags.Var(one("BYTES", parsePositive, &asked.MTU), "mtu", "the largest packet (default 1500)")
	flags.BoolVar(&asked.NoNAT, "no-nat", false, "the outside sees the addresses of unikernels, and must have a route to them")
	flags.Var(one("BACKEND", parseBackend, &asked.Backend), "backend", "kernel or user (default kernel, if the daemon may)")
	return c
}
