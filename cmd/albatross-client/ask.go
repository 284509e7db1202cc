package main

import (
	"context"
	"fmt"

	"albatross/messages"
	"albatross/sockets/client"
)

// ask sends one command to the daemon and shows the answer.
func (d *daemon) ask(ctx context.Context, name messages.Name, command messages.Command) error {
	about, answer, err := d.answer(ctx, name, command)
	if err != nil {
		return err
	}
	return d.out.show(about, answer)
}

// onControl gives a command that only our daemon knows.
func (d *daemon) onControl(ctx context.Context, nameText string, command messages.Command, done messages.Public) error {
	name, err := parseArgument("NAME", messages.ParseName, nameText)
	switch {
	case err != nil:
		return err
	case d.destination.csr:
		return errNoRequest
	case d.socket == "-":
		return d.out.showRequest(name, command)
	}
	conn, err := d.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Do(ctx, name, command); err != nil {
		return err
	}
	return d.out.show(name, messages.SuccessText{Text: done})
}

// answer sends one command to the daemon and returns the answer, and the name that it is
// about: for a remote client, the path of its certificates precedes the name.
func (d *daemon) answer(ctx context.Context, name messages.Name, command messages.Command) (messages.Name, messages.Success, error) {
	conn, answer, err := d.open(ctx, name, command)
	if err != nil {
		return name, nil, err
	}
	return conn.Name(), answer, conn.Close()
}

// open connects to the daemon or endpoint for a command, and sends it. The caller closes
// the connection.
func (d *daemon) open(ctx context.Context, name messages.Name, command messages.Command) (*client.Conn, messages.Success, error) {
	if d.socket == "-" {
		return nil, nil, d.out.showMessage(name, command)
	}
	conn, err := d.connect(ctx, name, command)
	if err != nil {
		return nil, nil, err
	}
	answer, err := conn.Ask(ctx, name, command)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, answer, nil
}

// as returns an answer of the only possible kind.
func as[T messages.Success](_ messages.Name, answer messages.Success, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	kind, ok := answer.(T)
	if !ok {
		return kind, fmt.Errorf("%w (%T)", errOddAnswer, answer)
	}
	return kind, nil
}
