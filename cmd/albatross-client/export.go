package main

import (
	"context"
	"crypto/sha256"
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

func (a *app) exportCommand() *cobra.Command {
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
			if a.destination.given() {
				return inputError("the state can only be exported on the machine of the daemon")
			}
			path, err := parseArgument(fileArgument, parseReplaceable, args[0])
			if err != nil {
				return err
			}
			if err := mayExport(path); err != nil {
				return err
			}
			return a.exportState(c.Context(), path)
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

func (a *app) exportState(ctx context.Context, path string) error {
	// An interrupt must not leave half a file.
	ctx, stop := interruptible(ctx)
	defer stop()
	state, err := a.nativeState(ctx)
	if err != nil {
		return err
	}
	if state.Choice != wire.StateUntil25 {
		a.message(warning, "albatross 2.5 and before cannot read this file: they know neither --startup nor --no-add-name, nor several CPUs")
	}
	data, err := wire.AppendState(nil, state)
	if err != nil {
		return err
	}
	if err := durable.Replace(path, data, 0o600); err != nil {
		return fmt.Errorf("cannot write the state: %w", err)
	}
	a.linkBlocks(state.Unikernels)
	return a.say(messages.Name{}, fmt.Sprintf("exported %d unikernels and %d policies to %s", len(state.Unikernels), len(state.Policies), path))
}

// warnStopped warns of the unikernels that are stopped: a state of native albatross has no word for that.
func (a *app) warnStopped(ctx context.Context) {
	_, stopped, err := a.stopped(ctx, messages.Name{})
	list, _ := stopped.(messages.SuccessInfos)
	if err != nil { // a daemon without this socket has none that are stopped
		return
	}
	for _, u := range list.List {
		a.message(warning, nameText(u.Name)+" is stopped, and is left out")
	}
}

// warnNetworks warns of the networks that the daemon has made: native albatross only knows bridges
// that somebody has made.
func (a *app) warnNetworks(ctx context.Context) {
	if a.destination.given() || a.socket != "" {
		return
	}
	networks, err := a.networks(ctx, messages.Name{})
	if err != nil || len(networks) == 0 { // a daemon without this socket has none
		return
	}
	bridges := joined(networks, ", ", func(n messages.NetworkStatus) string {
		bridge, _ := messages.BridgeOf(n.Name)
		return bridge
	})
	a.message(warning, "networks are left out: native albatross needs bridges of these names instead, and knows no published ports: "+bridges)
}

// nativeState asks the daemon for all that the state of a native one contains.
func (a *app) nativeState(ctx context.Context) (state wire.State, err error) {
	policies, err := as[messages.SuccessPolicies](a.answer(ctx, messages.Name{}, messages.PolicyInfo{}))
	if err != nil {
		return state, err
	}
	infos, err := as[messages.SuccessInfos](a.infos(ctx, messages.Name{}))
	if err != nil {
		return state, err
	}
	a.warnStopped(ctx)
	a.warnNetworks(ctx)
	unnamed := a.unnamed(ctx)
	var unikernels []messages.NamedConfig
	for _, u := range infos.List {
		image, err := a.image(ctx, u)
		switch {
		case hasGone(err):
			a.message(warning, nameText(u.Name)+" has ended meanwhile, and is left out")
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
func (a *app) unnamed(ctx context.Context) map[messages.Name]bool {
	known, err := a.settings(ctx, messages.Name{})
	if err != nil {
		a.message(warning, "the daemon does not tell which unikernels were created with --no-add-name: none are in the file")
	}
	unnamed := map[messages.Name]bool{}
	for _, s := range known {
		unnamed[s.Name] = !s.AddName || s.NameRefused
	}
	return unnamed
}

// as returns an answer of the only possible kind.
func as[T messages.Success](_ messages.Name, answer messages.Success, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	kind, ok := answer.(T)
	if !ok {
		return kind, fmt.Errorf("%w (%T)", errOddAnswer, answer)
	}
	return kind, nil
}

// image returns the image that the unikernel was running at the time of the listing.
func (a *app) image(ctx context.Context, u messages.NamedInfo) ([]byte, error) {
	answer, err := as[messages.SuccessImage](a.answer(ctx, u.Name, messages.UnikernelGet{Form: 3}))
	if err != nil {
		return nil, err
	}
	if digest := sha256.Sum256(answer.Image); string(digest[:]) != string(u.Info.Digest) {
		return nil, fmt.Errorf("cannot export %s: it has been replaced meanwhile, try again", nameText(u.Name))
	}
	return answer.Image, nil
}

// hasGone reports whether a unikernel has ended since the listing.
func hasGone(err error) bool {
	var refusal *client.Refusal
	return errors.As(err, &refusal) && refusal.Text == "get: no unikernel found"
}

// configOf returns the configuration with which the unikernel was created, as far as it
// can be known. The daemon lists all of its devices with chosen values: what it would
// choose itself is left out.
func configOf(u messages.NamedInfo, image []byte) messages.Config {
	args := messages.Arguments{ // an info lacks AddName
		Fail:      u.Info.Fail,
		Startup:   u.Info.Startup,
		AddName:   true,
		CPUIDs:    u.Info.CPUIDs,
		Memory:    u.Info.Memory,
		Argv:      u.Info.Argv,
		CPUs:      u.Info.CPUs,
		LinuxBoot: u.Info.LinuxBoot,
	}
	for _, b := range u.Info.Blocks {
		args.Blocks = append(args.Blocks, messages.BlockDevice{
			Name:       b.Name,
			Device:     unless(b.Name, b.HostDevice()),
			SectorSize: unless(messages.BlockInfo{}.SectorBytes(), b.SectorBytes()),
		})
	}
	for _, n := range u.Info.Networks {
		args.Networks = append(args.Networks, messages.Network{
			Name:   n.Name,
			Bridge: unless(n.Name, n.HostBridge()),
			MAC:    unless(messages.Network{Name: n.Name}.Address(u.Name), n.Address()),
		})
	}
	return messages.Config{Type: u.Info.Type, Image: image, Arguments: args}
}

// unless returns the value, or nothing if that is the default.
func unless[T comparable](byDefault, value T) (o messages.Option[T]) {
	if value != byDefault {
		o = messages.Some(value)
	}
	return o
}
