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
func (inv inventory) meantName(r *client.Refusal) string {
	switch {
	case slices.Contains(unikernelRefusals, r.Text), strings.HasSuffix(r.Text, ": there is no such unikernel"):
		return inv.meant("unikernel", r.Name)
	case slices.Contains(blockRefusals, r.Text):
		return inv.meant("block device", r.Name)
	case r.Text == "unknown policy":
		return inv.meant("policy", r.Name)
	case strings.HasPrefix(r.Text, "cannot remove network"), strings.HasPrefix(r.Text, "there is no network"):
		return inv.meant("network", r.Name)
	}
	return ""
}

// meant suggests names of a kind that the daemon on this machine knows. Another one is not asked
// just for that.
func (inv inventory) meant(kind string, name messages.Name) string {
	if inv.daemon.destination.given() || inv.daemon.socket == "-" {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	var known []string
	switch kind {
	case "unikernel":
		known = listedNames(ctx, inv.infos)
	case "block device":
		known = listedNames(ctx, inv.blocks)
	case "policy":
		known = listedNames(ctx, inv.policies)
	case "network":
		known = inv.networkNames(ctx)
	}
	return didYouMean(strings.TrimSuffix(shortName(name), ":"), "", known)
}
