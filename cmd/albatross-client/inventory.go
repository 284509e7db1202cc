package main

import (
	"context"
	"crypto/sha256"
	"fmt"

	"albatross/messages"
	"albatross/sockets/wire"
)

// An inventory says what there is on the machine of the daemon, which it asks.
type inventory struct {
	daemon *daemon
	out    *printer
}

// infos asks what runs, in the newest form that the daemon answers, and also returns the
// name that the answer is about.
func (inv inventory) infos(ctx context.Context, name messages.Name) (about messages.Name, infos messages.Success, err error) {
	for _, question := range wire.InfoForms() {
		about, infos, err = inv.daemon.answer(ctx, name, question)
		if !refusesForm(err) {
			break
		}
	}
	return about, infos, err
}

// blocks asks for the block devices.
func (inv inventory) blocks(ctx context.Context, name messages.Name) (messages.Name, messages.Success, error) {
	return inv.daemon.answer(ctx, name, messages.BlockList{})
}

// policies asks for the policies.
func (inv inventory) policies(ctx context.Context, name messages.Name) (messages.Name, messages.Success, error) {
	return inv.daemon.answer(ctx, name, messages.PolicyInfo{})
}

// stopped asks what is stopped. It returns their names only.
func (inv inventory) stopped(ctx context.Context, name messages.Name) (messages.Name, messages.Success, error) {
	conn, err := inv.daemon.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return name, nil, err
	}
	defer conn.Close()
	ends, err := conn.Ends(ctx, name)
	var list []messages.NamedInfo
	for _, e := range ends {
		if e.StoppedMillis != 0 {
			list = append(list, messages.NamedInfo{Name: e.Name})
		}
	}
	return name, messages.SuccessInfos{List: list}, err
}

// networks asks for the networks at and below a name.
func (inv inventory) networks(ctx context.Context, name messages.Name) ([]messages.NetworkStatus, error) {
	switch {
	case inv.daemon.destination.csr:
		return nil, errNoRequest
	case inv.daemon.socket == "-":
		return nil, inv.out.showRequest(name, messages.NetworkList{})
	}
	conn, err := inv.daemon.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Networks(ctx, name)
}

// networkNames returns the names of the networks, or none without an answer.
func (inv inventory) networkNames(ctx context.Context) (names []string) {
	list, err := inv.networks(ctx, messages.Name{})
	if err != nil {
		return nil
	}
	for _, n := range list {
		names = append(names, shortName(n.Name))
	}
	return names
}

// settings returns the settings of unikernels that an info lacks. Native daemons cannot
// be asked, and remote ones in a session only.
func (inv inventory) settings(ctx context.Context, name messages.Name) ([]messages.NamedSettings, error) {
	conn, err := inv.daemon.connectBeside(ctx, messages.AtControl)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Settings(ctx, name)
}

// image returns the image that the unikernel was running at the time of the listing.
func (inv inventory) image(ctx context.Context, u messages.NamedInfo) ([]byte, error) {
	answer, err := as[messages.SuccessImage](inv.daemon.answer(ctx, u.Name, messages.UnikernelGet{Form: 3}))
	if err != nil {
		return nil, err
	}
	if digest := sha256.Sum256(answer.Image); string(digest[:]) != string(u.Info.Digest) {
		return nil, fmt.Errorf("cannot export %s: it has been replaced meanwhile, try again", nameText(u.Name))
	}
	return answer.Image, nil
}
