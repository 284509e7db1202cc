package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func (a *app) historyCommand() *cobra.Command {
	return a.aboutUnikernel(&cobra.Command{
		Use:   "history",
		Short: "Show former versions of a unikernel",
		Long: `Show what has run under the name of a unikernel before it was replaced: images, when they were
replaced and why. The last versions, of another image or with other arguments, stay on record with
their images (five, or what albatrossd --versions says), until the unikernel is destroyed.`,
		Example: "  albatross-client history web:site",
	}, func(c *cobra.Command, name messages.Name) error { return a.history(c.Context(), name) })
}

func (a *app) history(ctx context.Context, name messages.Name) error {
	conn, err := a.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return err
	}
	defer conn.Close()
	versions, err := conn.History(ctx, name)
	if err != nil {
		return err
	}
	if a.format == jsonFormat {
		return a.print(asciiJSON(toVersionObjects(versions)))
	}
	if len(versions) == 0 {
		a.message(info, a.of(name)+"it has replaced nothing")
		return nil
	}
	return a.print(a.rows(mapped(versions, func(v messages.FormerVersion) string { return v.Digest.String() }), historyTable(versions, time.Now())))
}

func historyTable(versions []messages.FormerVersion, now time.Time) table {
	t := table{rows: [][]string{{"VERSION", "REPLACED", "MEMORY", "BY", "IMAGE"}}}
	for i, v := range versions {
		t.rows = append(t.rows, []string{
			strconv.Itoa(i + 1), forHumans(now.Sub(v.Until)) + " ago", mb(v.Memory), escape(string(v.Cause)), imageText(v.Digest),
		})
	}
	return t
}

// A versionObject is a former version of a unikernel.
type versionObject struct {
	Version  int    `json:"version"`
	Image    string `json:"image"`
	MemoryMB int    `json:"memory_mb"`
	Until    string `json:"until"`
	Cause    string `json:"cause,omitempty"`
}

func toVersionObjects(versions []messages.FormerVersion) []versionObject {
	objects := make([]versionObject, len(versions))
	for i, v := range versions {
		objects[i] = versionObject{i + 1, v.Digest.String(), v.Memory, timeJSON(v.Until), string(v.Cause)}
	}
	return objects
}

const versionArgument = "VERSION"

func (a *app) rollbackCommand() *cobra.Command {
	var noWait bool
	c := &cobra.Command{
		Use:   "rollback " + nameArgument + " [" + versionArgument + "]",
		Short: "Replace a unikernel by a former version",
		Long: `Replace a unikernel by a former version: image and arguments, as 'history' lists them, the last one
if none is given. It is a replacement like any other: if it fails, what runs now is started again.`,
		Example: "  albatross-client rollback web:site\n  albatross-client rollback web:site 3",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return positional(nameArgument)(c, args)
			}
			return positional(nameArgument, versionArgument)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(nameArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			number := 1
			if len(args) > 1 {
				if number, err = parseArgument(versionArgument, parsePositive, args[1]); err != nil {
					return err
				}
			}
			return a.start(c.Context(), name, noWait, func() error {
				return a.onControl(c.Context(), name.String(), messages.RollbackRequest{Number: number}, "rolled back unikernel")
			})
		},
	}
	c.ValidArgsFunction = a.completeFirstName
	registerNoWait(c.Flags(), &noWait)
	return c
}

// completeFirstName completes the name only.
func (a *app) completeFirstName(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeNames(c, args, word)
}
