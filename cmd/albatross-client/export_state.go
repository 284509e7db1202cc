package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/runtime/durable"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

func exportStateCommand(d *daemon, out *printer, inv inventory) *cobra.Command {
	return &cobra.Command{
		Use:   "export-state " + fileArgument,
		Short: "Write all that runs to a state file of native albatross",
		Long: `Write the unikernels that run, with their images, and the policies to a file that
albatrossd of native albatross starts with, if it is named state and in its database
directory. It goes on with the block devices that are there.

Block devices whose files have upper-case letters in their names get a link in lower case
beside them, in --dbdir: native albatross finds them by that since 2.6.

Stop this daemon together with the unikernels before that one is started, or each of
them runs twice: 'albatrossd --stop-unikernels' does so when it is stopped.

What the daemon does not tell is not in the file: unikernels that it has not been able
to start yet. Those that are stopped are left out, since a native daemon would start them.`,
		Example: "  albatross-client export-state /var/lib/albatross/state",
		Args:    positional(fileArgument),
		RunE: func(c *cobra.Command, args []string) error {
			if d.destination.given() {
				return inputError("the state can only be exported on the machine of the daemon")
			}
			path, err := parseArgument(fileArgument, parseReplaceable, args[0])
			if err != nil {
				return err
			}
			if err := mayExport(path); err != nil {
				return err
			}
			return exporter{d, out, inv}.exportState(c.Context(), path)
		},
	}
}

// parseReplaceable refuses what a rename cannot replace, such as /dev/stdout.
func parseReplaceable(path string) (string, error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return path, fmt.Errorf("'%s' is there, and is no regular file", escape(path))
	case err == nil || errors.Is(err, os.ErrNotExist):
		_, err = parseFile(filepath.Dir(path))
	}
	return path, err
}

// mayExport refuses to replace a file that is no state.
func mayExport(path string) error {
	data, err := existing(path, os.ReadFile)
	if err != nil {
		return unreadable(path, err)
	}
	if len(data) == 0 {
		return nil
	}
	if _, err := wire.DecodeState(data); err != nil {
		return inputError(fmt.Sprintf("%s is there, and is no state of native albatross: give another name, or move it away", escape(path)))
	}
	return nil
}

// An exporter writes the state of a native daemon.
type exporter struct {
	daemon    *daemon
	out       *printer
	inventory inventory
}

func (e exporter) exportState(ctx context.Context, path string) error {
	// An interrupt must not leave half a file.
	ctx, stop := interruptible(ctx)
	defer stop()
	state, err := e.nativeState(ctx)
	if err != nil {
		return err
	}
	if state.Choice != wire.StateUntil25 {
		e.out.message(warning, "albatross 2.5 and before cannot read this file: they know neither --startup nor --no-add-name, nor several CPUs")
	}
	data, err := wire.AppendState(nil, state)
	if err != nil {
		return err
	}
	if err := durable.Replace(path, data, 0o600); err != nil {
		return fmt.Errorf("cannot write the state: %w", err)
	}
	e.linkBlocks(state.Unikernels)
	return e.out.say(messages.Name{}, fmt.Sprintf("exported %d unikernels and %d policies to %s", len(state.Unikernels), len(state.Policies), path))
}

// warnStopped warns of the unikernels that are stopped: a state of native albatross has no word for that.
func (e exporter) warnStopped(ctx context.Context) {
	_, stopped, err := e.inventory.stopped(ctx, messages.Name{})
	list, _ := stopped.(messages.SuccessInfos)
	if err != nil { // a daemon without this socket has none that are stopped
		return
	}
	for _, u := range list.List {
		e.out.message(warning, nameText(u.Name)+" is stopped, and is left out")
	}
}

// warnNetworks warns of the networks that the daemon has made: native albatross only knows bridges
// that somebody has made.
func (e exporter) warnNetworks(ctx context.Context) {
	if e.daemon.destination.given() || e.daemon.socket != "" {
		return
	}
	networks, err := e.inventory.networks(ctx, messages.Name{})
	if err != nil || len(networks) == 0 { // a daemon without this socket has none
		return
	}
	bridges := joined(networks, ", ", func(n messages.NetworkStatus) string {
		bridge, _ := messages.BridgeOf(n.Name)
		return bridge
	})
	e.out.message(warning, "networks are left out: native albatross needs bridges of these names instead, and knows no published ports: "+bridges)
}

// nativeState asks the daemon for all that the state of a native one contains.
func (e exporter) nativeState(ctx context.Context) (state wire.State, err error) {
	policies, err := as[messages.SuccessPolicies](e.daemon.answer(ctx, messages.Name{}, messages.PolicyInfo{}))
	if err != nil {
		return state, err
	}
	infos, err := as[messages.SuccessInfos](e.inventory.infos(ctx, messages.Name{}))
	if err != nil {
		return state, err
	}
	e.warnStopped(ctx)
	e.warnNetworks(ctx)
	unnamed := e.unnamed(ctx)
	var unikernels []messages.NamedConfig
	for _, u := range infos.List {
		image, err := e.inventory.image(ctx, u)
		switch {
		case hasGone(err):
			e.out.message(warning, nameText(u.Name)+" has ended meanwhile, and is left out")
			continue
		case err != nil:
			return state, err
		}
		config := configOf(u, image)
		config.AddName = !unnamed[u.Name]
		unikernels = append(unikernels, messages.NamedConfig{Name: u.Name, Config: config})
	}
	return wire.OldestState(unikernels, policies.List), nil
}

// unnamed returns the unikernels that are started without their name as an argument: they
// were created so, or have refused it, which not every native daemon notices.
func (e exporter) unnamed(ctx context.Context) map[messages.Name]bool {
	known, err := e.inventory.settings(ctx, messages.Name{})
	if err != nil {
		e.out.message(warning, "the daemon does not tell which unikernels were created with --no-add-name: none are in the file")
	}
	unnamed := map[messages.Name]bool{}
	for _, s := range known {
		unnamed[s.Name] = !s.AddName || s.NameRefused
	}
	return unnamed
}

// hasGone reports whether a unikernel has ended since the listing.
func hasGone(err error) bool {
	var refusal *client.Refusal
	return errors.As(err, &refusal) && refusal.Text == "get: no unikernel found"
}
