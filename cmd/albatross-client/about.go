package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

// nameArgument is the name of a unikernel, as an argument.
const nameArgument = "UNIKERNEL-NAME"

// The arguments of commands about block devices.
const (
	blockArgument = "BLOCK-NAME"
	sizeArgument  = "BLOCK-SIZE"
	fileArgument  = "FILE"
)

// reservedBlock is shown when a block device keeps all its room.
const reservedBlock messages.Public = "reserved block device"

// aboutUnikernel makes c a command about a unikernel, whose name is its only argument.
func (co completer) aboutUnikernel(c *cobra.Command, do func(*cobra.Command, messages.Name) error) *cobra.Command {
	c.ValidArgsFunction = co.names
	return about(nameArgument, c, do)
}

// aboutUnikernels makes c a command about unikernels, whose names are its arguments. Where the daemon
// refuses one, the command goes on with the others.
func (co completer) aboutUnikernels(c *cobra.Command, do func(*cobra.Command, messages.Name) error) *cobra.Command {
	c.ValidArgsFunction = co.moreNames
	c.Use += " " + nameArgument + "..."
	c.Args = atLeast(nameArgument)
	c.RunE = func(c *cobra.Command, args []string) error {
		names, err := parseNames(args)
		if err != nil {
			return err
		}
		if len(names) > 1 && co.daemon.destination.csr {
			return usageError("--csr writes a request about one unikernel: give one name")
		}
		return forEach(names, func(_ int, name messages.Name) error { return do(c, name) })
	}
	return c
}

// aboutBlock makes c a command about a block device, whose name is its only argument.
func (co completer) aboutBlock(c *cobra.Command, do func(*cobra.Command, messages.Name) error) *cobra.Command {
	c.ValidArgsFunction = co.blocks
	return about(blockArgument, c, do)
}

func about(argument string, c *cobra.Command, do func(*cobra.Command, messages.Name) error) *cobra.Command {
	c.Use += " " + argument
	c.Args = positional(argument)
	c.RunE = func(c *cobra.Command, args []string) error {
		name, err := parseArgument(argument, messages.ParseName, args[0])
		if err != nil {
			return err
		}
		return do(c, name)
	}
	return c
}

const networkArgument = "NETWORK-NAME"
