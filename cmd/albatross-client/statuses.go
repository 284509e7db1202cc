package main

import (
	"context"
	"errors"
	"fmt"

	"albatross/messages"
	"albatross/sockets/client"
)

// statuses asks for the status of unikernels: our daemon, or else any daemon for what runs.
func (inv inventory) statuses(ctx context.Context, name messages.Name) ([]messages.UnikernelStatus, error) {
	if !inv.daemon.destination.csr && inv.daemon.socket == "" && inv.daemon.destination.made == nil {
		list, known, err := inv.knownStatuses(ctx, name)
		if known || err != nil {
			return list, err
		}
	}
	_, infos, err := inv.infos(ctx, name)
	if err != nil {
		return nil, err
	}
	list, ok := infos.(messages.SuccessInfos)
	if !ok {
		return nil, fmt.Errorf("%w (%T)", errOddAnswer, infos)
	}
	return inv.statusesOf(list.List), nil
}

// knownStatuses asks our daemon. A native one, or an older one of ours, does not know them.
func (inv inventory) knownStatuses(ctx context.Context, name messages.Name) (list []messages.UnikernelStatus, known bool, err error) {
	conn, err := inv.daemon.connectSocket(ctx, messages.AtControl)
	if err != nil {
		inv.out.message(info, fmt.Sprintf("only what runs is known: %v", err))
		return nil, false, nil
	}
	defer conn.Close()
	list, err = conn.Statuses(ctx, name)
	var refusal *client.Refusal
	if errors.As(err, &refusal) {
		inv.out.message(info, fmt.Sprintf("only what runs is known: %v", err))
		return nil, false, nil
	}
	if err != nil || !inv.out.showsArguments() {
		return list, true, err
	}
	return list, true, inv.addArguments(ctx, name, list)
}

// addArguments adds the arguments of what runs.
func (inv inventory) addArguments(ctx context.Context, name messages.Name, list []messages.UnikernelStatus) error {
	infos, err := as[messages.SuccessInfos](inv.infos(ctx, name))
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
func (inv inventory) statusesOf(list []messages.NamedInfo) []messages.UnikernelStatus {
	return mapped(list, func(n messages.NamedInfo) messages.UnikernelStatus {
		s := messages.UnikernelStatus{Name: n.Name, State: messages.StateRunning, Started: n.Info.Started, Blocks: n.Info.Blocks}
		copy(s.Digest[:], n.Info.Digest)
		s.Arguments = configOf(n, nil).Arguments
		s.Arguments.Blocks = nil
		if !inv.out.showsArguments() {
			s.Arguments.Argv = messages.Option[[]string]{}
		}
		return s
	})
}

// refusesForm reports whether a daemon may not know the form of a command. It then closes
// the connection, which our endpoints report of their daemon.
func refusesForm(err error) bool {
	var refusal *client.Refusal
	return errors.Is(err, client.ErrNoAnswer) ||
		errors.As(err, &refusal) && refusal.Text == client.ErrSilent.Error()
}
