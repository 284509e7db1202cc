package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/cmd/commandline"
	"albatross/messages"
	"albatross/sockets/client"
)

// didYouMean returns a line that suggests the known words that a word may have been meant for, each
// with before in front of it. It is empty if there are none.
func didYouMean(word, before string, known []string) string {
	meant := commandline.Meant(word, known)
	if len(meant) == 0 {
		return ""
	}
	return "\nDid you mean " + joined(meant, " or ", func(s string) string { return "'" + before + escape(s) + "'" }) + "?"
}

// meantCommand suggests commands for one that is unknown.
func meantCommand(root *cobra.Command, word string) string {
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}
	return didYouMean(word, "", names)
}

// meantOption suggests options for one that is unknown.
func meantOption(c *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return ""
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return didYouMean(unknown.GetSpecifiedName(), "--", names)
}

// The kinds of things that have names.
var (
	unikernelRefusals = []string{"destroy: not found", "get: no unikernel found", noConsole}
	blockRefusals     = []string{"remove block: not found", "set block: not found", "dump block: not found"}
)

// meantName suggests names that the daemon knows, if it has refused one that it does not know.
func (a *app) meantName(r *client.Refusal) string {
	switch {
	case slices.Contains(unikernelRefusals, r.Text), strings.HasSuffix(r.Text, ": there is no such unikernel"):
		return a.meant("unikernel", r.Name)
	case slices.Contains(blockRefusals, r.Text):
		return a.meant("block device", r.Name)
	case r.Text == "unknown policy":
		return a.meant("policy", r.Name)
	case strings.HasPrefix(r.Text, "cannot remove network"), strings.HasPrefix(r.Text, "there is no network"):
		return a.meant("network", r.Name)
	}
	return ""
}

// meant suggests names of a kind that the daemon on this machine knows. Another one is not asked
// just for that.
func (a *app) meant(kind string, name messages.Name) string {
	if a.destination.given() || a.socket == "-" {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	var known []string
	switch kind {
	case "unikernel":
		known = a.listed(ctx, a.infos)
	case "block device":
		known = a.listed(ctx, a.blocks)
	case "policy":
		known = a.listed(ctx, a.policies)
	case "network":
		known = a.networkNames(ctx)
	}
	return didYouMean(strings.TrimSuffix(shortName(name), ":"), "", known)
}

// policies asks for the policies.
func (a *app) policies(ctx context.Context, name messages.Name) (messages.Name, messages.Success, error) {
	return a.answer(ctx, name, messages.PolicyInfo{})
}

// networkNames returns the names of the networks, or none without an answer.
func (a *app) networkNames(ctx context.Context) (names []string) {
	list, err := a.networks(ctx, messages.Name{})
	if err != nil {
		return nil
	}
	for _, n := range list {
		names = append(names, shortName(n.Name))
	}
	return names
}
