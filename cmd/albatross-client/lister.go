package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"albatross/messages"
)

// A lister prints unikernels, and how they are.
type lister struct {
	daemon    *daemon
	out       *printer
	inventory inventory
}

// showStatuses shows unikernels, and if all also those that have ended.
func (l lister) showStatuses(ctx context.Context, name messages.Name, all bool) error {
	list, err := l.inventory.statuses(ctx, name)
	if err != nil {
		return err
	}
	if !all {
		list = slices.DeleteFunc(list, func(s messages.UnikernelStatus) bool { return s.State == messages.StateEnded && name.IsPath() })
	}
	return l.printStatuses(name, list)
}

// showInfos shows the answer to a question about what runs, in any format. With more, our daemon on
// this machine is asked for the rest.
func (l lister) showInfos(ctx context.Context, name, about messages.Name, infos messages.Success, more bool) error {
	if l.out.format != nativeFormat {
		list, ok := infos.(messages.SuccessInfos)
		if !ok {
			return fmt.Errorf("%w (%T)", errOddAnswer, infos)
		}
		return l.printStatuses(name, l.inventory.statusesOf(list.List))
	}
	err := l.out.show(about, infos)
	waits := false
	if err == nil && more {
		err = l.showAddresses(ctx, name, infos)
	}
	if err == nil && more {
		waits, err = l.showWaits(ctx, name)
	}
	if err != nil {
		return err
	}
	l.inventory.warnNothing(name, "unikernel", empty(infos) && !waits)
	return nil
}

// nativeInfo shows what runs as the native client does, and behind that what this cannot say.
func (l lister) nativeInfo(ctx context.Context, name messages.Name) error {
	about, infos, err := l.inventory.infos(ctx, name)
	if err != nil {
		return err
	}
	return l.showInfos(ctx, name, about, infos, true)
}

// printStatuses prints a list, or a page if one unikernel was asked for.
func (l lister) printStatuses(asked messages.Name, list []messages.UnikernelStatus) error {
	l.inventory.warnNothing(asked, "unikernel", len(list) == 0)
	listInFull(asked, list, func(s *messages.UnikernelStatus) *messages.Name { return &s.Name })
	switch {
	case l.out.format == jsonFormat:
		return l.out.print(documentOf(list, toUnikernelObject))
	case len(list) == 0:
		return nil
	case !asked.IsPath() && !l.out.quiet:
		return l.out.print(unikernelPage(list[0], time.Now()))
	}
	return l.out.print(l.out.rows(mapped(list, func(s messages.UnikernelStatus) string { return shortName(s.Name) }), unikernelTable(list, time.Now(), l.out.colours())))
}

// showAddresses shows which addresses unikernels have on named networks, and which ports lead to
// them. Only our daemon has such networks, and tells on its machine only.
func (l lister) showAddresses(ctx context.Context, name messages.Name, infos messages.Success) error {
	list, ok := infos.(messages.SuccessInfos)
	onNetworks := ok && slices.ContainsFunc(list.List, func(n messages.NamedInfo) bool { return len(n.Info.Networks) > 0 })
	if !onNetworks || l.daemon.destination.given() || l.daemon.socket != "" {
		return nil
	}
	conn, err := l.daemon.connectSocket(ctx, messages.AtControl)
	if err != nil {
		l.out.message(info, fmt.Sprintf("addresses are not known: %v", err))
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
			if err := l.out.print(text); err != nil {
				return err
			}
		}
	}
	return nil
}

// showWaits shows what waits to be started again and what is stopped, and reports whether there is
// any. Only our daemon lists these, and only on its machine.
func (l lister) showWaits(ctx context.Context, name messages.Name) (some bool, err error) {
	if l.daemon.destination.given() || l.daemon.socket != "" {
		return false, nil
	}
	conn, err := l.daemon.connectSocket(ctx, messages.AtControl)
	if err != nil { // a native daemon lacks this socket
		l.out.message(info, fmt.Sprintf("what waits to be started is not known: %v", err))
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
		if err := l.out.print(text); err != nil {
			return true, err
		}
		some = true
	}
	return some, nil
}
