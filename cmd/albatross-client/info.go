package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

func (a *app) infoCommand() *cobra.Command {
	var name messages.Name
	var all bool
	c := &cobra.Command{
		Use:     "info [" + nameArgument + "]",
		Aliases: []string{"ps", "ls"},
		Short:   "Show unikernels",
		Long: `Show unikernels: a list, or all that is known of one. CPU is the time that it has used since
it was started, and MEMORY what it uses of what it may. With --all those that have ended are
listed as well, as long as their consoles are kept. Arguments, which may be secrets, are shown
with --verbose only. A daemon on another machine, and a native one, tell only what runs.`,
		Example: `  albatross-client info
  albatross-client info web:site
  albatross-client info --all --output=json`,
		Args:              atMost(nameArgument),
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if len(args) > 0 {
				if c.Flags().Changed("name") {
					return usageError("give the name once")
				}
				if name, err = parseArgument(nameArgument, messages.ParseName, args[0]); err != nil {
					return err
				}
			}
			if a.format == nativeFormat {
				return a.nativeInfo(c.Context(), name)
			}
			return a.showStatuses(c.Context(), name, all)
		},
	}
	c.Flags().VarP(one("NAME", messages.ParseName, &name), "name", "n", "only this one; with ':' at the end, all below that path")
	c.Flags().BoolVarP(&all, "all", "a", false, "also those that have ended")
	return c
}

// nativeInfo shows what runs as the native client does, and behind that what this cannot say.
func (a *app) nativeInfo(ctx context.Context, name messages.Name) error {
	about, infos, err := a.infos(ctx, name)
	if err != nil {
		return err
	}
	return a.showInfos(ctx, name, about, infos, true)
}

// showInfos shows the answer to a question about what runs, in any format. With more, our daemon on
// this machine is asked for the rest.
func (a *app) showInfos(ctx context.Context, name, about messages.Name, infos messages.Success, more bool) error {
	if a.format != nativeFormat {
		list, ok := infos.(messages.SuccessInfos)
		if !ok {
			return fmt.Errorf("%w (%T)", errOddAnswer, infos)
		}
		return a.printStatuses(name, a.statusesOf(list.List))
	}
	err := a.show(about, infos)
	waits := false
	if err == nil && more {
		err = a.showAddresses(ctx, name, infos)
	}
	if err == nil && more {
		waits, err = a.showWaits(ctx, name)
	}
	if err != nil {
		return err
	}
	a.warnNothing(name, "unikernel", empty(infos) && !waits)
	return nil
}

// showStatuses shows unikernels, and if all also those that have ended.
func (a *app) showStatuses(ctx context.Context, name messages.Name, all bool) error {
	list, err := a.statuses(ctx, name)
	if err != nil {
		return err
	}
	if !all {
		list = slices.DeleteFunc(list, func(s messages.UnikernelStatus) bool { return s.State == messages.StateEnded && name.IsPath() })
	}
	return a.printStatuses(name, list)
}

// printStatuses prints a list, or a page if one unikernel was asked for.
func (a *app) printStatuses(asked messages.Name, list []messages.UnikernelStatus) error {
	a.warnNothing(asked, "unikernel", len(list) == 0)
	listInFull(asked, list, func(s *messages.UnikernelStatus) *messages.Name { return &s.Name })
	switch {
	case a.format == jsonFormat:
		return a.print(documentOf(list, toUnikernelObject))
	case len(list) == 0:
		return nil
	case !asked.IsPath() && !a.quiet:
		return a.print(unikernelPage(list[0], time.Now()))
	}
	return a.print(a.rows(mapped(list, func(s messages.UnikernelStatus) string { return shortName(s.Name) }), unikernelTable(list, time.Now(), a.colours())))
}

// statuses asks for the status of unikernels: our daemon, or else any daemon for what runs.
func (a *app) statuses(ctx context.Context, name messages.Name) ([]messages.UnikernelStatus, error) {
	if !a.destination.csr && a.socket == "" && a.destination.made == nil {
		list, known, err := a.knownStatuses(ctx, name)
		if known || err != nil {
			return list, err
		}
	}
	_, infos, err := a.infos(ctx, name)
	if err != nil {
		return nil, err
	}
	list, ok := infos.(messages.SuccessInfos)
	if !ok {
		return nil, fmt.Errorf("%w (%T)", errOddAnswer, infos)
	}
	return a.statusesOf(list.List), nil
}

// knownStatuses asks our daemon. A native one, or an older one of ours, does not know them.
func (a *app) knownStatuses(ctx context.Context, name messages.Name) (list []messages.UnikernelStatus, known bool, err error) {
	conn, err := a.connectSocket(ctx, messages.AtControl)
	if err != nil {
		a.message(info, fmt.Sprintf("only what runs is known: %v", err))
		return nil, false, nil
	}
	defer conn.Close()
	list, err = conn.Statuses(ctx, name)
	var refusal *client.Refusal
	if errors.As(err, &refusal) {
		a.message(info, fmt.Sprintf("only what runs is known: %v", err))
		return nil, false, nil
	}
	if err != nil || !a.showsArguments() {
		return list, true, err
	}
	return list, true, a.addArguments(ctx, name, list)
}

// addArguments adds the arguments of what runs.
func (a *app) addArguments(ctx context.Context, name messages.Name, list []messages.UnikernelStatus) error {
	infos, err := as[messages.SuccessInfos](a.infos(ctx, name))
	if err != nil {
		return err
	}
	argv := map[messages.Name]messages.Option[[]string]{}
	for _, n := range infos.List {
		argv[n.Name] = n.Info.Argv
	}
	for i := range list {
		list[i].Arguments.Argv = argv[list[i].Name]
	}
	return nil
}

// statusesOf returns the status of what runs, as far as native albatross tells it.
func (a *app) statusesOf(list []messages.NamedInfo) []messages.UnikernelStatus {
	return mapped(list, func(n messages.NamedInfo) messages.UnikernelStatus {
		s := messages.UnikernelStatus{Name: n.Name, State: messages.StateRunning, Started: n.Info.Started, Blocks: n.Info.Blocks}
		copy(s.Digest[:], n.Info.Digest)
		s.Arguments = configOf(n, nil).Arguments
		s.Arguments.Blocks = nil
		if !a.showsArguments() {
			s.Arguments.Argv = messages.Option[[]string]{}
		}
		return s
	})
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
				joined(s.Addresses, " and ", netip.Addr.String), shortName(n.Name))
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

// showWaits shows what waits to be started again and what is stopped, and reports whether there is
// any. Only our daemon lists these, and only on its machine.
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
		text := ""
		switch {
		case e.Wait.OK:
			text = nameText(e.Name) + " does not run: it " + waitText(e.Wait.Value)
		case e.StoppedMillis != 0:
			text = nameText(e.Name) + " " + stoppedText(e)
		default:
			continue
		}
		if err := a.print(text); err != nil {
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
