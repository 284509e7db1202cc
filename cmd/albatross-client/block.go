package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/client"
)

// The arguments of commands about block devices.
const (
	blockArgument = "BLOCK-NAME"
	sizeArgument  = "BLOCK-SIZE"
	fileArgument  = "FILE"
)

func (a *app) blockCommand() *cobra.Command {
	var name messages.Name
	c := &cobra.Command{
		Use:   "block",
		Short: "Show the block devices",
		Args:  positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.list(c.Context(), name, "block device", messages.BlockList{})
		},
	}
	c.Flags().Var(one("NAME", messages.ParseName, &name), "name", "only this one; with ':' at the end, all below that path")
	return c
}

func (a *app) createBlockCommand() *cobra.Command {
	var (
		path  string
		level messages.Option[int]
		thick bool
	)
	c := &cobra.Command{
		Use:   "create-block " + blockArgument + " " + sizeArgument,
		Short: "Create a block device of this many MB",
		Long: `Create a block device of this many MB, or of a size with a unit: 64M, 1G. It takes room
on the disk as it is written to; with --thick all its room is kept for it from the
beginning.`,
		Args: positional(blockArgument, sizeArgument),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(blockArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			size, err := parseArgument(sizeArgument, megabytes(parsePositive), args[1])
			if err != nil {
				return err
			}
			if thick && (a.destination.csr || a.socket != "") {
				return inputError("--thick is not possible with --socket or --csr: create the block device, and use 'reserve-block'")
			}
			if path == "" {
				if level.OK {
					a.message(warning, "--compression-level has no effect without --data")
				}
				err = a.ask(c.Context(), name, messages.BlockAdd{Size: size})
			} else {
				err = a.createFrom(c.Context(), name, size, path, a.compression(level))
			}
			if err != nil || !thick {
				return err
			}
			return a.reserveBlock(c.Context(), name)
		},
	}
	c.Flags().Var(one("FILE", parseFile, &path), "data", "put the contents of this file into it")
	c.Flags().BoolVar(&thick, "thick", false, "keep all its room on the disk for it")
	registerLevel(c.Flags(), &level)
	return c
}

func (a *app) reserveBlockCommand() *cobra.Command {
	return a.aboutBlock(&cobra.Command{
		Use:   "reserve-block",
		Short: "Keep all the room on the disk for a block device",
		Long: `Keep all the room on the disk for a block device, so that what is written to it always
fits. It keeps it when it gets other contents.`,
	}, func(c *cobra.Command, name messages.Name) error {
		switch {
		case a.destination.csr:
			return errNoRequest
		case a.socket == "-":
			return a.showRequest(name, messages.BlockReserve{})
		}
		return a.reserveBlock(c.Context(), name)
	})
}

// reserveBlock uses the control socket: native albatross has no such command.
func (a *app) reserveBlock(ctx context.Context, name messages.Name) error {
	conn, err := a.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Reserve(ctx, name); err != nil {
		return err
	}
	return a.show(name, messages.SuccessText{Text: "reserved block device"})
}

// createFrom creates a block device and sets its contents. It sends nothing to an
// existing one, which keeps its contents.
func (a *app) createFrom(ctx context.Context, name messages.Name, size int, path string, level int) error {
	return a.fillFrom(ctx, name, size, path, level, func(ctx context.Context) error { return a.ask(ctx, name, messages.BlockAdd{Size: size}) })
}

// fillFrom makes a block device and sets its contents to those of a file.
func (a *app) fillFrom(ctx context.Context, name messages.Name, size int, path string, level int, makes func(context.Context) error) error {
	if a.destination.csr {
		return inputError("--data cannot be put into a request: leave it out, and set the contents with 'set-block'")
	}
	file, err := openContents(path)
	if err != nil {
		return err
	}
	defer file.Close()
	switch nothing, err := file.empty(); {
	case err != nil:
		return err
	case nothing:
		return inputError(escape(path) + " is empty: leave --data out to create an empty block device")
	case !file.fits(size):
		return inputError("data exceeds size")
	}
	sending, stop := interruptible(ctx) // from before there is anything to take back
	defer stop()
	if err := makes(ctx); err != nil {
		return err
	}
	if err := a.setBlock(sending, name, file, level); err != nil {
		if sending.Err() != nil {
			return errors.Join(err, a.takeBack(ctx, name))
		}
		a.message(warning, fmt.Sprintf("block device %v has been created, but its contents have yet to be set, with 'set-block'", name))
		return err
	}
	return nil
}

const (
	// takeBackTime bounds how long the client tries to remove a block device whose upload was
	// interrupted: the daemon uses it until it has noticed that.
	takeBackTime = 5 * time.Second
	takeBackStep = 50 * time.Millisecond
)

// takeBack removes a block device that was created for contents that do not come.
func (a *app) takeBack(ctx context.Context, name messages.Name) error {
	ctx, cancel := context.WithTimeout(ctx, takeBackTime)
	defer cancel()
	for {
		_, _, err := a.answer(ctx, name, messages.BlockRemove{})
		var refusal *client.Refusal
		switch {
		case err == nil:
			a.message(warning, fmt.Sprintf("block device %v was removed again", name))
			return nil
		case !errors.As(err, &refusal) || refusal.Text != "remove block: is in use":
			return err
		}
		select {
		case <-time.After(takeBackStep):
		case <-ctx.Done():
			return err
		}
	}
}

func (a *app) destroyBlockCommand() *cobra.Command {
	return a.aboutBlock(&cobra.Command{
		Use:   "destroy-block",
		Short: "Remove a block device and its contents",
	}, func(c *cobra.Command, name messages.Name) error {
		return a.ask(c.Context(), name, messages.BlockRemove{})
	})
}
