package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

func (a *app) infoCommand() *cobra.Command {
	var name messages.Name
	c := &cobra.Command{
		Use:     "info",
		Aliases: []string{"ps", "ls"},
		Short:   "Show the unikernels that run",
		Long: `Show the unikernels that run. Their arguments, which may be secrets, are shown with
--verbose only. On the machine of the daemon, their addresses on named networks are shown
behind them, and then those that do not run but will be started again, with the reason.`,
		Args: positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			about, infos, err := a.infos(c.Context(), name)
			if err != nil {
				return err
			}
			if err := a.show(about, infos); err != nil {
				return err
			}
			if err := a.showAddresses(c.Context(), name, infos); err != nil {
				return err
			}
			waits, err := a.showWaits(c.Context(), name)
			if err != nil {
				return err
			}
			a.warnNothing(name, "unikernel", empty(infos) && !waits)
			return nil
		},
	}
	c.Flags().VarP(one("NAME", messages.ParseName, &name), "name", "n",
		"only this one; with ':' at the end, all below that path")
	return c
}

// infos asks what runs, in the newest form that the daemon answers, and also returns the
// name that the answer is about.
func (a *app) infos(ctx context.Context, name messages.Name) (about messages.Name, infos messages.Success, err error) {
	for _, question := range wire.InfoForms() {
		about, infos, err = a.answer(ctx, name, question)
		if !refusesForm(err) {
			break
		}
	}
	return about, infos, err
}

// showAddresses shows which addresses unikernels have on named networks, and which ports lead to
// them. Only our daemon has such networks, and tells on its machine only.
func (a *app) showAddresses(ctx context.Context, name messages.Name, infos messages.Success) error {
	list, ok := infos.(messages.SuccessInfos)
	onNetworks := ok && slices.ContainsFunc(list.List, func(n messages.NamedInfo) bool { return len(n.Info.Networks) > 0 })
	if !onNetworks || a.destination.given() || a.socket != "" {
		return nil
	}
	conn, err := a.connectSocket(ctx, messages.AtControl)
	if err != nil {
		a.message(info, fmt.Sprintf("addresses are not known: %v", err))
		return nil
	}
	defer conn.Close()
	networks, err := conn.Networks(ctx, messages.Name{})
	if err != nil {
		return err
	}
	for _, n := range networks {
		for _, s := range n.Stations {
			if !name.Covers(s.Unikernel) {
				continue
			}
			text := fmt.Sprintf("%s has %s on network %s", nameText(name.Relative(s.Unikernel)),
				joined(s.Addresses, " and ", netip.Addr.String), strings.TrimPrefix(n.Name.String(), ":"))
			if len(s.Publish) > 0 {
				text += ", published " + joined(s.Publish, " ", messages.Publication.String)
			}
			if err := a.print(text); err != nil {
				return err
			}
		}
	}
	return nil
}

// showWaits shows what waits to be started again, and reports whether there is any. Only
// our daemon lists these, and only on its machine.
func (a *app) showWaits(ctx context.Context, name messages.Name) (some bool, err error) {
	if a.destination.given() || a.socket != "" {
		return false, nil
	}
	conn, err := a.connectSocket(ctx, messages.AtControl)
	if err != nil { // a native daemon lacks this socket
		a.message(info, fmt.Sprintf("what waits to be started is not known: %v", err))
		return false, nil
	}
	defer conn.Close()
	ends, err := conn.Ends(ctx, name)
	if err != nil {
		return false, err
	}
	for _, e := range ends {
		if !e.Wait.OK {
			continue
		}
		if err := a.print(nameText(e.Name) + " does not run: it " + waitText(e.Wait.Value)); err != nil {
			return true, err
		}
		some = true
	}
	return some, nil
}

// refusesForm reports whether a daemon may not know the form of a command. It then closes
// the connection, which our endpoints report of their daemon.
func refusesForm(err error) bool {
	var refusal *client.Refusal
	return errors.Is(err, client.ErrNoAnswer) ||
		errors.As(err, &refusal) && refusal.Text == client.ErrSilent.Error()
}
