package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func exitsCommand(d *daemon, out *printer, inv inventory) *cobra.Command {
	var name messages.Name
	var since messages.Option[time.Time]
	c := &cobra.Command{
		Use:   "exits",
		Short: "Show how the last runs of unikernels ended",
		Long: `Show how the last runs of unikernels ended: by which exit code or signal, when, and
how often each had been started again by then. What a run has used is shown as far as it is
known: CPU time outside of the kernel (user) and in it (system), and the most memory that
it had at once, with that of the tender. All that is kept as long as its console, which is
there after the unikernel is gone. What waits to be started again, and what is stopped, is
shown, too. The last one is at the end.`,
		Args: positional(),
		RunE: func(c *cobra.Command, _ []string) error { return exits(c.Context(), d, out, inv, name, since) },
	}
	c.Flags().VarP(one("NAME", messages.ParseName, &name), "name", "n",
		"only this one; with ':' at the end, all below that path")
	c.Flags().Var(maybe("TIME", parseTime, &since), "since", "only those since a time, such as "+sinceHelp)
	return c
}

func exits(ctx context.Context, d *daemon, out *printer, inv inventory, name messages.Name, since messages.Option[time.Time]) error {
	switch {
	case d.destination.csr:
		return errNoRequest
	case d.socket == "-":
		return out.showRequest(name, messages.EndList{})
	}
	conn, err := d.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return err
	}
	defer conn.Close()
	ends, err := conn.Ends(ctx, name)
	if err != nil {
		return err
	}
	ends = inOrder(ends, since)
	text := endsText(out, name, ends)
	if text != "" {
		if err := out.print(text); err != nil {
			return err
		}
	}
	inv.warnNothing(name, "exit of", len(ends) == 0 && !since.OK)
	return nil
}

func endsText(out *printer, asked messages.Name, ends []messages.NamedEnd) string {
	if out.format == nativeFormat {
		return fmt.Sprintf("host %s: %s", nameText(asked), listText(ends, "no exits", endText))
	}
	nameInFull(asked, ends, func(n *messages.NamedEnd) *messages.Name { return &n.Name })
	if out.format == jsonFormat {
		return documentOf(ends, toEndObject)
	}
	return out.rows(mapped(ends, func(n messages.NamedEnd) string { return shortName(n.Name) }), endTable(ends, time.Now()))
}
