package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func publishCommand(d *daemon, complete completer) *cobra.Command {
	c := &cobra.Command{
		Use:   "publish",
		Short: "Publish ports of unikernels on the host",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		publishing(d, complete, "add", "Make a port of the host lead to a port of a unikernel", "published",
			func(p messages.Publication) messages.Command { return messages.PublishAdd{Publication: p} }),
		publishing(d, complete, "remove", "End that a port of the host leads to a unikernel", "not published any more",
			func(p messages.Publication) messages.Command { return messages.PublishRemove{Publication: p} }),
	)
	return c
}

const publicationArgument = "PUBLICATION"

func publishing(d *daemon, complete completer, word, short string, done messages.Public, command func(messages.Publication) messages.Command) *cobra.Command {
	return &cobra.Command{
		Use:               word + " " + nameArgument + " " + publicationArgument,
		Short:             short,
		Long:              short + ". " + publicationArgument + " is [ADDRESS:]PORT:PORT[/udp], the port of the host first.",
		Example:           "  albatross-client publish " + word + " web 8080:80",
		Args:              positional(nameArgument, publicationArgument),
		ValidArgsFunction: complete.names,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := parseArgument(publicationArgument, messages.ParsePublication, args[1])
			if err != nil {
				return err
			}
			return d.onControl(c.Context(), args[0], command(p), done)
		},
	}
}
