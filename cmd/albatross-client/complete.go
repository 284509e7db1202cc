package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
)

// completionTimeout is how long a user who has pressed Tab may have to wait.
const completionTimeout = time.Second

// A question is about a name, and answered by a list.
type question func(context.Context, messages.Name) (messages.Name, messages.Success, error)

// completeNames completes the name of a running unikernel.
func (a *app) completeNames(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.known(c, a.infos), cobra.ShellCompDirectiveNoFileComp
}

// completeMoreNames completes the names of running unikernels that are not given yet.
func (a *app) completeMoreNames(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := slices.DeleteFunc(a.known(c, a.infos), func(name cobra.Completion) bool { return slices.Contains(args, name) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeBlocks completes the name of an existing block device.
func (a *app) completeBlocks(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.known(c, a.blocks), cobra.ShellCompDirectiveNoFileComp
}

// blocks asks for the block devices.
func (a *app) blocks(ctx context.Context, name messages.Name) (messages.Name, messages.Success, error) {
	return a.answer(ctx, name, messages.BlockList{})
}

// completeBlockAndFile leaves the second argument, a file, to the shell.
func (a *app) completeBlockAndFile(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.completeBlocks(c, args, word)
}

// known returns the names that the daemon lists, or none without an answer.
func (a *app) known(c *cobra.Command, list question) (names []cobra.Completion) {
	if a.socket == "-" || a.destination.csr || a.chooseContext(c) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	return a.listed(ctx, list)
}

// listed returns the names in the answer to a question about everything, or none without one.
func (a *app) listed(ctx context.Context, list question) (names []string) {
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
