package main

import (
	"context"
	"io"

	"albatross/messages"
	"albatross/sockets/client"
)

// A creator has the daemon create unikernels, in the messages that the daemon and their options need.
type creator struct {
	daemon   *daemon
	out      *printer
	uploader uploader
}

// create sends an image, to our daemon in our protocol if it may be on a named network, if its health
// is checked, if it is from a registry, if what it replaces may have what native messages have no word
// for, or from afar, so that the daemon learns who asks.
func (cr creator) create(ctx context.Context, name messages.Name, command messages.UnikernelCreate) error {
	switch args := command.Config.Arguments; {
	case cr.daemon.destination.csr && needsControl(args):
		return inputError("--publish, --health, and addresses and rates of --net, are not possible with --csr: a certificate cannot say them")
	case !cr.daemon.destination.csr && (command.Force || usesNetworks(args) || args.Health.OK || args.Origin.OK || cr.daemon.destination.address != ""):
		return cr.deploy(ctx, name, command, "")
	}
	return cr.sendCreate(ctx, name, command)
}

// createFor is create for an owner, if there is one.
func (cr creator) createFor(ctx context.Context, name messages.Name, command messages.UnikernelCreate, owner messages.Owner) error {
	if owner == "" {
		return cr.create(ctx, name, command)
	}
	return cr.deploy(ctx, name, command, owner)
}

// sendCreate sends an image in a native message. For a remote daemon it follows the command as
// a stream, and so may be larger than a certificate, which must contain it in a mere request.
func (cr creator) sendCreate(ctx context.Context, name messages.Name, command messages.UnikernelCreate) error {
	if cr.daemon.destination.address == "" {
		return cr.daemon.ask(ctx, name, command)
	}
	image := command.Config.Image
	command.Config.Image = nil
	return cr.uploader.upload(ctx, name, command, contentsOf(image), 0)
}

// deploy creates a unikernel, with what native messages have no word for. A daemon that is not ours
// has no such socket, and is asked natively, unless it could not do what is needed.
func (cr creator) deploy(ctx context.Context, name messages.Name, command messages.UnikernelCreate, owner messages.Owner) error {
	if cr.daemon.socket != "" {
		if owner != "" || needsControl(command.Config.Arguments) {
			return inputError("--publish, --health, and addresses and rates of --net, are not possible with --socket")
		}
		return cr.daemon.ask(ctx, name, command)
	}
	if cr.daemon.destination.address != "" {
		if err := cr.daemon.judgeAfar(name, command); err != nil {
			return err
		}
	}
	conn, err := cr.daemon.connectSocket(ctx, messages.AtControl)
	if err != nil {
		if owner != "" || needsControl(command.Config.Arguments) {
			return err
		}
		return cr.sendCreate(ctx, name, command)
	}
	defer conn.Close()
	if err := cr.deployOn(ctx, conn, name, messages.UnikernelDeploy{Create: command, Owner: owner}); err != nil {
		return err
	}
	return cr.out.show(name, messages.SuccessText{Text: "created unikernel"})
}

// deployOn sends a command with its image, and shows how much of it has been sent to another machine.
func (cr creator) deployOn(ctx context.Context, conn *client.Conn, name messages.Name, command messages.UnikernelDeploy) error {
	if !cr.daemon.destination.given() {
		return conn.Do(ctx, name, command)
	}
	done := func() {}
	defer func() { done() }()
	return conn.Deploy(ctx, name, command, func(size int64, r io.Reader) (counted io.Reader) {
		counted, done = cr.out.progress("sending", size, r)
		return counted
	})
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

// packedConfig returns a configuration as it is sent, with its image compressed unless the level is 0.
func packedConfig(config messages.Config, level int) (_ messages.Config, err error) {
	if level == 0 || len(config.Image) == 0 {
		return config, nil
	}
	config.Compressed = true
	config.Image, err = compressed(config.Image, level)
	return config, err
}
