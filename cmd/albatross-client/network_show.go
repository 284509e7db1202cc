package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/client"
)

func networkShowCommand(out *printer, inv inventory, complete completer) *cobra.Command {
	return &cobra.Command{
		Use:               "show " + networkArgument,
		Short:             "Show a network, and which unikernel has which address on it",
		Args:              positional(networkArgument),
		ValidArgsFunction: complete.networks,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(networkArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			list, err := inv.networks(c.Context(), name)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				return &client.Refusal{Name: name, Text: "there is no network " + shortName(name)}
			}
			if out.format == jsonFormat {
				return out.print(documentOf(list, toNetworkObject))
			}
			return out.print(joined(list, "\n\n", networkPage))
		},
	}
}

// networkPage shows all of one network.
func networkPage(n messages.NetworkStatus) string {
	bridge, _ := messages.BridgeOf(n.Name)
	lines := []string{
		"network:  " + shortName(n.Name),
		"used as:  --net DEVICE:" + bridge,
		"backend:  " + escape(string(n.Spec.Backend)),
		fmt.Sprintf("subnet:   %s (gateway %s)", n.Spec.Subnet(), n.Spec.Gateway.Addr()),
	}
	if n.Spec.Gateway6.IsValid() {
		lines = append(lines, fmt.Sprintf("IPv6:     %s (gateway %s)", n.Spec.Gateway6.Masked(), n.Spec.Gateway6.Addr()))
	}
	lines = append(lines, fmt.Sprintf("MTU:      %d", n.Spec.MTU), "NAT:      "+yesNo(n.Spec.NAT))
	if n.Trouble != "" {
		lines = append(lines, "trouble:  "+escape(string(n.Trouble)))
	}
	for _, s := range n.Stations {
		lines = append(lines, fmt.Sprintf("%s: %s %s%s", shortName(s.Unikernel), s.MAC,
			joined(s.Addresses, " ", netip.Addr.String), joined(s.Publish, "", func(p messages.Publication) string { return " published " + p.String() })))
	}
	return strings.Join(lines, "\n")
}
