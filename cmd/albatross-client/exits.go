package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/control"
)

func (a *app) exitsCommand() *cobra.Command {
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
		RunE: func(c *cobra.Command, _ []string) error { return a.exits(c.Context(), name, since) },
	}
	c.Flags().VarP(one("NAME", messages.ParseName, &name), "name", "n",
		"only this one; with ':' at the end, all below that path")
	c.Flags().Var(maybe("TIME", parseTime, &since), "since", "only those since a time, such as "+sinceHelp)
	return c
}

func (a *app) exits(ctx context.Context, name messages.Name, since messages.Option[time.Time]) error {
	switch {
	case a.destination.csr:
		return errNoRequest
	case a.socket == "-":
		return a.showRequest(name, messages.EndList{})
	}
	conn, err := a.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return err
	}
	defer conn.Close()
	ends, err := conn.Ends(ctx, name)
	if err != nil {
		return err
	}
	ends = inOrder(ends, since)
	text := a.endsText(name, ends)
	if text != "" {
		if err := a.print(text); err != nil {
			return err
		}
	}
	a.warnNothing(name, "exit of", len(ends) == 0 && !since.OK)
	return nil
}

func (a *app) endsText(asked messages.Name, ends []messages.NamedEnd) string {
	if a.format == nativeFormat {
		return fmt.Sprintf("host %s: %s", nameText(asked), listText(ends, "no exits", endText))
	}
	nameInFull(asked, ends, func(n *messages.NamedEnd) *messages.Name { return &n.Name })
	if a.format == jsonFormat {
		return documentOf(ends, toEndObject)
	}
	return a.rows(mapped(ends, func(n messages.NamedEnd) string { return shortName(n.Name) }), endTable(ends, time.Now()))
}

// showRequest is showMessage for the control socket.
func (a *app) showRequest(name messages.Name, command messages.Command) error {
	request, err := control.AppendRequest(nil, name, command)
	if err != nil {
		return err
	}
	if err := a.print("out:\n" + hexText(request)); err != nil {
		return err
	}
	return errNothingSent
}

func endText(n messages.NamedEnd) string {
	text := ""
	if n.End != (messages.End{}) || !n.Wait.OK && n.StoppedMillis == 0 {
		text = fmt.Sprintf("%v %s restarts %d", n.End.Exit, endTime(n.End), n.End.Restarts)
		if n.End.Usage.OK {
			text += " " + n.End.Usage.Value.String()
		}
	}
	if n.Wait.OK {
		text = strings.TrimPrefix(text+", "+waitText(n.Wait.Value), ", ")
	}
	if n.StoppedMillis != 0 {
		text = strings.TrimPrefix(text+", "+stoppedText(n), ", ")
	}
	return nameText(n.Name) + ": " + text
}

// endTime returns when a run ended, as far as it is known.
func endTime(e messages.End) string {
	switch {
	case e.AtMillis != 0:
		return "at " + timeText(time.UnixMilli(e.AtMillis))
	case e.FoundMillis != 0:
		return "before " + timeText(time.UnixMilli(e.FoundMillis))
	}
	return "at unknown time"
}

func waitText(w messages.Wait) string {
	text := "waits to be started since " + timeText(w.Since)
	if w.Cause != "" {
		text += ": " + escape(string(w.Cause))
	}
	return text
}
