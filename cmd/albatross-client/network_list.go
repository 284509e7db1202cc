package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func networkListCommand(out *printer, inv inventory) *cobra.Command {
	var name messages.Name
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the networks",
		Args:    positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := inv.networks(c.Context(), name)
			if err != nil {
				return err
			}
			inv.warnNothing(name, "network", len(list) == 0)
			return showNetworks(out, name, list)
		},
	}
	c.Flags().VarP(one("NAME", messages.ParseName, &name), "name", "n", "only this one; with ':' at the end, all below that path")
	return c
}

// showNetworks prints a list of networks.
func showNetworks(out *printer, asked messages.Name, list []messages.NetworkStatus) error {
	listInFull(asked, list, func(n *messages.NetworkStatus) *messages.Name { return &n.Name })
	if out.format == jsonFormat {
		return out.print(documentOf(list, toNetworkObject))
	}
	if text := out.rows(mapped(list, func(n messages.NetworkStatus) string { return shortName(n.Name) }), networkTable(list)); text != "" {
		return out.print(text)
	}
	return nil
}

// networkTable lists networks.
func networkTable(list []messages.NetworkStatus) table {
	t := table{rows: [][]string{{"NAME", "BACKEND", "SUBNET", "GATEWAY", "MTU", "NAT", "DEVICES", "STATE"}}, least: []int{4, 5, 3}}
	for _, n := range list {
		state := "up"
		if n.Trouble != "" {
			state = "down"
		}
		t.rows = append(t.rows, []string{
			shortName(n.Name), escape(string(n.Spec.Backend)), n.Spec.Subnet().String(), n.Spec.Gateway.Addr().String(),
			strconv.Itoa(n.Spec.MTU), yesNo(n.Spec.NAT), strconv.Itoa(len(n.Stations)), state,
		})
	}
	return t
}
