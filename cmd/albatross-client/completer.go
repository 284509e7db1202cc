package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
)

// A completer completes the words on a command line: the shell asks it for the names that there are.
type completer struct {
	daemon    *daemon
	inventory inventory
}

// completionTimeout is how long a user who has pressed Tab may have to wait.
const completionTimeout = time.Second

// names completes the name of a running unikernel.
func (co completer) names(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return co.known(c, co.inventory.infos), cobra.ShellCompDirectiveNoFileComp
}

// moreNames completes the names of running unikernels that are not given yet.
func (co completer) moreNames(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := slices.DeleteFunc(co.known(c, co.inventory.infos), func(name cobra.Completion) bool { return slices.Contains(args, name) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// blocks completes the name of an existing block device.
func (co completer) blocks(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return co.known(c, co.inventory.blocks), cobra.ShellCompDirectiveNoFileComp
}

// blockAndFile leaves the second argument, a file, to the shell.
func (co completer) blockAndFile(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return co.blocks(c, args, word)
}

// firstName completes the name only.
func (co completer) firstName(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return co.names(c, args, word)
}

// stopped completes the names of stopped unikernels that are not given yet.
func (co completer) stopped(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := slices.DeleteFunc(co.known(c, co.inventory.stopped), func(name cobra.Completion) bool { return slices.Contains(args, name) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// rename completes the present name only.
func (co completer) rename(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return co.stopped(c, args, word)
}

// networks completes the name of a network.
func (co completer) networks(c *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	if len(args) > 0 || co.daemon.socket == "-" || co.daemon.destination.csr || co.daemon.chooseContext(c) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	list, err := co.inventory.networks(ctx, messages.Name{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, n := range list {
		names = append(names, shortName(n.Name))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// known returns the names that the daemon lists, or none without an answer.
func (co completer) known(c *cobra.Command, list question) (names []cobra.Completion) {
	if co.daemon.socket == "-" || co.daemon.destination.csr || co.daemon.chooseContext(c) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	return listedNames(ctx, list)
}

// A question is about a name, and answered by a list.
type question func(context.Context, messages.Name) (messages.Name, messages.Success, error)

// listedNames returns the names in the answer to a question about everything, or none without one.
func listedNames(ctx context.Context, list question) (names []string) {
	_, answer, err := list(ctx, messages.Name{})
	if err != nil {
		return nil
	}
	add := func(n messages.Name) { names = append(names, strings.Trim(n.String(), ":")) }
	switch s := answer.(type) {
	case messages.SuccessInfos:
		for _, u := range s.List {
			add(u.Name)
		}
	case messages.SuccessBlocks:
		for _, b := range s.List {
			add(b.Name)
		}
	case messages.SuccessPolicies:
		for _, p := range s.List {
			add(p.Name)
		}
	}
	return names
}

func completeContexts(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return append(contextNames(), localContext), cobra.ShellCompDirectiveNoFileComp
}
