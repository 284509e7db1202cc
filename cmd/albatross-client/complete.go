package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/wire"
)

// completionTimeout is how long somebody who has pressed Tab may have to wait.
const completionTimeout = time.Second

// completeNames completes the name of a unikernel to one that runs. Without an
// answer of the daemon there is nothing to complete.
func (a *app) completeNames(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 || a.socket == "-" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	answer, err := a.answer(ctx, messages.Name{}, wire.OldestInfo())
	infos, ok := answer.(messages.SuccessInfos)
	if err != nil || !ok {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, u := range infos.List {
		names = append(names, strings.TrimPrefix(u.Name.String(), ":"))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
