package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/client"
)

const networkArgument = "NETWORK-NAME"

func (a *app) networkCommand() *cobra.Command {
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
	c.AddCommand(a.networkCreateCommand(), a.networkListCommand(), a.networkShowCommand(), a.networkRemoveCommand())
	return c
}

func (a *app) networkCreateCommand() *cobra.Command {
	var asked messages.NetworkAsk
	c := &cobra.Command{
		Use:     "create " + networkArgument,
		Short:   "Make a network",
		Example: "  albatross-client network create service\n  albatross-client network create org:web --subnet=10.1.0.0/24 --ipv6=fd00:1::/64",
		Args:    positional(networkArgument),
		RunE: func(c *cobra.Command, args []string) error {
			return a.onControl(c.Context(), args[0], messages.NetworkCreate{Asked: asked}, "created network")
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

func parseBackend(s string) (messages.NetworkBackend, error) {
	for _, b := range []messages.NetworkBackend{messages.KernelNetwork, messages.UserNetwork} {
		if string(b) == s {
			return b, nil
		}
	}
	return "", fmt.Errorf("invalid value '%s', expected kernel or user", escape(s))
}

func (a *app) networkRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove " + networkArgument,
		Aliases:           []string{"rm"},
		Short:             "Remove a network that no unikernel uses",
		Args:              positional(networkArgument),
		ValidArgsFunction: a.completeNetworks,
		RunE: func(c *cobra.Command, args []string) error {
			return a.onControl(c.Context(), args[0], messages.NetworkRemove{}, "removed network")
		},
	}
}

func (a *app) networkListCommand() *cobra.Command {
	var name messages.Name
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the networks",
		Args:    positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := a.networks(c.Context(), name)
			if err != nil {
				return err
			}
			a.warnNothing(name, "network", len(list) == 0)
			return a.showNetworks(name, list)
		},
	}
	c.Flags().VarP(one("NAME", messages.ParseName, &name), "name", "n", "only this one; with ':' at the end, all below that path")
	return c
}

func (a *app) networkShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show " + networkArgument,
		Short:             "Show a network, and which unikernel has which address on it",
		Args:              positional(networkArgument),
		ValidArgsFunction: a.completeNetworks,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(networkArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			list, err := a.networks(c.Context(), name)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				return &client.Refusal{Name: name, Text: "there is no network " + shortName(name)}
			}
			if a.format == jsonFormat {
				return a.print(documentOf(list, toNetworkObject))
			}
			return a.print(joined(list, "\n\n", networkPage))
		},
	}
}

func (a *app) publishCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "publish",
		Short: "Publish ports of unikernels on the host",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		a.publishingCommand("add", "Make a port of the host lead to a port of a unikernel", "published",
			func(p messages.Publication) messages.Command { return messages.PublishAdd{Publication: p} }),
		a.publishingCommand("remove", "End that a port of the host leads to a unikernel", "not published any more",
			func(p messages.Publication) messages.Command { return messages.PublishRemove{Publication: p} }),
	)
	return c
}

const publicationArgument = "PUBLICATION"

func (a *app) publishingCommand(word, short string, done messages.Public, command func(messages.Publication) messages.Command) *cobra.Command {
	return &cobra.Command{
		Use:               word + " " + nameArgument + " " + publicationArgument,
		Short:             short,
		Long:              short + ". " + publicationArgument + " is [ADDRESS:]PORT:PORT[/udp], the port of the host first.",
		Example:           "  albatross-client publish " + word + " web 8080:80",
		Args:              positional(nameArgument, publicationArgument),
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := parseArgument(publicationArgument, messages.ParsePublication, args[1])
			if err != nil {
				return err
			}
			return a.onControl(c.Context(), args[0], command(p), done)
		},
	}
}

// onControl gives a command that only our daemon knows.
func (a *app) onControl(ctx context.Context, nameText string, command messages.Command, done messages.Public) error {
	name, err := parseArgument("NAME", messages.ParseName, nameText)
	switch {
	case err != nil:
		return err
	case a.destination.csr:
		return errNoRequest
	case a.socket == "-":
		return a.showRequest(name, command)
	}
	conn, err := a.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Do(ctx, name, command); err != nil {
		return err
	}
	return a.show(name, messages.SuccessText{Text: done})
}

// networks asks for the networks at and below a name.
func (a *app) networks(ctx context.Context, name messages.Name) ([]messages.NetworkStatus, error) {
	switch {
	case a.destination.csr:
		return nil, errNoRequest
	case a.socket == "-":
		return nil, a.showRequest(name, messages.NetworkList{})
	}
	conn, err := a.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Networks(ctx, name)
}

// completeNetworks completes the name of a network.
func (a *app) completeNetworks(c *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	if len(args) > 0 || a.socket == "-" || a.destination.csr || a.chooseContext(c) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	list, err := a.networks(ctx, messages.Name{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, n := range list {
		names = append(names, shortName(n.Name))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// usesNetworks reports whether a unikernel may be on a named network. Then our daemon is asked in
// our protocol, since a native message leaves ports and addresses as they are.
func usesNetworks(args messages.Arguments) bool {
	return len(args.Networks) > 0 || len(args.Publish) > 0
}

// needsControl reports whether a unikernel needs what native albatross has no word for.
func needsControl(args messages.Arguments) bool {
	if len(args.Publish) > 0 || args.Health.OK {
		return true
	}
	for _, n := range args.Networks {
		if n.IP.OK || n.Static || n.Rate != 0 {
			return true
		}
	}
	return false
}

// deploy creates a unikernel, with what native messages have no word for. A daemon that is not ours
// has no such socket, and is asked natively, unless it could not do what is needed.
func (a *app) deploy(ctx context.Context, name messages.Name, command messages.UnikernelCreate, owner messages.Owner) error {
	if a.socket != "" {
		if owner != "" || needsControl(command.Config.Arguments) {
			return inputError("--publish, --health, and addresses and rates of --net, are not possible with --socket")
		}
		return a.ask(ctx, name, command)
	}
	if a.destination.address != "" {
		if err := a.judgeAfar(name, command); err != nil {
			return err
		}
	}
	conn, err := a.connectSocket(ctx, messages.AtControl)
	if err != nil {
		if owner != "" || needsControl(command.Config.Arguments) {
			return err
		}
		return a.sendCreate(ctx, name, command)
	}
	defer conn.Close()
	if err := a.deployOn(ctx, conn, name, messages.UnikernelDeploy{Create: command, Owner: owner}); err != nil {
		return err
	}
	return a.show(name, messages.SuccessText{Text: "created unikernel"})
}

// deployOn sends a command with its image, and shows how much of it has been sent to another machine.
func (a *app) deployOn(ctx context.Context, conn *client.Conn, name messages.Name, command messages.UnikernelDeploy) error {
	if !a.destination.given() {
		return conn.Do(ctx, name, command)
	}
	done := func() {}
	defer func() { done() }()
	return conn.Deploy(ctx, name, command, func(size int64, r io.Reader) (counted io.Reader) {
		counted, done = a.progress("sending", size, r)
		return counted
	})
}

// showNetworks prints a list of networks.
func (a *app) showNetworks(asked messages.Name, list []messages.NetworkStatus) error {
	listInFull(asked, list, func(n *messages.NetworkStatus) *messages.Name { return &n.Name })
	if a.format == jsonFormat {
		return a.print(documentOf(list, toNetworkObject))
	}
	if text := a.rows(mapped(list, func(n messages.NetworkStatus) string { return shortName(n.Name) }), networkTable(list)); text != "" {
		return a.print(text)
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

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
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
